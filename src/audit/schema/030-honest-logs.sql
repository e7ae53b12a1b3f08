-- What looked wrong in logs in which nothing is.

-- As before, and a stream that has not ended counts as lost only where a process that uses the same journal directory
-- began without seeing it written there. Streams of versions that did not say which directory they use: as before.
CREATE OR REPLACE VIEW @schema@.all_gaps AS
  WITH stream AS (
    SELECT s.stream, s.started_at, s.facts ->> 'host' AS host, s.facts ->> 'purpose' AS purpose,
           s.facts ->> 'journal' AS journal, string_to_array(s.facts ->> 'beside', ' ') AS beside, s.head_seq,
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
                      AND (s.journal IS NULL OR n.journal IS NULL OR n.journal = s.journal)
                      AND s.stream <> ALL (coalesce(n.beside, '{}'))
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

-- Findings that entries of retention and redaction account for; and gaps in which the rows of another time are that
-- were not asked about: clocks go back, and a process' clock is not the database's.
CREATE OR REPLACE FUNCTION @schema@.accounted_for(p_stream text[], p_seq bigint[], p_check text[])
RETURNS TABLE (stream text, seq bigint, "check" text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH found AS MATERIALIZED (
    SELECT DISTINCT * FROM unnest(p_stream, p_seq, p_check) f (stream, seq, "check")
  ), span AS MATERIALIZED (SELECT * FROM @schema@.dropped_spans()),
  redacted AS MATERIALIZED (
    SELECT DISTINCT r.stream, r.seq FROM @schema@.redacted_rows r WHERE 'content' = ANY (p_check)
  ), gone AS MATERIALIZED (
    SELECT f.* FROM found f
     WHERE f."check" IN ('head', 'batch')
       AND NOT EXISTS (SELECT FROM @schema@.entry e WHERE e.stream = f.stream AND e.seq = f.seq)
  )
  SELECT f.stream, f.seq, f."check" FROM found f
    JOIN redacted r ON r.stream = f.stream AND r.seq = f.seq
    JOIN @schema@.entry e ON e.stream = f.stream AND e.seq = f.seq
   WHERE f."check" = 'content' AND e.content IS NOT NULL AND e.salt IS NULL AND e.sql IS NULL
     AND e.sql_sha256 IS NULL AND e.parameters IS NULL
  UNION ALL
  SELECT f.stream, f.seq, f."check" FROM found f
    JOIN @schema@.entry e ON e.stream = f.stream AND e.seq = f.seq
    JOIN span s ON s.stream = f.stream AND s.to_seq = f.seq - 1 AND s.hash = e.prev_hash
   WHERE f."check" = 'gap'
     AND (SELECT count(*) FROM @schema@.entry same WHERE same.stream = f.stream AND same.seq = f.seq) = 1
  UNION ALL
  SELECT f.stream, f.seq, f."check" FROM found f
    JOIN @schema@.entry e ON e.stream = f.stream AND e.seq = f.seq
    JOIN @schema@.entry p ON p.stream = f.stream AND p.seq = f.seq - 1 AND p.hash = e.prev_hash
   WHERE f."check" = 'gap'
     AND (SELECT count(*) FROM @schema@.entry same WHERE same.stream = f.stream AND same.seq IN (f.seq, f.seq - 1)) = 2
     -- Their times are what was hashed: nobody has moved them out of the range.
     AND NOT EXISTS (SELECT FROM @schema@.entry o
                      WHERE o.stream = f.stream AND o.seq BETWEEN f.seq - 100 AND f.seq - 1
                        AND @schema@.entry_hash(o) IS DISTINCT FROM o.hash)
  UNION ALL
  SELECT g.stream, g.seq, g."check" FROM gone g
    JOIN @schema@.stream t ON t.stream = g.stream
    JOIN span s ON s.stream = g.stream AND g.seq BETWEEN s.from_seq AND s.to_seq
   WHERE g."check" = 'head'
     AND (t.head_seq <> g.seq
          OR (s.to_seq = g.seq AND s.hash = t.head_hash
              AND NOT EXISTS (SELECT FROM @schema@.entry e WHERE e.stream = g.stream AND e.seq > g.seq)))
  UNION ALL
  SELECT g.stream, g.seq, g."check" FROM gone g
   WHERE g."check" = 'batch'
     AND EXISTS (SELECT FROM span s WHERE s.stream = g.stream AND g.seq BETWEEN s.from_seq AND s.to_seq)
     AND EXISTS (SELECT FROM @schema@.batch b WHERE b.stream = g.stream AND g.seq IN (b.from_seq, b.to_seq))
     AND EXISTS (SELECT FROM @schema@.stream t
                  WHERE t.stream = g.stream
                    AND t.head_seq = (SELECT max(b.to_seq) FROM @schema@.batch b WHERE b.stream = g.stream))
$$;

-- As before, and what was written of a request stays until it has ended, and as long as its last row does: an approval
-- without its question, or a release without its approval, would look like one that nobody gave.
CREATE OR REPLACE FUNCTION @schema@.droppable(before date)
RETURNS TABLE (stream text, from_seq bigint, to_seq bigint, prev_hash bytea, hash bytea)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH later AS (
    SELECT e.stream, min(e.seq) AS seq FROM @schema@.entry e
     WHERE e.at >= before::timestamp AT TIME ZONE 'UTC' GROUP BY e.stream
  ), going AS (
    SELECT e.stream, e.seq, e.prev_hash, e.hash,
           e.seq - row_number() OVER (PARTITION BY e.stream ORDER BY e.seq) AS island
      FROM @schema@.entry e
      JOIN @schema@.stream s ON s.stream = e.stream
      LEFT JOIN later ON later.stream = e.stream
     WHERE e.at < before::timestamp AT TIME ZONE 'UTC' AND NOT @schema@.is_kept(e.kind)
       AND (later.seq IS NULL OR e.seq < later.seq)
       AND (e.request_id IS NULL OR e.kind IN ('intent', 'outcome') OR (
         NOT EXISTS (SELECT FROM @schema@.entry l
                      WHERE l.request_id = e.request_id AND l.at >= before::timestamp AT TIME ZONE 'UTC')
         AND EXISTS (SELECT FROM @schema@.entry l
                      WHERE l.request_id = e.request_id
                        AND l.kind IN ('request_denied', 'request_expired', 'request_withdrawn', 'request_ended'))))
  )
  SELECT g.stream, min(g.seq), max(g.seq), (array_agg(g.prev_hash ORDER BY g.seq))[1],
         (array_agg(g.hash ORDER BY g.seq DESC))[1]
    FROM going g GROUP BY g.stream, g.island ORDER BY 1, 2
$$;
