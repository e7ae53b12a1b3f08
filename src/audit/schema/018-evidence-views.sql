-- What auditors ask beside statements and approvals: sessions, log-ins refused, changes of policy and configuration,
-- keys, who can read the log and who did, and where the log has gaps.

CREATE VIEW @schema@.sessions AS
  SELECT s.session_id, s.agent, s.owner, s.on_behalf_of, s.run, s.run_verified, s.database, s.role, s.application_name,
         s.client_address, s.tls, s.at AS started_at, e.at AS ended_at, e.at - s.at AS duration,
         jsonb_object(e.detail) ->> 'why' AS ended_by,
         (SELECT count(*) FROM @schema@.entry i
           WHERE i.session_id = s.session_id AND i.statement_no IS NOT NULL AND i.stream = s.stream
             AND i.kind = 'intent') AS statements,
         s.stream, s.seq
    FROM @schema@.entry s
    LEFT JOIN @schema@.entry e ON e.kind = 'session_end' AND e.stream = s.stream AND e.session_id = s.session_id
   WHERE s.kind = 'session_start';
COMMENT ON VIEW @schema@.sessions IS
  'Every session of an agent: as whom, for whom, from where, from when to when, and how many statements it sent. ended_at null: open, or its process died (SOC 2 CC6.1, CC6.6, CC7.2).';
COMMENT ON COLUMN @schema@.sessions.session_id IS 'SESSION_ID of pgaudit, session.id of OpenTelemetry.';
COMMENT ON COLUMN @schema@.sessions.client_address IS 'client.address of OpenTelemetry.';
COMMENT ON COLUMN @schema@.sessions.database IS 'db.namespace of OpenTelemetry.';

CREATE VIEW @schema@.refused_logins AS
  SELECT e.at, d.facts ->> 'user' AS login, d.facts ->> 'code' AS code, d.facts ->> 'message' AS message,
         nullif(d.facts ->> 'address', '') AS client_address, d.facts ->> 'tls' = 'true' AS tls,
         CASE WHEN d.facts ->> 'count' ~ '^[0-9]{1,18}$' THEN (d.facts ->> 'count')::bigint ELSE 1 END AS attempts,
         nullif(d.facts ->> 'users', '') AS logins, nullif(d.facts ->> 'codes', '') AS codes, e.stream, e.seq
    FROM @schema@.entry e
   CROSS JOIN LATERAL (SELECT jsonb_object(e.detail) AS facts) d
   WHERE e.kind = 'login_refused';
COMMENT ON VIEW @schema@.refused_logins IS
  'Log-ins that were refused, of agents and to the HTTP API: with which name, from where and why; many from one address in a short time are one row with their number, names and codes (SOC 2 CC6.1, CC6.6, CC7.2).';
COMMENT ON COLUMN @schema@.refused_logins.login IS 'What the client called itself: claimed, not proved. USER_NAME of pgaudit.';

CREATE VIEW @schema@.configuration_changes AS
  SELECT c.at, c.change, c.policy_digest, c.before AS policy_digest_before, c.mode, c.durability, c.agents, c.people,
         c.problem, c.state IS DISTINCT FROM c.state_before AS changed, c.stream, c.seq
    FROM (SELECT e.at, e.stream, e.seq,
                 CASE WHEN e.kind = 'policy' THEN 'policy' WHEN d.facts ? 'problem' THEN 'policy_refused'
                      ELSE 'configuration' END AS change,
                 coalesce(d.facts ->> 'digest', d.facts ->> 'keptPolicy') AS policy_digest,
                 d.facts ->> 'mode' AS mode, d.facts ->> 'durability' AS durability, d.facts ->> 'agents' AS agents,
                 d.facts ->> 'people' AS people, d.facts ->> 'problem' AS problem,
                 -- Of entries of the same kind, whichever process wrote them.
                 lag(d.facts ->> 'digest') OVER w AS before,
                 d.facts - 'was'::text AS state, lag(d.facts - 'was'::text) OVER w AS state_before
            FROM @schema@.entry e
           CROSS JOIN LATERAL (SELECT jsonb_object(e.detail) AS facts) d
           WHERE e.kind IN ('policy', 'configuration')
          WINDOW w AS (PARTITION BY e.kind, d.facts ? 'problem' ORDER BY e.at, e.stream, e.seq)) c;
COMMENT ON VIEW @schema@.configuration_changes IS
  'Each time that a process put a policy or a configuration in force, and policy files that were refused; changed: not the same as the one before. A policy''s whole text: view policies (SOC 2 CC8.1, CC7.1).';

CREATE VIEW @schema@.key_events AS
  SELECT e.at, coalesce(d.facts ->> 'event', 'in_use') AS event, d.facts ->> 'kid' AS kid,
         d.facts ->> 'purpose' AS purpose, d.facts ->> 'previous' AS previous_kid, d.facts ->> 'by' AS by,
         d.facts ->> 'reason' AS reason, d.facts ->> 'revoked_at' AS revoked_at,
         nullif(d.facts ->> 'requests', '') AS requests_expired, e.stream, e.seq
    FROM @schema@.entry e
   CROSS JOIN LATERAL (SELECT jsonb_object(e.detail) AS facts) d
   WHERE e.kind = 'key';
COMMENT ON VIEW @schema@.key_events IS
  'Signing keys: which one a process began with (in_use), rotated and revoked ones, who did it and why (SOC 2 CC6.1, CC6.8).';

-- Reads through the HTTP API are entries. Postgres itself records no reads: for those as the auditor's role, load
-- pgaudit in the audit database, or set log_statement there.
CREATE VIEW @schema@.log_reads AS
  SELECT e.at, e.people[1] AS person, d.facts ->> 'credential' AS credential, d.facts ->> 'operation' AS operation,
         d.facts ->> 'filter' AS filter, d.facts ->> 'address' AS client_address, e.stream, e.seq
    FROM @schema@.entry e
   CROSS JOIN LATERAL (SELECT jsonb_object(e.detail) AS facts) d
   WHERE e.kind = 'audit_read';
COMMENT ON VIEW @schema@.log_reads IS
  'Who read the log through the HTTP API, when, and what they asked for. Reads with SQL are not in it: see log_access for who could (SOC 2 CC6.1, CC6.3, CC7.2).';

CREATE VIEW @schema@.log_access AS
  SELECT r.role, r.can_log_in, r.superuser, r.owner, a.reads, a.writes, a.appends,
         ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                WHERE m.member = r.oid ORDER BY 1) AS member_of
    FROM (SELECT r.oid, r.rolname::text AS role, r.rolcanlogin AS can_log_in, r.rolsuper AS superuser,
                 pg_has_role(r.oid, n.nspowner, 'MEMBER') AS owner, n.oid AS schema
            FROM pg_roles r CROSS JOIN pg_namespace n
           WHERE n.oid = '@schema@'::regnamespace AND r.rolname !~ '^pg_') r
   CROSS JOIN LATERAL (
     SELECT coalesce(array_agg(c.relname::text ORDER BY c.relname) FILTER (WHERE has_table_privilege(r.oid, c.oid, 'SELECT')
                       OR has_any_column_privilege(r.oid, c.oid, 'SELECT')), '{}') AS reads,
            coalesce(array_agg(c.relname::text ORDER BY c.relname) FILTER (
              WHERE c.relkind IN ('r', 'p') AND (has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
                                                 OR has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE'))), '{}') AS writes,
            (SELECT coalesce(bool_or(has_function_privilege(r.oid, f.oid, 'EXECUTE')), false) FROM pg_proc f
              WHERE f.pronamespace = r.schema AND f.proname = 'append') AS appends
       FROM pg_class c
      WHERE c.relnamespace = r.schema AND c.relkind IN ('r', 'p', 'v', 'm')
        AND has_schema_privilege(r.oid, r.schema, 'USAGE')) a
   WHERE r.superuser OR r.owner OR a.appends OR cardinality(a.reads) > 0 OR cardinality(a.writes) > 0;
COMMENT ON VIEW @schema@.log_access IS
  'Roles that can read, append to or change the log now: expected are the writer (appends, reads nothing), the auditor (reads views), the owner, which cannot log in, and superusers. Not what was so before (SOC 2 CC6.1, CC6.3, CC7.1).';
COMMENT ON COLUMN @schema@.log_access.owner IS
  'Owns the schema, or may act as its owner: could alter the log, which verify() and checkpoints kept elsewhere show.';
COMMENT ON COLUMN @schema@.log_access.appends IS 'May call append(), the only way in: the proxy''s role.';

-- A stream of statements is written by a process from its start to its end; `requests` is a second stream of the same
-- process, without an end of its own.
CREATE VIEW @schema@.gaps AS
  WITH stream AS (
    SELECT s.stream, s.started_at, s.facts ->> 'host' AS host, s.facts ->> 'purpose' AS purpose, s.head_seq,
           last.kind AS last_kind, last.seq AS last_seq, written.at AS last_at
      FROM @schema@.stream s
      LEFT JOIN LATERAL (SELECT e.seq, e.kind FROM @schema@.entry e
                          WHERE e.stream = s.stream ORDER BY e.seq DESC LIMIT 1) last ON true
      LEFT JOIN LATERAL (SELECT max(e.at) AS at FROM @schema@.entry e
                          -- Not what whoever recovered it added later.
                          WHERE e.stream = s.stream AND e.kind <> 'log_recovered'
                            AND NOT (e.kind = 'outcome' AND e.outcome = 'unknown')) written ON true
  ), process AS (
    SELECT s.*, s.last_kind IN ('log_stop', 'log_recovered') AS ended,
           EXISTS (SELECT FROM stream n WHERE n.purpose = s.purpose AND n.host = s.host
                      AND n.started_at > coalesce(s.last_at, s.started_at)) AS followed
      FROM stream s WHERE s.purpose IS DISTINCT FROM 'requests'
  ), written AS (
    SELECT range_agg(tstzrange(p.started_at, CASE WHEN p.ended OR p.followed THEN greatest(p.last_at, p.started_at)
                                                  ELSE greatest(now(), p.started_at) END, '[]')) AS times,
           min(p.started_at) AS since
      FROM process p
  )
  SELECT 'missing_rows' AS gap, l.stream, l.before + 1 AS from_seq, l.seq - 1 AS to_seq, l.before_at AS from_at,
         l.at AS to_at, format('rows %s to %s are not there', l.before + 1, l.seq - 1) AS detail
    FROM (SELECT e.stream, e.seq, e.at, lag(e.seq, 1, 0::bigint) OVER w AS before, lag(e.at) OVER w AS before_at
            FROM @schema@.entry e WINDOW w AS (PARTITION BY e.stream ORDER BY e.seq)) l
   WHERE l.seq > l.before + 1
  UNION ALL
  SELECT 'missing_end', s.stream, coalesce(s.last_seq, 0) + 1, s.head_seq, s.last_at, NULL,
         format('the stream had rows up to %s', s.head_seq)
    FROM stream s WHERE coalesce(s.last_seq, 0) < s.head_seq
  UNION ALL
  SELECT 'unsigned', s.stream, coalesce(b.to_seq, 0) + 1, s.last_seq, NULL, s.last_at, 'rows that no batch has signed'
    FROM stream s
    LEFT JOIN LATERAL (SELECT max(b.to_seq) AS to_seq FROM @schema@.batch b WHERE b.stream = s.stream) b ON true
   WHERE s.last_seq > coalesce(b.to_seq, 0)
  UNION ALL
  SELECT CASE WHEN p.followed THEN 'journal_lost' ELSE 'no_end' END, p.stream, p.last_seq + 1, NULL,
         coalesce(p.last_at, p.started_at), NULL,
         CASE WHEN p.followed
              THEN format('its process on %s has not said that it ends, and another has begun there since: what it had in its journal did not arrive, unless it still runs', p.host)
              ELSE format('its process on %s runs, or died and has not been recovered yet', p.host) END
    FROM process p WHERE NOT coalesce(p.ended, false)
  UNION ALL
  SELECT 'no_log', NULL, NULL, NULL, lower(g.time), upper(g.time), 'no process wrote the log: no agent could run anything through Countersign'
    FROM written w
   CROSS JOIN LATERAL unnest(tstzmultirange(tstzrange(w.since, greatest(now(), w.since))) - w.times) g (time);
COMMENT ON VIEW @schema@.gaps IS
  'Where something is missing or may be: missing_rows, missing_end and unsigned must not be; journal_lost: a process that died and whose last entries did not arrive; no_end: one that runs, or has just died; no_log: time in which no process wrote (SOC 2 CC7.1, CC7.2, CC7.3).';

COMMENT ON VIEW @schema@.entries IS
  'The entries as they are hashed, with their hashes; for countersign verify and the like (SOC 2 CC7.1).';
COMMENT ON VIEW @schema@.streams IS 'Streams, their keys and endorsements, and their heads (SOC 2 CC7.1).';
COMMENT ON VIEW @schema@.batches IS 'Signed batches (SOC 2 CC7.1).';
COMMENT ON VIEW @schema@.leaves IS 'Leaves of the Merkle tree that checkpoints sign (SOC 2 CC7.1).';
COMMENT ON VIEW @schema@.signing_keys IS
  'Public keys of the installation, as JWK; what a revoked one signed after revoked_at does not count, and dates before it are only its own word (SOC 2 CC6.1, CC7.1).';

GRANT SELECT ON @schema@.sessions, @schema@.refused_logins, @schema@.configuration_changes, @schema@.key_events,
  @schema@.log_reads, @schema@.log_access, @schema@.gaps TO @auditor@;
