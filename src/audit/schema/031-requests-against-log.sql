-- Requests, verdicts and receipts as they stand in schema countersign, against what the log says of them. Each change there
-- has its entry in the same transaction, so at any moment the two agree; whoever changes the one past the program does not
-- make the other. The log is the truth: what stands there counts for what is asked and released next.

-- Runs as whoever asks, who must be able to read both. Nothing, where there is no such schema: in a dump of the log.
-- What had ended before the log's first row, or on days that retention has dropped, is compared with what is left; what
-- lives has its entries, for retention leaves those (droppable()).
CREATE FUNCTION @schema@.compare_requests()
RETURNS TABLE (at timestamptz, request_id text, problem text, person text, detail text, stream text, seq bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF to_regclass('countersign.request_states') IS NULL THEN RETURN; END IF;
  -- Given as text, so that a dump of this schema alone can be restored.
  RETURN QUERY EXECUTE $query$
  WITH since AS MATERIALIZED (
    SELECT f.first, greatest(f.first, (SELECT max(r.dropped_before) FROM @schema@.retentions r)) AS at
      FROM (SELECT min(s.started_at) AS first FROM @schema@.streams s) f
  ), told AS MATERIALIZED (
    SELECT e.request_id, e.kind, e.at, e.stream, e.seq, e.agent, e.owner, e.on_behalf_of, e.database, e.role,
           coalesce(e.people, '{}') AS people, e.receipt, @schema@.told(e.detail) AS facts
      FROM @schema@.entries e
     WHERE e.request_id IS NOT NULL AND e.kind IN ('request_opened', 'verdict', 'request_approved', 'request_denied',
       'request_expired', 'request_withdrawn', 'released', 'request_ended')
  ), logged AS MATERIALIZED (
    -- The way of a request has no forks that meet again: the furthest entry says where it is.
    SELECT t.request_id,
           CASE WHEN bool_or(t.kind = 'request_ended')
                  THEN coalesce(max(t.facts ->> 'outcome') FILTER (WHERE t.kind = 'request_ended'), '')
                WHEN bool_or(t.kind = 'released') THEN 'consumed'
                WHEN bool_or(t.kind = 'request_denied') THEN 'denied'
                WHEN bool_or(t.kind = 'request_withdrawn') THEN 'withdrawn'
                WHEN bool_or(t.kind = 'request_expired') THEN 'expired'
                WHEN bool_or(t.kind = 'request_approved') THEN 'approved'
                ELSE 'open' END AS state,
           array_agg(t.receipt) FILTER (WHERE t.receipt IS NOT NULL AND t.kind IN ('request_approved', 'released')) AS receipts,
           (array_agg(t.stream ORDER BY t.at DESC, t.seq DESC))[1] AS stream,
           (array_agg(t.seq ORDER BY t.at DESC, t.seq DESC))[1] AS seq, max(t.at) AS at
      FROM told t WHERE t.kind <> 'verdict' GROUP BY t.request_id
  ), opened AS MATERIALIZED (
    SELECT DISTINCT ON (t.request_id) t.* FROM told t WHERE t.kind = 'request_opened'
     ORDER BY t.request_id, t.at, t.stream, t.seq
  ), stored AS MATERIALIZED (
    -- When it was made and ended is what whoever wrote it says; that it lives is so.
    SELECT r.*, greatest(r.created_at, coalesce(r.ended_at, 'infinity')) >= s.at AS in_log, r.created_at < s.first AS is_older
      FROM countersign.request_states r, since s
  ), found AS (
    SELECT coalesce(l.at, r.created_at) AS at, r.id AS request_id, 'no_entry' AS problem, NULL::text AS person,
           'it stands there, and no entry says that it was asked' AS detail, l.stream, l.seq
      FROM stored r LEFT JOIN logged l ON l.request_id = r.id
     WHERE r.in_log AND NOT EXISTS (SELECT FROM opened o WHERE o.request_id = r.id)
       -- Asked where the log was another one: the rest of it is here.
       AND NOT (r.is_older AND l.request_id IS NOT NULL)
    UNION ALL
    -- Of those that were asked since the oldest one there; without any there is nothing to compare with.
    SELECT o.at, o.request_id, 'removed', NULL, 'it was asked, and does not stand there any more', o.stream, o.seq
      FROM opened o
     WHERE o.at > (SELECT min(r.created_at) FROM stored r) AND NOT EXISTS (SELECT FROM stored r WHERE r.id = o.request_id)
    UNION ALL
    SELECT l.at, r.id, 'state', NULL, format('it stands there as %s; by the log it is %s', r.state, l.state), l.stream, l.seq
      FROM stored r JOIN logged l ON l.request_id = r.id
     WHERE r.state <> l.state
    UNION ALL
    SELECT o.at, r.id, 'altered', NULL, format('not as it was asked: %s', array_to_string(d.names, ', ')), o.stream, o.seq
      FROM stored r
      JOIN opened o ON o.request_id = r.id
     CROSS JOIN LATERAL (SELECT array_remove(ARRAY[
             CASE WHEN r.digest IS DISTINCT FROM o.facts ->> 'digest' THEN 'digest' END,
             CASE WHEN r.binding_sha256 IS DISTINCT FROM o.facts ->> 'digest' THEN 'binding' END,
             CASE WHEN r.agent IS DISTINCT FROM o.agent THEN 'agent' END,
             CASE WHEN r.owner IS DISTINCT FROM o.owner THEN 'owner' END,
             CASE WHEN r.on_behalf_of IS DISTINCT FROM o.on_behalf_of THEN 'on_behalf_of' END,
             CASE WHEN r.database IS DISTINCT FROM o.database THEN 'database' END,
             CASE WHEN r.role IS DISTINCT FROM o.role THEN 'role' END,
             CASE WHEN r.class IS DISTINCT FROM o.facts ->> 'class' THEN 'class' END,
             CASE WHEN r.rule IS DISTINCT FROM o.facts ->> 'rule' THEN 'rule' END,
             CASE WHEN r.quorum::text IS DISTINCT FROM o.facts ->> 'quorum' THEN 'quorum' END,
             CASE WHEN r.assurance::text IS DISTINCT FROM o.facts ->> 'assurance' THEN 'assurance' END,
             CASE WHEN r.expires_at IS DISTINCT FROM @schema@.told_time(o.facts ->> 'expires_at') THEN 'expires_at' END,
             CASE WHEN r.forbidden IS DISTINCT FROM o.people THEN 'forbidden' END], NULL) AS names) d
     WHERE cardinality(d.names) > 0
    UNION ALL
    SELECT coalesce(l.at, r.created_at), r.id, 'receipt', NULL,
           CASE WHEN l.receipts IS NULL THEN 'it has a receipt, and no entry says that it was approved'
                WHEN r.receipt IS NULL THEN 'it was approved, and its receipt does not stand there any more'
                ELSE 'it has another receipt than the log' END, l.stream, l.seq
      FROM stored r LEFT JOIN logged l ON l.request_id = r.id
     WHERE (l.receipts IS NOT NULL OR r.in_log) AND r.receipt IS DISTINCT FROM l.receipts[1]
    UNION ALL
    SELECT t.at, r.id, 'answer', r.ended_by, 'who denied it, or why, stands there otherwise than in the log', t.stream, t.seq
      FROM stored r JOIN told t ON t.request_id = r.id AND t.kind = 'request_denied'
     WHERE r.state = 'denied'
       AND (r.ended_by IS DISTINCT FROM t.people[1] OR coalesce(r.end_reason, '') IS DISTINCT FROM t.facts ->> 'reason')
    UNION ALL
    SELECT t.at, r.id, 'outcome', NULL, 'what came of it stands there otherwise than in the log', t.stream, t.seq
      FROM stored r
      JOIN told t ON t.request_id = r.id AND t.kind = 'request_ended'
     CROSS JOIN LATERAL (SELECT @schema@.json_or_null(r.outcome) AS facts) o
     WHERE r.outcome IS NOT NULL
       AND (coalesce(o.facts ->> 'tag', ''), o.facts ->> 'rows', o.facts ->> 'bytes', coalesce(o.facts ->> 'sqlstate', ''))
           IS DISTINCT FROM (t.facts ->> 'tag', t.facts ->> 'rows', t.facts ->> 'bytes', t.facts ->> 'sqlstate')
    UNION ALL
    SELECT v.at, v.request_id, 'verdict', v.person,
           CASE WHEN EXISTS (SELECT FROM told t WHERE t.request_id = v.request_id AND t.kind = 'verdict' AND t.people[1] = v.person)
                THEN 'it stands there otherwise than it was given' ELSE 'no entry says that it was given' END, NULL, NULL
      FROM countersign.verdict_states v
      JOIN stored r ON r.id = v.request_id
     CROSS JOIN since s
     WHERE (r.in_log OR v.at >= s.at)
       AND (NOT EXISTS (
         SELECT FROM told t
          WHERE t.request_id = v.request_id AND t.kind = 'verdict' AND t.people[1] = v.person
            AND t.facts ->> 'verdict' = v.verdict AND t.facts ->> 'reason' = coalesce(v.reason, '')
            AND t.facts ->> 'channel' = v.channel AND t.facts ->> 'assurance' = v.assurance::text
            AND t.facts ->> 'ids' = array_to_string(v.ids, ' ')
            -- Stored to the millisecond.
            AND abs(extract(epoch FROM t.at - v.at)) < 0.002)
         -- A no is for good.
         OR (v.verdict = 'approve' AND EXISTS (
           SELECT FROM told t WHERE t.request_id = v.request_id AND t.kind = 'verdict' AND t.people[1] = v.person
                                AND t.facts ->> 'verdict' = 'deny')))
    UNION ALL
    SELECT t.at, t.request_id, 'verdict', t.people[1], 'it was given, and does not stand there any more', t.stream, t.seq
      FROM told t JOIN stored r ON r.id = t.request_id
     WHERE t.kind = 'verdict'
       AND NOT EXISTS (SELECT FROM countersign.verdict_states v WHERE v.request_id = t.request_id AND v.person = t.people[1])
  )
  SELECT f.at, f.request_id, f.problem, f.person, f.detail, f.stream, f.seq FROM found f
  $query$;
END
$$;

CREATE VIEW @schema@.request_differences AS
  SELECT d.at, d.request_id, d.problem, d.person, d.detail, d.stream, d.seq FROM @schema@.compare_requests() d;
COMMENT ON VIEW @schema@.request_differences IS
  'Requests that stand in schema countersign otherwise than the log says: no_entry, removed, state, altered, receipt, answer, outcome, verdict: somebody changed them past the program. Empty without that schema, as in a restored dump of the log. Must be empty (SOC 2 CC6.1, CC7.1, CC8.1).';

REVOKE ALL ON FUNCTION @schema@.compare_requests FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @schema@.compare_requests, @schema@.json_or_null TO @auditor@;
GRANT SELECT ON @schema@.request_differences TO @auditor@;
