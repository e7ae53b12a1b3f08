-- Proves with SQL alone that the log is whole. SECURITY DEFINER, so that an auditor with rights on the views only can
-- run it; search_path is pinned, and the bodies of what it calls were bound when they were made.
-- A row for each check made, and one for each finding. Signatures are not among the checks: countersign verify.
-- `from` and `to` choose the entries by time; the links at both ends are checked against their neighbours.
CREATE FUNCTION @schema@.verify(
  "from" timestamptz DEFAULT NULL,
  "to" timestamptz DEFAULT NULL,
  checkpoint text DEFAULT NULL,
  keys jsonb DEFAULT NULL,
  "full" boolean DEFAULT false
) RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  since timestamptz := coalesce("from", '-infinity');
  until timestamptz := coalesce("to", 'infinity');
  whole boolean := "from" IS NULL AND "to" IS NULL;
  found bigint;
  looked_at bigint;
BEGIN
  IF checkpoint IS NOT NULL THEN
    RAISE EXCEPTION 'checkpoints cannot be checked in SQL by this version' USING ERRCODE = 'feature_not_supported';
  END IF;
  IF keys IS NOT NULL OR "full" THEN
    RAISE NOTICE 'signatures are not checked in SQL: countersign verify checks every one, with public keys only';
  END IF;
  SELECT count(*) INTO looked_at FROM @schema@.entry e WHERE e.at >= since AND e.at <= until;

  -- 1. Each row's hash is that of its columns.
  RETURN QUERY
    SELECT e.stream, e.seq, 'row_hash', false, 'the row was changed: its hash is not that of its columns'
      FROM @schema@.entry e
     WHERE e.at >= since AND e.at <= until AND @schema@.entry_hash(e) IS DISTINCT FROM e.hash;
  GET DIAGNOSTICS found = ROW_COUNT;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'row_hash', found = 0,
    format('%s rows, hashed again from their columns', looked_at);

  -- 2. Text, digest and parameters are those that the row committed to.
  RETURN QUERY
    SELECT e.stream, e.seq, 'content', false, 'the statement''s text, digest or parameters were changed or removed'
      FROM @schema@.entry e
     WHERE e.at >= since AND e.at <= until
       AND (@schema@.content_hash(e) IS DISTINCT FROM e.content
            OR (e.salt IS NULL AND (e.sql IS NOT NULL OR e.sql_sha256 IS NOT NULL OR e.parameters IS NOT NULL)));
  GET DIAGNOSTICS found = ROW_COUNT;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'content', found = 0, 'statements against their commitments';

  -- 3. Each row follows the one before it: no gap, no row twice, and the hash that it names.
  RETURN QUERY
    SELECT l.stream, l.seq, CASE WHEN l.seq IS DISTINCT FROM l.before + 1 THEN 'gap' ELSE 'link' END, false,
           CASE WHEN l.seq = l.before THEN 'the sequence number is there twice'
                WHEN l.seq IS DISTINCT FROM l.before + 1
                  THEN format('rows %s to %s are missing', coalesce(l.before, 0) + 1, l.seq - 1)
                ELSE 'the row before this one was changed, moved or replaced: its hash is not the one named here' END
      FROM (SELECT e.stream, e.seq, e.prev_hash, e.at,
                   coalesce(lag(e.seq) OVER w,
                            (SELECT p.seq FROM @schema@.entry p WHERE p.stream = e.stream AND p.seq = e.seq - 1),
                            CASE WHEN whole OR e.seq = 1 THEN 0 END) AS before,
                   coalesce(lag(e.hash) OVER w,
                            (SELECT p.hash FROM @schema@.entry p WHERE p.stream = e.stream AND p.seq = e.seq - 1),
                            CASE WHEN e.seq = 1 THEN decode(repeat('00', 32), 'hex') END) AS before_hash
              FROM @schema@.entry e
             WHERE e.at >= since AND e.at <= until
            WINDOW w AS (PARTITION BY e.stream ORDER BY e.seq)) l
     WHERE l.seq IS DISTINCT FROM l.before + 1 OR l.prev_hash IS DISTINCT FROM l.before_hash;
  GET DIAGNOSTICS found = ROW_COUNT;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'link', found = 0, 'each row follows the one before it, without gaps';

  -- 4. Streams end where their head says, and begin with their own facts.
  RETURN QUERY
    SELECT h.stream, h.seq, 'head', false, h.problem FROM (
      SELECT s.stream, s.head_seq AS seq,
             CASE WHEN last.seq IS NULL THEN 'the stream has a head but no rows'
                  WHEN last.seq < s.head_seq THEN format('cut off: the last row is %s, the head says %s', last.seq, s.head_seq)
                  WHEN last.seq > s.head_seq THEN format('rows after the head, up to %s', last.seq)
                  WHEN last.hash <> s.head_hash THEN 'the last row is another one than the head names' END AS problem
        FROM @schema@.stream s
        LEFT JOIN LATERAL (SELECT e.seq, e.hash FROM @schema@.entry e
                            WHERE e.stream = s.stream ORDER BY e.seq DESC LIMIT 1) last ON true
      UNION ALL
      SELECT e.stream, min(e.seq), 'rows of a stream that is not registered'
        FROM @schema@.entry e
       WHERE e.at >= since AND e.at <= until
         AND NOT EXISTS (SELECT FROM @schema@.stream s WHERE s.stream = e.stream)
       GROUP BY e.stream
      UNION ALL
      SELECT s.stream, 1, 'the stream''s key or facts are not those of its first row'
        FROM @schema@.stream s JOIN @schema@.entry e ON e.stream = s.stream AND e.seq = 1
       WHERE e.kind <> 'log_start'
          OR jsonb_object(e.detail) ->> 'stream_kid' IS DISTINCT FROM s.kid
          OR (jsonb_object(e.detail) ->> 'stream_jwk')::jsonb IS DISTINCT FROM s.public_jwk
          OR jsonb_object(e.detail) ->> 'endorsed_by' IS DISTINCT FROM s.endorsed_by
          OR jsonb_object(e.detail) ->> 'endorsement' IS DISTINCT FROM encode(s.endorsement, 'hex')
      UNION ALL
      -- A stream's first row names the stream before it in the same journal directory, and where that ended.
      SELECT n.named, n.named_seq,
             CASE WHEN p.hash IS NULL THEN format('the row is missing: stream %s names it as the end of the one before', n.stream)
                  ELSE format('not the row that stream %s names as the end of the one before', n.stream) END
        FROM (SELECT e.stream, jsonb_object(e.detail) ->> 'previous_stream' AS named,
                     (jsonb_object(e.detail) ->> 'previous_seq')::bigint AS named_seq,
                     decode(jsonb_object(e.detail) ->> 'previous_hash', 'hex') AS named_hash
                FROM @schema@.entry e WHERE e.kind IN ('log_start', 'log_recovered') AND e.at >= since AND e.at <= until) n
        LEFT JOIN @schema@.entry p ON p.stream = n.named AND p.seq = n.named_seq
       WHERE n.named IS NOT NULL AND p.hash IS DISTINCT FROM n.named_hash) h
     WHERE h.problem IS NOT NULL;
  GET DIAGNOSTICS found = ROW_COUNT;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'head', found = 0,
    format('%s streams against their heads and first rows', (SELECT count(*) FROM @schema@.stream));

  -- 5. Signed batches cover every row, end to end, and name the hashes that the rows have.
  RETURN QUERY
    SELECT b.stream, b.at_seq, 'batch', false, b.problem FROM (
      SELECT b.stream,
             CASE WHEN last.hash IS DISTINCT FROM b.hash THEN b.to_seq ELSE b.from_seq END AS at_seq,
             b.from_seq,
             CASE WHEN last.hash IS DISTINCT FROM b.hash THEN format('row %s is not the one that was signed', b.to_seq)
                  WHEN b.from_seq <> lag(b.to_seq, 1, 0::bigint) OVER w + 1 THEN 'a batch before this one is missing'
                  WHEN first.prev_hash IS DISTINCT FROM b.prev_hash THEN 'the batch does not begin where its first row does'
             END AS problem
        FROM @schema@.batch b
        LEFT JOIN @schema@.entry first ON first.stream = b.stream AND first.seq = b.from_seq
        LEFT JOIN @schema@.entry last ON last.stream = b.stream AND last.seq = b.to_seq
       WHERE whole OR (last.at >= since AND first.at <= until)
      WINDOW w AS (PARTITION BY b.stream ORDER BY b.from_seq)
      UNION ALL
      SELECT s.stream, s.head_seq, s.head_seq, 'rows at the end are not signed'
        FROM @schema@.stream s
       WHERE s.head_seq IS DISTINCT FROM (SELECT max(b.to_seq) FROM @schema@.batch b WHERE b.stream = s.stream)) b
     WHERE b.problem IS NOT NULL
       -- With a range of time the first batch looked at has none before it.
       AND (whole OR b.problem <> 'a batch before this one is missing'
            OR NOT EXISTS (SELECT FROM @schema@.batch p WHERE p.stream = b.stream AND p.to_seq = b.from_seq - 1));
  GET DIAGNOSTICS found = ROW_COUNT;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'batch', found = 0,
    format('%s batches cover the rows; their signatures are checked by countersign verify, not here',
           (SELECT count(*) FROM @schema@.batch));
END
$$;
COMMENT ON FUNCTION @schema@.verify IS
  'Checks the log: a row for each check made and one for each finding; ok is false where something was altered. SELECT * FROM verify() WHERE NOT ok must be empty.';
GRANT EXECUTE ON FUNCTION @schema@.verify TO @auditor@;
