-- Statements alike but for their constants, and whether what a statement did was committed with it.

CREATE OR REPLACE VIEW @schema@.statements AS
  SELECT i.stream, i.seq, i.at, i.session_id, i.statement_no, i.agent, i.owner, i.on_behalf_of, i.run, i.run_verified,
         i.database, i.role, i.sql, i.sql_sha256, i.parameters, i.class, i.decision, i.rule, i.reasons, i.relations,
         coalesce(i.request_id, o.request_id) AS request_id, coalesce(o.people, '{}'::text[]) AS approvers, o.outcome,
         o.tag, o.rows, o.bytes, o.duration_us, o.sqlstate, o.at AS ended_at, o.seq AS outcome_seq,
         i.application_name, i.client_address, i.tls, i.policy_digest,
         jsonb_object(i.detail) ->> 'observed_rule' AS observed_rule,
         jsonb_object(i.detail) ->> 'observed_decision' AS observed_decision,
         CASE WHEN f.facts IS NOT NULL THEN
           coalesce(f.facts ->> 'command', upper(substring(i.sql FROM '^[ \t\r\n\f]*([A-Za-z]+)'))) END AS command,
         CASE WHEN f.facts IS NOT NULL THEN ARRAY(
           SELECT r.name || '.' || c.name
             FROM unnest(i.relations) WITH ORDINALITY r (name, place)
            CROSS JOIN LATERAL (SELECT f.facts -> 'relations' -> (r.place - 1)::int AS facts) u
            CROSS JOIN LATERAL jsonb_array_elements_text(
              CASE jsonb_typeof(u.facts -> 'read') WHEN 'array' THEN u.facts -> 'read'
                                                   WHEN 'null' THEN '["*"]' ELSE '[]' END) WITH ORDINALITY c (name, place)
            ORDER BY r.place, c.place) END AS columns_read,
         CASE WHEN f.facts IS NOT NULL THEN ARRAY(
           SELECT r.name || '.' || c.name
             FROM unnest(i.relations) WITH ORDINALITY r (name, place)
            CROSS JOIN LATERAL (SELECT f.facts -> 'relations' -> (r.place - 1)::int AS facts) u
            -- What writes and stores in no column (DELETE, LOCK, a definition) is about all of them.
            CROSS JOIN LATERAL jsonb_array_elements_text(
              CASE WHEN jsonb_typeof(u.facts -> 'written') = 'array' THEN u.facts -> 'written'
                   WHEN u.facts ->> 'mode' = 'write' THEN '["*"]' ELSE '[]' END) WITH ORDINALITY c (name, place)
            ORDER BY r.place, c.place) END AS columns_written,
         CASE WHEN f.facts IS NOT NULL THEN ARRAY(
           SELECT jsonb_array_elements_text(coalesce(f.facts -> 'tags', '[]'))
           UNION
           SELECT t.name
             FROM jsonb_array_elements(coalesce(f.facts -> 'relations', '[]')) u (facts)
            CROSS JOIN LATERAL jsonb_array_elements_text(coalesce(u.facts -> 'tags', '[]')) t (name)
            ORDER BY 1) END AS tags,
         CASE WHEN f.facts IS NOT NULL THEN ARRAY(
           SELECT CASE jsonb_typeof(c.name) WHEN 'string' THEN 'pg_catalog.' || (c.name #>> '{}')
                       ELSE coalesce(c.name ->> 0, '*') || '.' || coalesce(c.name ->> 1, '*') END
             FROM jsonb_array_elements(coalesce(f.facts -> 'functions', '[]')) WITH ORDINALITY c (name, place)
            ORDER BY c.place) END AS functions,
         CASE WHEN f.facts IS NOT NULL THEN ARRAY(
           SELECT jsonb_array_elements_text(coalesce(f.facts -> 'boundary', '[]'))) END AS boundary,
         f.facts,
         jsonb_object(i.detail) ->> 'fingerprint' AS fingerprint,
         jsonb_object(o.detail) ->> 'transaction_status' AS transaction_status
    FROM @schema@.entry i
   CROSS JOIN LATERAL (
     SELECT CASE WHEN jsonb_object(i.detail) ? 'facts'
                 THEN CASE WHEN NOT (jsonb_object(i.detail) ->> 'facts')::jsonb ? 'cut'
                           THEN (jsonb_object(i.detail) ->> 'facts')::jsonb END
                 WHEN i.stream IN (SELECT m.stream FROM @schema@.entry m
                                    WHERE m.kind = 'configuration' AND jsonb_object(m.detail) ->> 'facts' = '1')
                 THEN '{"v": 1}'::jsonb END AS facts) f
    LEFT JOIN @schema@.entry o
      ON o.kind = 'outcome' AND o.stream = i.stream AND o.session_id = i.session_id AND o.statement_no = i.statement_no
   WHERE i.kind = 'intent';
COMMENT ON VIEW @schema@.statements IS
  'Every statement of every agent, one row each: who, what, why it was allowed, held or denied, and what came of it (SOC 2 CC6.1, CC7.2). outcome: executed, failed, denied, expired, withdrawn, unknown (nobody can know: the process died), null (running). observed_rule: a rule in mode observe that would have decided instead. command, columns_read, columns_written, tags, functions, boundary: what the policy saw in it; null: not recorded (an older version, or too long).';
COMMENT ON COLUMN @schema@.statements.fingerprint IS
  'Equal for queries that differ in constants alone, for counting them; null: no query, or not recorded.';
COMMENT ON COLUMN @schema@.statements.transaction_status IS
  'What the server said after it (ReadyForQuery): I, its transaction is over: what it did is committed, unless it failed or is a ROLLBACK; T, it was one of several in a transaction that its COMMIT or ROLLBACK, a later row of the session, ended; E, that transaction had failed. null: it did not run, or the session ended before.';
