-- What auditors read. Plain names; each comment names the SOC 2 criterion that it serves.

CREATE VIEW @schema@.statements AS
  SELECT i.stream, i.seq, i.at, i.session_id, i.statement_no, i.agent, i.owner, i.on_behalf_of, i.run, i.run_verified,
         i.database, i.role, i.sql, i.sql_sha256, i.parameters, i.class, i.decision, i.rule, i.reasons, i.relations,
         coalesce(i.request_id, o.request_id) AS request_id, coalesce(o.people, '{}'::text[]) AS approvers, o.outcome,
         o.tag, o.rows, o.bytes, o.duration_us, o.sqlstate, o.at AS ended_at, o.seq AS outcome_seq,
         i.application_name, i.client_address, i.tls, i.policy_digest
    FROM @schema@.entry i
    LEFT JOIN @schema@.entry o
      ON o.kind = 'outcome' AND o.stream = i.stream AND o.session_id = i.session_id AND o.statement_no = i.statement_no
   WHERE i.kind = 'intent';
COMMENT ON VIEW @schema@.statements IS
  'Every statement of every agent, one row each: who, what, why it was allowed, held or denied, and what came of it (SOC 2 CC6.1, CC7.2). outcome: executed, failed, denied, expired, withdrawn, unknown (nobody can know: the process died), null (running).';

CREATE VIEW @schema@.events AS
  SELECT e.stream, e.seq, e.at, e.kind, e.agent, e.people, e.request_id,
         CASE WHEN e.detail IS NULL THEN NULL ELSE jsonb_object(e.detail) END AS detail,
         e.session_id, e.owner, e.on_behalf_of, e.run, e.database, e.role, e.application_name, e.client_address, e.tls,
         e.receipt
    FROM @schema@.entry e
   WHERE e.kind NOT IN ('intent', 'outcome');
COMMENT ON VIEW @schema@.events IS
  'Everything that is not a statement: log-ins refused, requests and verdicts, keys, configuration, start and stop of the log (SOC 2 CC7.2, CC8.1).';

CREATE VIEW @schema@.approvals AS
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
        FROM (SELECT i.at, i.seq, i.sql, i.class, i.rule, o.outcome, o.tag, o.rows, o.bytes, o.sqlstate,
                     cardinality(o.people) > 0 AS released,
                     row_number() OVER (PARTITION BY i.sql ORDER BY i.at, i.seq) AS attempt
                FROM @schema@.entry i
                LEFT JOIN @schema@.entry o ON o.kind = 'outcome' AND o.stream = i.stream
                 AND o.session_id = i.session_id AND o.statement_no = i.statement_no
               WHERE i.kind = 'intent' AND i.request_id = r.request_id) t) s ON true;
COMMENT ON VIEW @schema@.approvals IS
  'Every request that was put to people: what was asked, who answered what and when, the signed receipt, and what the released statement did (SOC 2 CC6.1, CC6.3, CC8.1).';

CREATE VIEW @schema@.exports AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.relations, s.sql, s.decision, s.rule, s.approvers,
         s.outcome, s.rows, s.bytes, s.request_id, s.session_id, s.stream, s.seq
    FROM @schema@.statements s WHERE s.class = 'export';
COMMENT ON VIEW @schema@.exports IS
  'Bulk exports, asked for and carried out, with the rows and bytes that really left (SOC 2 CC6.1, CC6.7).';

CREATE VIEW @schema@.schema_changes AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.relations, s.sql, s.decision, s.rule, s.approvers,
         s.outcome, s.tag, s.sqlstate, s.request_id, s.session_id, s.stream, s.seq
    FROM @schema@.statements s WHERE s.class = 'ddl';
COMMENT ON VIEW @schema@.schema_changes IS 'The population of schema changes (SOC 2 CC8.1).';

CREATE VIEW @schema@.privilege_changes AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.role, s.sql, s.decision, s.rule, s.approvers,
         s.outcome, s.tag, s.sqlstate, s.request_id, s.session_id, s.stream, s.seq
    FROM @schema@.statements s WHERE s.class = 'privilege';
COMMENT ON VIEW @schema@.privilege_changes IS
  'The population of changes of roles and rights, and of reads of password hashes (SOC 2 CC6.2, CC6.3).';

CREATE VIEW @schema@.denials AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.class, s.sql,
         CASE WHEN s.decision = 'deny' THEN 'policy' WHEN s.outcome = 'denied' THEN 'person' ELSE s.outcome END
           AS refused_by,
         s.rule, s.reasons, s.approvers AS people, s.request_id, s.session_id, s.stream, s.seq
    FROM @schema@.statements s
      -- A statement that the server would reject too is a mistake, not a denial: its outcome is failed.
   WHERE (s.decision = 'deny' AND s.outcome IS DISTINCT FROM 'failed')
      OR s.outcome IN ('denied', 'expired', 'withdrawn')
  UNION ALL
  SELECT e.at, e.agent, e.owner, e.on_behalf_of, e.database, e.kind, NULL, 'proxy', e.kind,
         ARRAY(SELECT d.key || ': ' || d.value FROM jsonb_each_text(jsonb_object(coalesce(e.detail, '{}'))) d),
         e.people, e.request_id, e.session_id, e.stream, e.seq
    FROM @schema@.entry e WHERE e.kind IN ('login_refused', 'protocol_violation', 'verdict_refused');
COMMENT ON VIEW @schema@.denials IS
  'What did not run, and who refused it: policy, a person, nobody in time (expired), the client itself (withdrawn), or the proxy (log-ins, protocol, verdicts of people who may not give them) (SOC 2 CC6.1, CC6.6, CC7.2).';

CREATE VIEW @schema@.agents AS
  SELECT s.agent, s.owner, min(s.at) AS first_seen, max(s.at) AS last_seen, count(DISTINCT s.session_id) AS sessions,
         count(*) AS statements, count(*) FILTER (WHERE s.decision = 'hold') AS held,
         count(*) FILTER (WHERE (s.decision = 'deny' AND s.outcome IS DISTINCT FROM 'failed')
                              OR s.outcome = 'denied') AS denied,
         count(*) FILTER (WHERE s.class = 'export' AND s.outcome = 'executed') AS exports,
         sum(s.rows)::bigint AS rows, sum(s.bytes)::bigint AS bytes,
         array_agg(DISTINCT s.database) AS databases, array_agg(DISTINCT s.role) AS roles
    FROM @schema@.statements s GROUP BY s.agent, s.owner;
COMMENT ON VIEW @schema@.agents IS 'Agents, who answers for them, and what they did (SOC 2 CC6.1, CC6.2).';

CREATE VIEW @schema@.unapproved_exceptions AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.class, s.decision, s.rule, s.sql, s.outcome, s.request_id,
         s.session_id, s.stream, s.seq
    FROM @schema@.statements s
   WHERE s.decision IN ('hold', 'deny') AND s.outcome IN ('executed', 'failed')
     AND NOT EXISTS (SELECT FROM @schema@.entry r WHERE r.kind = 'released' AND r.request_id = s.request_id)
     -- A failed statement that never was released was refused, by the proxy or because the client went: nothing ran.
     AND NOT (s.outcome = 'failed' AND s.tag IS NULL AND s.rows = 0 AND s.bytes = 0);
COMMENT ON VIEW @schema@.unapproved_exceptions IS
  'Statements that policy held or denied and that ran without a released approval. Must be empty in mode enforce (SOC 2 CC6.1, CC8.1).';

CREATE VIEW @schema@.integrity AS
  SELECT s.stream, s.started_at, s.facts ->> 'host' AS host, s.facts ->> 'pid' AS pid, s.facts ->> 'purpose' AS purpose,
         s.head_seq AS entries_recorded, c.entries AS entries_present, c.entries = s.head_seq AND c.last = s.head_seq
           AND b.to_seq = s.head_seq AND b.hash = s.head_hash AS complete,
         b.to_seq AS signed_up_to, b.stored_at AS last_stored_at, s.kid, s.endorsed_by,
         CASE last.kind WHEN 'log_stop' THEN 'closed' WHEN 'log_recovered' THEN 'recovered' ELSE 'open' END AS state
    FROM @schema@.stream s
    LEFT JOIN LATERAL (SELECT count(*) AS entries, max(e.seq) AS last
                         FROM @schema@.entry e WHERE e.stream = s.stream) c ON true
    LEFT JOIN LATERAL (SELECT b.to_seq, b.hash, b.stored_at FROM @schema@.batch b
                        WHERE b.stream = s.stream ORDER BY b.from_seq DESC LIMIT 1) b ON true
    LEFT JOIN LATERAL (SELECT e.kind FROM @schema@.entry e
                        WHERE e.stream = s.stream AND e.seq = s.head_seq) last ON true;
COMMENT ON VIEW @schema@.integrity IS
  'Each stream of the log, whether its rows are all there, and up to where they are signed; verify() checks more (SOC 2 CC7.1, CC7.3).';

-- The raw material, for verifiers.
CREATE VIEW @schema@.entries AS SELECT * FROM @schema@.entry;
COMMENT ON VIEW @schema@.entries IS 'The entries as they are hashed, with their hashes; for countersign verify and the like.';
CREATE VIEW @schema@.streams AS SELECT * FROM @schema@.stream;
COMMENT ON VIEW @schema@.streams IS 'Streams, their keys and endorsements, and their heads.';
CREATE VIEW @schema@.batches AS SELECT * FROM @schema@.batch;
COMMENT ON VIEW @schema@.batches IS 'Signed batches.';
CREATE VIEW @schema@.signing_keys AS SELECT * FROM @schema@.signing_key;
COMMENT ON VIEW @schema@.signing_keys IS 'Public keys of the installation, as JWK.';

GRANT USAGE ON SCHEMA @schema@ TO @writer@, @auditor@;
GRANT SELECT ON @schema@.statements, @schema@.events, @schema@.approvals, @schema@.exports, @schema@.schema_changes,
  @schema@.privilege_changes, @schema@.denials, @schema@.agents, @schema@.unapproved_exceptions, @schema@.integrity,
  @schema@.entries, @schema@.streams, @schema@.batches, @schema@.signing_keys TO @auditor@;
