-- Results that were asked about in their middle: what was read as a plain read, and came to more than that.

-- The outcome's `detail` has it: rest_class, rest_rule, rest_reasons (JSON), rest_refused_by (left out: nobody).
CREATE VIEW @schema@.interrupted AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.role, s.relations, s.sql, s.class AS read_as,
         r.detail ->> 'rest_class' AS class, r.detail ->> 'rest_rule' AS rule,
         ARRAY(SELECT jsonb_array_elements_text((r.detail ->> 'rest_reasons')::jsonb)) AS reasons,
         CASE r.detail ->> 'rest_refused_by'
           WHEN 'denied' THEN CASE WHEN denial.people IS NULL THEN 'proxy' ELSE 'person' END
           ELSE r.detail ->> 'rest_refused_by' END AS refused_by,
         s.approvers, coalesce(denial.people, '{}'::text[]) AS deniers, s.outcome, s.sqlstate, s.rows, s.bytes,
         s.request_id, s.session_id, s.stream, s.seq
    FROM (SELECT o.stream, o.session_id, o.statement_no, jsonb_object(o.detail) AS detail
            FROM @schema@.entry o
           WHERE o.kind = 'outcome' AND o.detail IS NOT NULL) r
    JOIN @schema@.statements s USING (stream, session_id, statement_no)
    LEFT JOIN LATERAL (SELECT d.people FROM @schema@.entry d
                        WHERE d.request_id = s.request_id AND d.kind = 'request_denied' LIMIT 1) denial ON true
   WHERE r.detail ? 'rest_rule';
COMMENT ON VIEW @schema@.interrupted IS
  'Results that came to more than they were let pass for, and were stopped in their middle until somebody had decided about the rest: as what (class, rule, reasons), who approved or refused it, and the rows and bytes that left in all. refused_by: policy, person, expired (nobody in time), withdrawn (the client), limit (a bound that people or a rule had set, or nobody could be asked), proxy; null: nobody (SOC 2 CC6.1, CC6.7, CC7.2).';

CREATE OR REPLACE VIEW @schema@.exports AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.relations, s.sql, s.decision, s.rule, s.approvers,
         s.outcome, s.rows, s.bytes, s.request_id, s.session_id, s.stream, s.seq
    FROM @schema@.statements s WHERE s.class = 'export'
  UNION ALL
  SELECT i.at, i.agent, i.owner, i.on_behalf_of, i.database, i.relations, i.sql,
         CASE WHEN i.refused_by IN ('policy', 'limit') AND i.request_id IS NULL THEN 'deny' ELSE 'hold' END,
         i.rule, i.approvers, i.outcome, i.rows, i.bytes, i.request_id, i.session_id, i.stream, i.seq
    -- Whatever was more than a read already has its place elsewhere, or above.
    FROM @schema@.interrupted i WHERE i.class = 'export' AND i.read_as <> 'export';
COMMENT ON VIEW @schema@.exports IS
  'Bulk exports, asked for and carried out, with the rows and bytes that really left; also reads that came to be one, with the rule that they were stopped by in their middle (SOC 2 CC6.1, CC6.7).';

CREATE OR REPLACE VIEW @schema@.denials AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.class, s.sql,
         CASE WHEN s.decision = 'deny' THEN 'policy' WHEN s.outcome = 'denied' THEN 'person' ELSE s.outcome END
           AS refused_by,
         s.rule, s.reasons, s.approvers AS people, s.request_id, s.session_id, s.stream, s.seq
    FROM @schema@.statements s
      -- A statement that the server would reject too is a mistake, not a denial: its outcome is failed.
   WHERE (s.decision = 'deny' AND s.outcome IS DISTINCT FROM 'failed' AND s.outcome IS DISTINCT FROM 'executed'
          AND NOT EXISTS (SELECT FROM @schema@.observed o
                           WHERE o.stream = s.stream AND o.seq = s.seq AND o.observes = 'everything'))
      OR s.outcome IN ('denied', 'expired', 'withdrawn')
  UNION ALL
  SELECT e.at, e.agent, e.owner, e.on_behalf_of, e.database, e.kind, NULL, 'proxy', e.kind,
         ARRAY(SELECT d.key || ': ' || d.value FROM jsonb_each_text(jsonb_object(coalesce(e.detail, '{}'))) d),
         e.people, e.request_id, e.session_id, e.stream, e.seq
    FROM @schema@.entry e WHERE e.kind IN ('login_refused', 'protocol_violation', 'verdict_refused')
  UNION ALL
  SELECT i.at, i.agent, i.owner, i.on_behalf_of, i.database, i.class, i.sql, i.refused_by, i.rule, i.reasons, i.deniers,
         i.request_id, i.session_id, i.stream, i.seq
    FROM @schema@.interrupted i
   WHERE i.refused_by IS NOT NULL AND i.outcome NOT IN ('denied', 'expired', 'withdrawn');
COMMENT ON VIEW @schema@.denials IS
  'What did not run, or was stopped in the middle of its result, and who refused it: policy, a person, nobody in time (expired), the client itself (withdrawn), a bound that was set before (limit), or the proxy (log-ins, protocol, verdicts of people who may not give them) (SOC 2 CC6.1, CC6.6, CC7.2).';

CREATE OR REPLACE VIEW @schema@.agents AS
  SELECT s.agent, s.owner, min(s.at) AS first_seen, max(s.at) AS last_seen, count(DISTINCT s.session_id) AS sessions,
         count(*) AS statements, count(*) FILTER (WHERE s.decision = 'hold' OR i.request_id IS NOT NULL) AS held,
         count(*) FILTER (WHERE (s.decision = 'deny' AND s.outcome IS DISTINCT FROM 'failed'
                                 AND s.outcome IS DISTINCT FROM 'executed')
                              OR s.outcome = 'denied' OR i.refused_by IN ('policy', 'person')) AS denied,
         count(*) FILTER (WHERE (s.class = 'export' OR i.class = 'export') AND s.outcome = 'executed') AS exports,
         sum(s.rows)::bigint AS rows, sum(s.bytes)::bigint AS bytes,
         array_agg(DISTINCT s.database) AS databases, array_agg(DISTINCT s.role) AS roles
    FROM @schema@.statements s LEFT JOIN @schema@.interrupted i USING (stream, seq)
   GROUP BY s.agent, s.owner;

CREATE OR REPLACE VIEW @schema@.unapproved_exceptions AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.class, s.decision, s.rule, s.sql, s.outcome, s.request_id,
         s.session_id, s.stream, s.seq
    FROM @schema@.statements s
   WHERE s.decision IN ('hold', 'deny') AND s.outcome IN ('executed', 'failed')
     AND NOT EXISTS (SELECT FROM @schema@.entry r WHERE r.kind = 'released' AND r.request_id = s.request_id)
     -- A failed statement that never was released was refused, by the proxy or because the client went: nothing ran.
     AND NOT (s.outcome = 'failed' AND s.tag IS NULL AND s.rows = 0 AND s.bytes = 0)
  UNION ALL
  SELECT i.at, i.agent, i.owner, i.on_behalf_of, i.database, i.class, 'hold', i.rule, i.sql, i.outcome, i.request_id,
         i.session_id, i.stream, i.seq
    FROM @schema@.interrupted i
   WHERE i.refused_by IS NULL AND i.outcome IN ('executed', 'failed')
     AND NOT EXISTS (SELECT FROM @schema@.entry r WHERE r.kind = 'released' AND r.request_id = i.request_id);
COMMENT ON VIEW @schema@.unapproved_exceptions IS
  'Statements that policy held or denied, and rests of results, that ran or were sent without a released approval. Must be empty in mode enforce (SOC 2 CC6.1, CC8.1).';

CREATE OR REPLACE VIEW @schema@.approvals AS
  WITH request AS (
    SELECT e.request_id,
           min(e.at) FILTER (WHERE e.kind = 'request_opened') AS asked_at,
           min(e.at) FILTER (WHERE e.kind IN
             ('request_approved', 'request_denied', 'request_expired', 'request_withdrawn')) AS decided_at,
           (array_agg(e.kind ORDER BY e.at, e.seq) FILTER (WHERE e.kind IN
             ('request_approved', 'request_denied', 'request_expired', 'request_withdrawn'))) AS ends,
           (array_agg(e.receipt ORDER BY e.at, e.seq) FILTER (WHERE e.receipt IS NOT NULL))[1] AS receipt,
           min(e.at) FILTER (WHERE e.kind = 'released') AS released_at,
           string_agg(DISTINCT nullif(jsonb_object(e.detail) ->> 'reason', ''), '; ')
             FILTER (WHERE e.kind IN ('verdict', 'request_denied', 'request_withdrawn')) AS reason,
           (array_agg(jsonb_object(e.detail) ORDER BY e.at, e.seq) FILTER (WHERE e.kind = 'request_opened'))[1] AS asked,
           (array_agg(e.agent ORDER BY e.at, e.seq) FILTER (WHERE e.agent IS NOT NULL))[1] AS agent,
           (array_agg(e.owner ORDER BY e.at, e.seq) FILTER (WHERE e.agent IS NOT NULL))[1] AS owner,
           (array_agg(e.on_behalf_of ORDER BY e.at, e.seq) FILTER (WHERE e.agent IS NOT NULL))[1] AS on_behalf_of,
           (array_agg(e.database ORDER BY e.at, e.seq) FILTER (WHERE e.agent IS NOT NULL))[1] AS database,
           (array_agg(e.role ORDER BY e.at, e.seq) FILTER (WHERE e.agent IS NOT NULL))[1] AS role
      FROM @schema@.entry e
     WHERE e.request_id IS NOT NULL AND e.kind NOT IN ('intent', 'outcome')
     GROUP BY e.request_id
  )
  SELECT r.request_id, r.agent, r.owner, r.on_behalf_of, r.database, r.role,
         coalesce(s.sql, r.asked ->> 'sql') AS sql,
         coalesce(s.class, r.asked ->> 'class') AS class,
         coalesce(s.rule, r.asked ->> 'rule') AS rule,
         r.asked_at, r.decided_at, r.decided_at - r.asked_at AS waited,
         coalesce(p.people, '{}'::text[]) AS approvers,
         CASE r.ends[1] WHEN 'request_approved' THEN 'approve' WHEN 'request_denied' THEN 'deny'
                        WHEN 'request_expired' THEN 'expired' WHEN 'request_withdrawn' THEN 'withdrawn' END AS verdict,
         r.reason, r.receipt, r.released_at IS NOT NULL AS released, r.released_at,
         s.outcome, s.tag, s.rows, s.bytes, s.sqlstate
    FROM request r
    LEFT JOIN LATERAL (
      -- The deciding entry's people; where it names none, those whose verdicts led to it.
      SELECT array_agg(DISTINCT who.name ORDER BY who.name) AS people
        FROM @schema@.entry v, unnest(v.people) AS who (name)
       WHERE v.request_id = r.request_id
         AND v.kind IN ('verdict', 'request_approved', 'request_denied')) p ON true
    LEFT JOIN LATERAL (
      -- Several statements of one string share a request, and an agent may have sent it again before it was answered:
      -- each text once; the outcome of what was released (it names approvers), else of the last attempt.
      SELECT string_agg(t.sql, E';\n' ORDER BY t.at, t.seq) FILTER (WHERE t.attempt = 1) AS sql,
             max(t.class) AS class, max(t.rule) AS rule,
             coalesce(CASE WHEN bool_or(t.released AND t.outcome = 'unknown') THEN 'unknown'
                           WHEN bool_or(t.released AND t.outcome = 'failed') THEN 'failed'
                           WHEN bool_or(t.released AND t.outcome = 'executed') THEN 'executed' END,
                      (array_agg(t.outcome ORDER BY t.at DESC, t.seq DESC))[1]) AS outcome,
             string_agg(t.tag, '; ' ORDER BY t.at, t.seq) AS tag, sum(t.rows)::bigint AS rows,
             sum(t.bytes)::bigint AS bytes, min(t.sqlstate) FILTER (WHERE t.released) AS sqlstate
        FROM (SELECT a.*, row_number() OVER (PARTITION BY a.sql ORDER BY a.at, a.seq) AS attempt
                FROM (SELECT i.at, i.seq, i.sql, i.class, i.rule, o.outcome, o.tag, o.rows, o.bytes, o.sqlstate,
                             cardinality(o.people) > 0 AS released
                        FROM @schema@.entry i
                        LEFT JOIN @schema@.entry o ON o.kind = 'outcome' AND o.stream = i.stream
                         AND o.session_id = i.session_id AND o.statement_no = i.statement_no
                       WHERE i.kind = 'intent' AND i.request_id = r.request_id
                      UNION ALL
                      -- One that was asked about in the middle of its result ran before: the outcome names the request.
                      SELECT i.at, i.seq, i.sql, jsonb_object(o.detail) ->> 'rest_class',
                             jsonb_object(o.detail) ->> 'rest_rule', o.outcome, o.tag, o.rows, o.bytes, o.sqlstate,
                             cardinality(o.people) > 0
                        FROM @schema@.entry o
                        JOIN @schema@.entry i ON i.kind = 'intent' AND i.stream = o.stream
                         AND i.session_id = o.session_id AND i.statement_no = o.statement_no
                       WHERE o.kind = 'outcome' AND o.request_id = r.request_id AND o.detail IS NOT NULL
                         AND i.request_id IS DISTINCT FROM r.request_id) a) t) s ON true;

GRANT SELECT ON @schema@.interrupted TO @auditor@;
