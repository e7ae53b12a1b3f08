-- Views over a day read that day, however long the log is; and every column of `statements` says what it is.

-- As before, but for two things. What a statement shows is worked out once, not once for each column that is made of it.
-- And its outcome is looked for in the days around it; only where it is not there (a statement that ran for days, a process
-- that was recovered late, a clock that was set) in all the others, too.
CREATE OR REPLACE VIEW @schema@.statements AS
  SELECT i.stream, i.seq, i.at, i.session_id, i.statement_no, i.agent, i.owner, i.on_behalf_of, i.run, i.run_verified,
         i.database, i.role, i.sql, i.sql_sha256, i.parameters, i.class, i.decision, i.rule, i.reasons, i.relations,
         coalesce(i.request_id, o.request_id, l.request_id) AS request_id,
         coalesce(o.people, l.people, '{}'::text[]) AS approvers, coalesce(o.outcome, l.outcome) AS outcome,
         coalesce(o.tag, l.tag) AS tag, coalesce(o.rows, l.rows) AS rows, coalesce(o.bytes, l.bytes) AS bytes,
         coalesce(o.duration_us, l.duration_us) AS duration_us, coalesce(o.sqlstate, l.sqlstate) AS sqlstate,
         coalesce(o.at, l.at) AS ended_at, coalesce(o.seq, l.seq) AS outcome_seq,
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
         jsonb_object(coalesce(o.detail, l.detail)) ->> 'transaction_status' AS transaction_status
    FROM @schema@.entry i
   CROSS JOIN LATERAL (
     SELECT CASE WHEN jsonb_object(i.detail) ? 'facts'
                 THEN CASE WHEN NOT (jsonb_object(i.detail) ->> 'facts')::jsonb ? 'cut'
                           THEN (jsonb_object(i.detail) ->> 'facts')::jsonb END
                 WHEN i.stream IN (SELECT m.stream FROM @schema@.entry m
                                    WHERE m.kind = 'configuration' AND jsonb_object(m.detail) ->> 'facts' = '1')
                 THEN '{"v": 1}'::jsonb END AS facts
     -- Not to be pulled up: it would be planned, and computed, once for each column that is made of it.
     OFFSET 0) f
    LEFT JOIN @schema@.entry o
      ON o.kind = 'outcome' AND o.stream = i.stream AND o.session_id = i.session_id AND o.statement_no = i.statement_no
     AND o.at >= i.at - interval '1 hour' AND o.at < i.at + interval '24 hours'
    LEFT JOIN LATERAL (
      SELECT n.request_id, n.people, n.outcome, n.tag, n.rows, n.bytes, n.duration_us, n.sqlstate, n.at, n.seq, n.detail
        FROM @schema@.entry n
       WHERE o.seq IS NULL
         AND n.kind = 'outcome' AND n.stream = i.stream AND n.session_id = i.session_id AND n.statement_no = i.statement_no
      OFFSET 0) l ON true
   WHERE i.kind = 'intent';

-- By the place of the outcome, which is a key, instead of all outcomes of the log.
CREATE OR REPLACE VIEW @schema@.interrupted AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.role, s.relations, s.sql, s.class AS read_as,
         r.detail ->> 'rest_class' AS class, r.detail ->> 'rest_rule' AS rule,
         ARRAY(SELECT jsonb_array_elements_text((r.detail ->> 'rest_reasons')::jsonb)) AS reasons,
         CASE r.detail ->> 'rest_refused_by'
           WHEN 'denied' THEN CASE WHEN denial.people IS NULL THEN 'proxy' ELSE 'person' END
           ELSE r.detail ->> 'rest_refused_by' END AS refused_by,
         s.approvers, coalesce(denial.people, '{}'::text[]) AS deniers, s.outcome, s.sqlstate, s.rows, s.bytes,
         s.request_id, s.session_id, s.stream, s.seq
    FROM @schema@.statements s
    JOIN @schema@.entry o ON o.kind = 'outcome' AND o.stream = s.stream AND o.seq = s.outcome_seq AND o.at = s.ended_at
   CROSS JOIN LATERAL (SELECT jsonb_object(o.detail) AS detail) r
    LEFT JOIN LATERAL (SELECT d.people FROM @schema@.entry d
                        WHERE d.request_id = s.request_id AND d.kind = 'request_denied' LIMIT 1) denial ON true
   WHERE r.detail ? 'rest_rule';

-- Who refused a statement that a person refused is told here, too.
CREATE OR REPLACE VIEW @schema@.denials AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.class, s.sql,
         CASE WHEN s.decision = 'deny' THEN 'policy' WHEN s.outcome = 'denied' THEN 'person' ELSE s.outcome END
           AS refused_by,
         s.rule, s.reasons,
         CASE WHEN s.decision IS DISTINCT FROM 'deny' AND s.outcome = 'denied' THEN coalesce(
                (SELECT d.people FROM @schema@.entry d
                  WHERE d.request_id = s.request_id AND d.kind = 'request_denied' ORDER BY d.at, d.stream, d.seq LIMIT 1),
                s.approvers)
              ELSE s.approvers END AS people,
         s.request_id, s.session_id, s.stream, s.seq
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
COMMENT ON COLUMN @schema@.denials.people IS
  'Who refused it, where people did; of refused_by proxy: whose verdict was refused.';

-- In one pass, for it is about the whole log.
CREATE OR REPLACE VIEW @schema@.agents AS
  SELECT s.agent, s.owner, min(s.at) AS first_seen, max(s.at) AS last_seen, count(DISTINCT s.session_id) AS sessions,
         count(*) AS statements,
         count(*) FILTER (WHERE s.decision = 'hold' OR (s.rest ? 'rest_rule' AND s.request_id IS NOT NULL)) AS held,
         count(*) FILTER (WHERE (s.decision = 'deny' AND s.outcome IS DISTINCT FROM 'failed'
                                 AND s.outcome IS DISTINCT FROM 'executed')
                              OR s.outcome = 'denied'
                              OR (s.rest ? 'rest_rule' AND CASE s.rest ->> 'rest_refused_by'
                                    WHEN 'policy' THEN true
                                    WHEN 'denied' THEN EXISTS (
                                      SELECT FROM @schema@.entry d
                                       WHERE d.request_id = s.request_id AND d.kind = 'request_denied'
                                         AND d.people IS NOT NULL) END)) AS denied,
         count(*) FILTER (WHERE (s.class = 'export' OR (s.rest ? 'rest_rule' AND s.rest ->> 'rest_class' = 'export'))
                            AND s.outcome = 'executed') AS exports,
         sum(s.rows)::bigint AS rows, sum(s.bytes)::bigint AS bytes,
         array_agg(DISTINCT s.database) AS databases, array_agg(DISTINCT s.role) AS roles
    FROM (SELECT i.at, i.agent, i.owner, i.session_id, i.decision, i.class, i.database, i.role, o.outcome, o.rows, o.bytes,
                 coalesce(i.request_id, o.request_id) AS request_id, jsonb_object(o.detail) AS rest
            FROM @schema@.entry i
            LEFT JOIN @schema@.entry o ON o.kind = 'outcome' AND o.stream = i.stream AND o.session_id = i.session_id
             AND o.statement_no = i.statement_no
           WHERE i.kind = 'intent') s
   GROUP BY s.agent, s.owner;

-- What an auditor reads without us beside them. Names are those of pgaudit, of Postgres' csvlog and of OpenTelemetry's
-- semantic conventions, where they have one.
COMMENT ON COLUMN @schema@.statements.stream IS
  'The stream of the log: one start of one process. With seq the row''s place, as countersign audit redact takes it.';
COMMENT ON COLUMN @schema@.statements.seq IS
  'Its number in the stream, without gaps.';
COMMENT ON COLUMN @schema@.statements.at IS
  'When the proxy decided about it, by the clock of the proxy''s machine: log_time of csvlog.';
COMMENT ON COLUMN @schema@.statements.session_id IS
  'The session, one log-in of an agent: view sessions; session_id of csvlog, session.id of OpenTelemetry. Not the server''s process.';
COMMENT ON COLUMN @schema@.statements.statement_no IS
  'Its number in the session: STATEMENT_ID of pgaudit. Statements of one string have one each, and so has each Execute.';
COMMENT ON COLUMN @schema@.statements.agent IS
  'The name that the agent logged in with, and proved: user_name of csvlog.';
COMMENT ON COLUMN @schema@.statements.owner IS
  'The person who answers for the agent, by the configuration of then.';
COMMENT ON COLUMN @schema@.statements.on_behalf_of IS
  'The person whom the agent acted for, from a token that was checked; null: none.';
COMMENT ON COLUMN @schema@.statements.run IS
  'The run of the agent that it belongs to: from its token, or as the agent claims, or the session where it says nothing.';
COMMENT ON COLUMN @schema@.statements.run_verified IS
  'Whether run comes from a token that was checked; false: it is the agent''s own word, or the session.';
COMMENT ON COLUMN @schema@.statements.database IS
  'database_name of csvlog, db.namespace of OpenTelemetry.';
COMMENT ON COLUMN @schema@.statements.role IS
  'The database role that it ran as, which only the proxy can log in as.';
COMMENT ON COLUMN @schema@.statements.sql IS
  'Its text, byte for byte as it was sent, but for secrets of the grammar (‹secret, N bytes›): STATEMENT of pgaudit, db.query.text of OpenTelemetry. null: redacted.';
COMMENT ON COLUMN @schema@.statements.sql_sha256 IS
  'SHA-256 of the very bytes that were sent. null: redacted.';
COMMENT ON COLUMN @schema@.statements.parameters IS
  'Bind parameters, as literals; what the rule or audit.parameters says is a digest or left out: PARAMETER of pgaudit. null: it had none, or redacted.';
COMMENT ON COLUMN @schema@.statements.class IS
  'The highest class of anything in it: session, read, write, bulk_write, export, ddl, privilege, opaque, admin, unparsed.';
COMMENT ON COLUMN @schema@.statements.decision IS
  'What policy said: allow, hold (a person had to approve it), deny.';
COMMENT ON COLUMN @schema@.statements.rule IS
  'The rule that decided; default:CLASS is the table that holds where no rule matches, floor:NAME what no rule can lower.';
COMMENT ON COLUMN @schema@.statements.reasons IS
  'Why, in words.';
COMMENT ON COLUMN @schema@.statements.request_id IS
  'The request that was put to people: views approvals and signed_approvals. null: nobody was asked.';
COMMENT ON COLUMN @schema@.statements.approvers IS
  'Who approved its release; whether they did is in signed_approvals. Empty: it needed nobody, or was not released.';
COMMENT ON COLUMN @schema@.statements.outcome IS
  'executed, failed (the server''s error, or the client went), denied, expired (nobody in time), withdrawn (the client gave up), unknown (nobody can know); null: it runs.';
COMMENT ON COLUMN @schema@.statements.tag IS
  'The server''s command tag, with the number of rows that a write changed (UPDATE 3, COPY 17): command_tag of csvlog.';
COMMENT ON COLUMN @schema@.statements.rows IS
  'Rows that were sent to the client: ROWS of pgaudit for reads, db.response.returned_rows of OpenTelemetry. What a write changed is in tag.';
COMMENT ON COLUMN @schema@.statements.bytes IS
  'Bytes of those rows, and of COPY in either direction, as they were counted on the wire.';
COMMENT ON COLUMN @schema@.statements.duration_us IS
  'From when it was sent to the server to its end, microseconds; statements of one string have that of the string. Of one that did not run: how long it waited.';
COMMENT ON COLUMN @schema@.statements.sqlstate IS
  'Of the error that the client got: sql_state_code of csvlog, db.response.status_code of OpenTelemetry. null: no error.';
COMMENT ON COLUMN @schema@.statements.ended_at IS
  'When its outcome was known. null: it runs.';
COMMENT ON COLUMN @schema@.statements.outcome_seq IS
  'The place of its outcome in the same stream: view entries.';
COMMENT ON COLUMN @schema@.statements.application_name IS
  'What the client called itself: claimed. application_name of csvlog.';
COMMENT ON COLUMN @schema@.statements.client_address IS
  'Where it came from, as the proxy saw it: client.address of OpenTelemetry, connection_from of csvlog.';
COMMENT ON COLUMN @schema@.statements.tls IS
  'Whether the agent''s connection was encrypted.';
COMMENT ON COLUMN @schema@.statements.policy_digest IS
  'The policy in force, whose whole text is in the view policies.';
COMMENT ON COLUMN @schema@.statements.observed_rule IS
  'A rule in mode observe that would have decided instead.';
COMMENT ON COLUMN @schema@.statements.observed_decision IS
  'What that rule would have decided.';
COMMENT ON COLUMN @schema@.statements.fingerprint IS
  'Equal for queries that differ in constants alone, for counting them; null: not a query by itself (also EXPLAIN, DECLARE, FETCH, COPY), or not recorded.';
COMMENT ON COLUMN @schema@.sessions.session_id IS 'session_id of Postgres'' csvlog, session.id of OpenTelemetry.';
COMMENT ON COLUMN @schema@.refused_logins.login IS
  'What the client called itself: claimed, not proved. user_name of Postgres'' csvlog.';

-- Which version of the schema this is, for whoever may not look at the table.
CREATE VIEW @schema@.migrations AS SELECT m.name, m.sha256, m.at FROM @schema@.migration m;
COMMENT ON VIEW @schema@.migrations IS
  'Changes of this schema, when each came, and the SHA-256 of its text: countersign audit status compares them with its own (SOC 2 CC8.1).';
GRANT SELECT ON @schema@.migrations TO @auditor@;

-- Bounds of a day, whatever the session's time zone and way of writing dates are: until 17, the IST of a session in India
-- is read as Israel's.
ALTER FUNCTION @schema@.ensure_day SET timezone = 'UTC';
ALTER FUNCTION @schema@.ensure_day SET datestyle = 'ISO';

-- As before, and each day's rows are read from that day: tableoid alone rules no partition out, so that every day that was
-- dropped cost a reading of the whole log.
CREATE OR REPLACE FUNCTION @schema@.drop_days(p_retention text, before date) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  one record;
  kept @schema@.entry[];
  going bigint;
  dropped bigint := 0;
  held text;
BEGIN
  SELECT string_agg(h, ', ') INTO held FROM @schema@.holds_before(before) h;
  IF held IS NOT NULL THEN
    RAISE EXCEPTION 'legal hold: % covers what would be dropped', held USING ERRCODE = 'CSA07';
  END IF;
  IF before > (clock_timestamp() AT TIME ZONE 'UTC')::date THEN
    RAISE EXCEPTION 'the days before % are not over', before USING ERRCODE = 'CSA08';
  END IF;
  FOR one IN SELECT * FROM @schema@.days_before(before) LOOP
    -- Writers of that day alone wait while it is read.
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', one.part);
    SELECT coalesce(array_agg(e) FILTER (WHERE r.stream IS NULL), '{}'), count(r.stream) INTO kept, going
      FROM @schema@.entry e
      LEFT JOIN @schema@.dropped_ranges r
        ON r.retention = p_retention AND r.stream = e.stream AND e.seq BETWEEN r.from_seq AND r.to_seq
     WHERE e.tableoid = one.part
       AND e.at >= one.day::timestamp AT TIME ZONE 'UTC' AND e.at < (one.day + 1)::timestamp AT TIME ZONE 'UTC';
    CONTINUE WHEN going = 0 AND cardinality(kept) > 0;
    EXECUTE format('ALTER TABLE @schema@.entry DETACH PARTITION %s', one.part);
    EXECUTE format('DROP TABLE %s', one.part);
    IF cardinality(kept) > 0 THEN
      PERFORM @schema@.ensure_day(one.day);
      INSERT INTO @schema@.entry SELECT k.* FROM unnest(kept) k;
    END IF;
    dropped := dropped + going;
  END LOOP;
  RETURN dropped;
END
$$;
