-- Mode observe: what ran, and what policy would have done about it. How a team starts.

CREATE VIEW @schema@.observed AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.run, s.database, s.role, s.class, s.decision, s.rule, s.reasons,
         s.relations, s.sql, s.outcome, s.rows, s.bytes, s.policy_digest, s.session_id, s.stream, s.seq
    FROM @schema@.statements s
   WHERE s.decision IN ('hold', 'deny') AND s.request_id IS NULL
     -- A process has one mode for its life, and says it when its stream begins.
     AND EXISTS (SELECT FROM @schema@.entry m
                  WHERE m.stream = s.stream AND m.kind = 'configuration'
                    AND jsonb_object(m.detail) ->> 'mode' = 'observe');
COMMENT ON VIEW @schema@.observed IS
  'What ran in mode observe although the policy would have held or denied it: for tuning the policy before it is enforced (SOC 2 CC6.1, CC8.1).';

CREATE VIEW @schema@.observed_by_rule AS
  SELECT o.rule, o.decision, o.class, o.agent, r.relation, count(*) AS statements,
         count(DISTINCT o.session_id) AS sessions, min(o.at) AS first_at, max(o.at) AS last_at,
         sum(o.rows)::bigint AS rows, sum(o.bytes)::bigint AS bytes,
         (array_agg(o.sql ORDER BY o.at DESC, o.seq DESC))[1] AS latest_sql
    FROM @schema@.observed o
    -- One that names no relation counts once, one that names several counts for each.
    LEFT JOIN LATERAL unnest(o.relations) AS r (relation) ON true
   GROUP BY o.rule, o.decision, o.class, o.agent, r.relation;
COMMENT ON VIEW @schema@.observed_by_rule IS
  'The same by rule, agent and relation, and how often: a statement that names several relations counts for each (SOC 2 CC6.1, CC8.1).';

-- What ran in mode observe was not refused by anybody.
CREATE OR REPLACE VIEW @schema@.denials AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.class, s.sql,
         CASE WHEN s.decision = 'deny' THEN 'policy' WHEN s.outcome = 'denied' THEN 'person' ELSE s.outcome END
           AS refused_by,
         s.rule, s.reasons, s.approvers AS people, s.request_id, s.session_id, s.stream, s.seq
    FROM @schema@.statements s
      -- A statement that the server would reject too is a mistake, not a denial: its outcome is failed.
   WHERE (s.decision = 'deny' AND s.outcome IS DISTINCT FROM 'failed' AND s.outcome IS DISTINCT FROM 'executed'
          AND NOT EXISTS (SELECT FROM @schema@.observed o WHERE o.stream = s.stream AND o.seq = s.seq))
      OR s.outcome IN ('denied', 'expired', 'withdrawn')
  UNION ALL
  SELECT e.at, e.agent, e.owner, e.on_behalf_of, e.database, e.kind, NULL, 'proxy', e.kind,
         ARRAY(SELECT d.key || ': ' || d.value FROM jsonb_each_text(jsonb_object(coalesce(e.detail, '{}'))) d),
         e.people, e.request_id, e.session_id, e.stream, e.seq
    FROM @schema@.entry e WHERE e.kind IN ('login_refused', 'protocol_violation', 'verdict_refused');

CREATE OR REPLACE VIEW @schema@.agents AS
  SELECT s.agent, s.owner, min(s.at) AS first_seen, max(s.at) AS last_seen, count(DISTINCT s.session_id) AS sessions,
         count(*) AS statements, count(*) FILTER (WHERE s.decision = 'hold') AS held,
         count(*) FILTER (WHERE (s.decision = 'deny' AND s.outcome IS DISTINCT FROM 'failed'
                                 AND s.outcome IS DISTINCT FROM 'executed')
                              OR s.outcome = 'denied') AS denied,
         count(*) FILTER (WHERE s.class = 'export' AND s.outcome = 'executed') AS exports,
         sum(s.rows)::bigint AS rows, sum(s.bytes)::bigint AS bytes,
         array_agg(DISTINCT s.database) AS databases, array_agg(DISTINCT s.role) AS roles
    FROM @schema@.statements s GROUP BY s.agent, s.owner;

GRANT SELECT ON @schema@.observed, @schema@.observed_by_rule TO @auditor@;
