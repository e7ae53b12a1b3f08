-- Retention and legal holds. Rows of days long over are dropped with a signed entry of kind `retention` for each stream:
-- which rows, and the hashes at both ends of each gap, so that the chain still verifies. Batches and leaves of the tree
-- are small and stay. Only the owner of this schema may call what is here: never the writer.

-- An entry's detail; {} where it is none. What calls this reads rows that somebody may have altered.
CREATE FUNCTION @schema@.told(detail text[]) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN coalesce(jsonb_object(detail), '{}');
EXCEPTION WHEN OTHERS THEN
  RETURN '{}';
END
$$;

CREATE FUNCTION @schema@.told_time(value text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN value::timestamptz;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;
END
$$;

-- What says how to read and check the rest of the log, and no statement: never dropped.
CREATE FUNCTION @schema@.is_kept(kind text) RETURNS boolean IMMUTABLE PARALLEL SAFE LANGUAGE sql
  RETURN kind = ANY ('{log_start,log_stop,log_recovered,key,configuration,policy,retention,redaction,legal_hold}');

CREATE VIEW @schema@.legal_holds AS
  SELECT a.facts ->> 'hold' AS hold, a.facts ->> 'agent' AS agent, a.facts ->> 'person' AS person,
         @schema@.told_time(a.facts ->> 'from') AS "from", @schema@.told_time(a.facts ->> 'to') AS "to",
         a.facts ->> 'reason' AS reason, a.facts ->> 'by' AS added_by, a.at AS added_at,
         r.at AS released_at, r.facts ->> 'by' AS released_by, r.facts ->> 'reason' AS release_reason,
         r.at IS NULL AS in_force, a.stream, a.seq
    FROM (SELECT e.stream, e.seq, e.at, @schema@.told(e.detail) AS facts
            FROM @schema@.entry e WHERE e.kind = 'legal_hold') a
    LEFT JOIN LATERAL (
      SELECT e.at, @schema@.told(e.detail) AS facts FROM @schema@.entry e
       WHERE e.kind = 'legal_hold' AND @schema@.told(e.detail) ->> 'event' = 'released'
         AND @schema@.told(e.detail) ->> 'hold' = a.facts ->> 'hold'
       ORDER BY e.at, e.stream, e.seq LIMIT 1) r ON true
   WHERE a.facts ->> 'event' = 'added';
COMMENT ON VIEW @schema@.legal_holds IS
  'Legal holds: while one is in force, no row that it covers is dropped or redacted. agent, person, from and to narrow what it covers; null: any (SOC 2 CC7.3, CC7.4, C1.1).';

CREATE VIEW @schema@.retentions AS
  SELECT f.facts ->> 'retention' AS retention, min(e.at) AS at, min(f.facts ->> 'by') AS by,
         min(f.facts ->> 'reason') AS reason, min(@schema@.told_time(f.facts ->> 'before')) AS dropped_before,
         count(*) AS streams, sum(CASE WHEN f.facts ->> 'rows' ~ '^\d{1,15}$' THEN (f.facts ->> 'rows')::bigint END)::bigint AS rows,
         min(e.stream) AS stream, min(e.seq) AS seq
    FROM @schema@.entry e, LATERAL (SELECT @schema@.told(e.detail) AS facts) f
   WHERE e.kind = 'retention'
   GROUP BY f.facts ->> 'retention';
COMMENT ON VIEW @schema@.retentions IS
  'When rows of old days were dropped, by whom and why, and how many; each from signed entries of kind retention (SOC 2 CC6.5, CC7.3, C1.2).';

-- What retention has dropped, as its entries say: rows from_seq to to_seq of a stream, between two hashes of its chain.
-- An entry that does not say it in this form says nothing.
CREATE VIEW @schema@.dropped_ranges AS
  SELECT f.facts ->> 'stream' AS stream, r.part[1]::bigint AS from_seq, r.part[2]::bigint AS to_seq,
         decode(r.part[3], 'hex') AS prev_hash, decode(r.part[4], 'hex') AS hash,
         @schema@.told_time(f.facts ->> 'before') AS before, f.facts ->> 'retention' AS retention,
         e.stream AS by_stream, e.seq AS by_seq, e.at AS by_at
    FROM @schema@.entry e, LATERAL (SELECT @schema@.told(e.detail) AS facts) f,
         LATERAL regexp_matches(f.facts ->> 'ranges',
           '(?:^|;)(\d{1,18})-(\d{1,18}) ([0-9a-f]{64}) ([0-9a-f]{64})(?=;|$)', 'g') r (part)
   WHERE e.kind = 'retention' AND r.part[1]::bigint <= r.part[2]::bigint;
COMMENT ON VIEW @schema@.dropped_ranges IS
  'Rows that retention has dropped, by stream, with the hashes of the chain at both ends (SOC 2 CC6.5, C1.2).';

-- Holds in force that cover any of these rows. A row names its agent and people itself, or another of its session or
-- request does.
CREATE FUNCTION @schema@.hold_covers(h @schema@.legal_holds, e @schema@.entry) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT (h."from" IS NULL OR e.at >= h."from") AND (h."to" IS NULL OR e.at < h."to")
     AND ((h.agent IS NULL AND h.person IS NULL) OR EXISTS (
       SELECT FROM (SELECT (e).agent, (e).owner, (e).on_behalf_of, (e).people
                    UNION ALL
                    SELECT s.agent, s.owner, s.on_behalf_of, s.people FROM @schema@.entry s
                     WHERE s.session_id = e.session_id AND s.statement_no = e.statement_no
                    UNION ALL
                    SELECT q.agent, q.owner, q.on_behalf_of, q.people FROM @schema@.entry q
                     WHERE q.request_id = e.request_id) who
        WHERE (h.agent IS NULL OR who.agent = h.agent)
          AND (h.person IS NULL OR h.person IN (who.owner, who.on_behalf_of) OR h.person = ANY (who.people))))
$$;

-- Days (UTC) whose partitions end before `before`.
CREATE FUNCTION @schema@.days_before(before date) RETURNS TABLE (part regclass, day date)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.oid::regclass, to_date(substr(c.relname, 7), 'YYYYMMDD')
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
   WHERE i.inhparent = '@schema@.entry'::regclass AND c.relname ~ '^entry_\d{8}$'
     AND to_date(substr(c.relname, 7), 'YYYYMMDD') < before
   ORDER BY 2
$$;

-- Runs of rows that may go: of those days, of registered streams, of no kind that is kept, and none that follows a row
-- of a later day in its stream (where a clock went back).
CREATE FUNCTION @schema@.droppable(before date)
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
  )
  SELECT g.stream, min(g.seq), max(g.seq), (array_agg(g.prev_hash ORDER BY g.seq))[1],
         (array_agg(g.hash ORDER BY g.seq DESC))[1]
    FROM going g GROUP BY g.stream, g.island ORDER BY 1, 2
$$;

-- The holds that forbid it.
CREATE FUNCTION @schema@.holds_before(before date) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT h.hold FROM @schema@.legal_holds h
   WHERE h.in_force
     AND EXISTS (SELECT FROM @schema@.entry e
                  WHERE e.at < before::timestamp AT TIME ZONE 'UTC' AND NOT @schema@.is_kept(e.kind)
                    AND @schema@.hold_covers(h, e))
$$;

-- Drops exactly what the entries of that retention name, whatever came in since; returns how many rows that were.
CREATE FUNCTION @schema@.drop_days(p_retention text, before date) RETURNS bigint
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
     WHERE e.tableoid = one.part;
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
COMMENT ON FUNCTION @schema@.drop_days IS 'Drops the rows that signed entries of this retention name. The owner''s alone.';

-- As before, and what retention has dropped is not missing.
CREATE OR REPLACE VIEW @schema@.integrity AS
  SELECT s.stream, s.started_at, s.facts ->> 'host' AS host, s.facts ->> 'pid' AS pid, s.facts ->> 'purpose' AS purpose,
         s.head_seq AS entries_recorded, c.entries AS entries_present,
         c.entries + coalesce(d.rows, 0) = s.head_seq AND greatest(c.last, d.last) = s.head_seq
           AND b.to_seq = s.head_seq AND b.hash = s.head_hash AS complete,
         b.to_seq AS signed_up_to, b.stored_at AS last_stored_at, s.kid, s.endorsed_by,
         CASE last.kind WHEN 'log_stop' THEN 'closed' WHEN 'log_recovered' THEN 'recovered' ELSE 'open' END AS state,
         coalesce(d.rows, 0) AS entries_dropped
    FROM @schema@.stream s
    LEFT JOIN LATERAL (SELECT count(*) AS entries, max(e.seq) AS last
                         FROM @schema@.entry e WHERE e.stream = s.stream) c ON true
    LEFT JOIN (SELECT r.stream, sum(r.to_seq - r.from_seq + 1)::bigint AS rows, max(r.to_seq) AS last
                 FROM @schema@.dropped_ranges r GROUP BY r.stream) d ON d.stream = s.stream
    LEFT JOIN LATERAL (SELECT b.to_seq, b.hash, b.stored_at FROM @schema@.batch b
                        WHERE b.stream = s.stream ORDER BY b.from_seq DESC LIMIT 1) b ON true
    LEFT JOIN LATERAL (SELECT e.kind FROM @schema@.entry e
                        WHERE e.stream = s.stream AND e.seq = s.head_seq) last ON true;
COMMENT ON VIEW @schema@.integrity IS
  'Each stream of the log, whether its rows are all there (entries_dropped: by retention, with a signed entry), and up to where they are signed; verify() checks more (SOC 2 CC7.1, CC7.3).';

-- As before; what retention has dropped is named as that.
ALTER VIEW @schema@.gaps RENAME TO all_gaps;
REVOKE ALL ON @schema@.all_gaps FROM @auditor@;
COMMENT ON VIEW @schema@.all_gaps IS 'The part of gaps that does not know of retention.';
CREATE VIEW @schema@.gaps AS
  SELECT CASE WHEN d.rows = g.to_seq - g.from_seq + 1 THEN 'dropped' ELSE g.gap END AS gap, g.stream, g.from_seq, g.to_seq,
         g.from_at, g.to_at,
         CASE WHEN d.rows = g.to_seq - g.from_seq + 1
              THEN format('rows %s to %s were dropped by %s', g.from_seq, g.to_seq, d.names) ELSE g.detail END AS detail
    FROM @schema@.all_gaps g
    LEFT JOIN LATERAL (
      SELECT sum(r.to_seq - r.from_seq + 1) AS rows, string_agg(DISTINCT r.retention, ', ') AS names
        FROM @schema@.dropped_ranges r
       WHERE g.gap IN ('missing_rows', 'missing_end') AND r.stream = g.stream
         AND r.from_seq >= g.from_seq AND r.to_seq <= g.to_seq) d ON true;
COMMENT ON VIEW @schema@.gaps IS
  'Where something is missing or may be: missing_rows, missing_end and unsigned must not be; journal_lost: a process that died and whose last entries did not arrive; no_end: one that runs, or has just died; no_log: time in which no process wrote (SOC 2 CC7.1, CC7.2, CC7.3).';
REVOKE ALL ON FUNCTION @schema@.told, @schema@.told_time, @schema@.is_kept,
  @schema@.hold_covers, @schema@.days_before, @schema@.droppable, @schema@.holds_before, @schema@.drop_days FROM PUBLIC;
-- The views call them as whoever reads: they say nothing that the views do not.
GRANT EXECUTE ON FUNCTION @schema@.told, @schema@.told_time TO @auditor@;
GRANT SELECT ON @schema@.legal_holds, @schema@.retentions, @schema@.dropped_ranges, @schema@.gaps TO @auditor@;
