-- Redaction: text, digest, parameters and salt of statements are erased, with a signed entry of kind `redaction` that
-- names every row. The commitment `content`, the row's hash and all signatures stay as they are.

-- Which rows entries of kind redaction name, as numbers and ranges of them (3,5-9), at most 100,000 in a range.
CREATE VIEW @schema@.redacted_rows AS
  SELECT f.facts ->> 'stream' AS stream, s.seq, f.facts ->> 'redaction' AS redaction,
         e.stream AS by_stream, e.seq AS by_seq
    FROM @schema@.entry e, LATERAL (SELECT @schema@.told(e.detail) AS facts) f,
         LATERAL regexp_matches(f.facts ->> 'rows', '(?:^|,)(\d{1,18})(?:-(\d{1,18}))?(?=,|$)', 'g') r (part),
         LATERAL generate_series(r.part[1]::bigint,
           least(coalesce(r.part[2], r.part[1])::bigint, r.part[1]::bigint + 99999)) s (seq)
   WHERE e.kind = 'redaction';
COMMENT ON VIEW @schema@.redacted_rows IS 'Every row whose text was erased, and the signed entry that says so (SOC 2 CC6.5, P4.3).';

CREATE VIEW @schema@.redactions AS
  SELECT f.facts ->> 'redaction' AS redaction, min(e.at) AS at, min(f.facts ->> 'by') AS by,
         min(f.facts ->> 'reason') AS reason, min(f.facts ->> 'scope') AS scope,
         sum(CASE WHEN f.facts ->> 'count' ~ '^\d{1,15}$' THEN (f.facts ->> 'count')::bigint END)::bigint AS rows,
         min(e.stream) AS stream, min(e.seq) AS seq
    FROM @schema@.entry e, LATERAL (SELECT @schema@.told(e.detail) AS facts) f
   WHERE e.kind = 'redaction'
   GROUP BY f.facts ->> 'redaction';
COMMENT ON VIEW @schema@.redactions IS
  'When text and parameters of statements were erased, by whom and why, and how many; each from signed entries of kind redaction, which name every row (SOC 2 CC6.5, C1.2, P4.3).';

-- What the trigger below looks up. What counts for verifiers are the signed entries.
CREATE TABLE @schema@.redacted (
  stream    text   NOT NULL,
  seq       bigint NOT NULL,
  by_stream text   NOT NULL,
  by_seq    bigint NOT NULL,
  PRIMARY KEY (stream, seq)
);
COMMENT ON TABLE @schema@.redacted IS 'Rows that may lose their text, as redact() found them in entries of kind redaction.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON @schema@.redacted
  FOR EACH ROW EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON @schema@.redacted
  FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_change();
ALTER TABLE @schema@.redacted ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate;

-- Whether a change of an entry is its redaction and nothing else: those four columns become null, no other changes, and
-- an entry in the log names the row.
CREATE FUNCTION @schema@.is_redaction(before jsonb, after jsonb) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT before - '{salt,sql,sql_sha256,parameters}'::text[] = after - '{salt,sql,sql_sha256,parameters}'::text[]
     AND after ->> 'salt' IS NULL AND after ->> 'sql' IS NULL AND after ->> 'sql_sha256' IS NULL
     AND after ->> 'parameters' IS NULL AND after ->> 'content' IS NOT NULL
     AND EXISTS (SELECT FROM @schema@.redacted r
                   JOIN @schema@.entry e ON e.stream = r.by_stream AND e.seq = r.by_seq AND e.kind = 'redaction'
                  WHERE r.stream = after ->> 'stream' AND r.seq = (after ->> 'seq')::bigint)
$$;

CREATE OR REPLACE FUNCTION @schema@.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND TG_LEVEL = 'ROW'
     AND EXISTS (SELECT FROM pg_inherits i
                  WHERE i.inhrelid = TG_RELID AND i.inhparent = '@schema@.entry'::regclass) THEN
    IF @schema@.is_redaction(to_jsonb(OLD), to_jsonb(NEW)) THEN RETURN NEW; END IF;
  END IF;
  RAISE EXCEPTION '%.% is append-only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'insufficient_privilege';
END
$$;

-- Statements whose text is still there, by what is given; null: any.
CREATE FUNCTION @schema@.redactable(p_agent text, p_person text, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (stream text, seq bigint, request_id text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT e.stream, e.seq, e.request_id FROM @schema@.entry e
   WHERE e.salt IS NOT NULL
     AND (p_agent IS NULL OR e.agent = p_agent)
     AND (p_person IS NULL OR p_person IN (e.owner, e.on_behalf_of))
     AND (p_from IS NULL OR e.at >= p_from) AND (p_to IS NULL OR e.at < p_to)
   ORDER BY 1, 2
$$;

-- The holds in force over any of these rows.
CREATE FUNCTION @schema@.holds_over(p_stream text[], p_seq bigint[]) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT h.hold FROM @schema@.legal_holds h
   WHERE h.in_force AND EXISTS (
     SELECT FROM unnest(p_stream, p_seq) n (stream, seq)
       JOIN @schema@.entry e ON e.stream = n.stream AND e.seq = n.seq
      WHERE @schema@.hold_covers(h, e))
$$;

-- Erases what the entries of that redaction name; returns how many rows lost their text.
CREATE FUNCTION @schema@.redact(p_redaction text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  held text;
  erased bigint;
BEGIN
  SELECT string_agg(h, ', ') INTO held
    FROM (SELECT array_agg(r.stream) AS streams, array_agg(r.seq) AS seqs
            FROM @schema@.redacted_rows r WHERE r.redaction = p_redaction) n,
         @schema@.holds_over(n.streams, n.seqs) h;
  IF held IS NOT NULL THEN
    RAISE EXCEPTION 'legal hold: % covers what would be redacted', held USING ERRCODE = 'CSA07';
  END IF;
  INSERT INTO @schema@.redacted (stream, seq, by_stream, by_seq)
    SELECT r.stream, r.seq, r.by_stream, r.by_seq FROM @schema@.redacted_rows r WHERE r.redaction = p_redaction
    ON CONFLICT (stream, seq) DO NOTHING;
  UPDATE @schema@.entry e SET salt = NULL, sql = NULL, sql_sha256 = NULL, parameters = NULL
    FROM @schema@.redacted_rows r
   WHERE r.redaction = p_redaction AND e.stream = r.stream AND e.seq = r.seq AND e.salt IS NOT NULL;
  GET DIAGNOSTICS erased = ROW_COUNT;
  RETURN erased;
END
$$;
COMMENT ON FUNCTION @schema@.redact IS 'Erases the text of the rows that signed entries of this redaction name. The owner''s alone.';

-- verify(), with what was dropped and erased under a signed entry. The chain's checks find it as missing; what the
-- entries account for to the row and the hash is taken out again, and verify_upkeep() checks the entries themselves.
ALTER FUNCTION @schema@.verify_chain(timestamptz, timestamptz, text, jsonb, boolean) RENAME TO verify_present;
COMMENT ON FUNCTION @schema@.verify_present IS 'The part of verify() that looks at what is there, and knows nothing of retention and redaction.';

-- What retention dropped, joined range to range and hash to hash where one follows another, between two rows that are
-- there (or the beginning of the stream): nothing is missing between those.
CREATE FUNCTION @schema@.dropped_spans()
RETURNS TABLE (stream text, from_seq bigint, to_seq bigint, hash bytea)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE range AS MATERIALIZED (
    SELECT DISTINCT r.stream, r.from_seq, r.to_seq, r.prev_hash, r.hash FROM @schema@.dropped_ranges r
  ), span AS (
    SELECT r.stream, r.from_seq, r.to_seq, r.hash FROM range r
     WHERE (r.from_seq = 1 AND r.prev_hash = decode(repeat('00', 32), 'hex'))
        OR r.prev_hash = (SELECT e.hash FROM @schema@.entry e WHERE e.stream = r.stream AND e.seq = r.from_seq - 1 LIMIT 1)
    UNION
    SELECT s.stream, s.from_seq, r.to_seq, r.hash
      FROM span s JOIN range r ON r.stream = s.stream AND r.from_seq = s.to_seq + 1 AND r.prev_hash = s.hash
  )
  SELECT * FROM span
$$;

-- Findings that entries of retention and redaction account for.
CREATE FUNCTION @schema@.accounted_for(p_stream text[], p_seq bigint[], p_check text[])
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

CREATE FUNCTION @schema@.verify_chain(since timestamptz, until timestamptz)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH found AS MATERIALIZED (
    SELECT * FROM @schema@.verify_present(since, until)
  ), accounted AS MATERIALIZED (
    SELECT DISTINCT a.stream, a.seq, a."check"
      FROM (SELECT array_agg(f.stream) AS streams, array_agg(f.seq) AS seqs, array_agg(f."check") AS checks
              FROM found f WHERE f.seq IS NOT NULL) all_found,
           @schema@.accounted_for(all_found.streams, all_found.seqs, all_found.checks) a
     WHERE all_found.streams IS NOT NULL
  ), standing AS MATERIALIZED (
    SELECT f.* FROM found f
     WHERE f.seq IS NOT NULL AND (f.stream, f.seq, f."check") NOT IN (SELECT a.stream, a.seq, a."check" FROM accounted a)
  )
  SELECT * FROM standing
  UNION ALL
  SELECT f.stream, f.seq, f."check", f.ok OR NOT EXISTS (SELECT FROM standing s WHERE s."check" = f."check"), f.detail
    FROM found f WHERE f.seq IS NULL
$$;
COMMENT ON FUNCTION @schema@.verify_chain IS 'The part of verify() that needs no keys.';

-- Entries of retention, redaction and legal holds: each is in a batch that its stream's key has signed, whatever the
-- sample is, and says what is true.
CREATE FUNCTION @schema@.verify_upkeep(given jsonb)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  keys jsonb := coalesce(given, (SELECT jsonb_build_object('keys', jsonb_agg(k.public_jwk)) FROM @schema@.signing_key k));
  total bigint;
  found bigint := 0;
  one bigint;
BEGIN
  SELECT count(*) INTO total FROM @schema@.entry e WHERE e.kind IN ('retention', 'redaction', 'legal_hold');
  RETURN QUERY
    WITH upkeep AS MATERIALIZED (
      SELECT e.stream, e.seq, e.kind, b.from_seq FROM @schema@.entry e
        LEFT JOIN @schema@.batch b ON b.stream = e.stream AND e.seq BETWEEN b.from_seq AND b.to_seq
       WHERE e.kind IN ('retention', 'redaction', 'legal_hold')
    ), judged AS MATERIALIZED (
      SELECT b.stream, b.from_seq,
             coalesce(@schema@.ed25519_verify(own.public_key, @schema@.batch_bytes(b), b.signature), false) AND b.kid = s.kid
             AND coalesce(@schema@.ed25519_verify(k.public_key,
               @schema@.field('countersign audit stream v1') || @schema@.field(s.stream) || @schema@.field(s.kid),
               s.endorsement), false)
             AND (SELECT count(*) = b.to_seq - b.from_seq + 1
                     AND bool_and(@schema@.entry_hash(e) = e.hash)
                     AND bool_and(e.prev_hash = coalesce(p.hash, b.prev_hash))
                     AND bool_or(e.seq = b.to_seq AND e.hash = b.hash)
                    FROM @schema@.entry e
                    LEFT JOIN @schema@.entry p ON p.stream = e.stream AND p.seq = e.seq - 1 AND e.seq > b.from_seq
                   WHERE e.stream = b.stream AND e.seq BETWEEN b.from_seq AND b.to_seq) AS good
        FROM @schema@.batch b
        JOIN @schema@.stream s ON s.stream = b.stream
        LEFT JOIN @schema@.ed25519_keys(jsonb_build_object('keys', jsonb_build_array(s.public_jwk))) own ON own.kid = s.kid
        LEFT JOIN @schema@.ed25519_keys(keys) k ON k.kid = s.endorsed_by
       WHERE (b.stream, b.from_seq) IN (SELECT u.stream, u.from_seq FROM upkeep u)
    )
    SELECT u.stream, u.seq, u.kind, false,
           format('this entry of %s is not signed by a stream of the installation: what it accounts for is not accounted for', u.kind)
      FROM upkeep u LEFT JOIN judged j ON j.stream = u.stream AND j.from_seq = u.from_seq
     WHERE NOT coalesce(j.good, false);
  GET DIAGNOSTICS one = ROW_COUNT;
  found := found + one;
  RETURN QUERY SELECT * FROM @schema@.false_retentions();
  GET DIAGNOSTICS one = ROW_COUNT;
  found := found + one;
  RETURN QUERY
    SELECT DISTINCT e.stream, e.seq, 'redaction', false, 'an entry says that this row was redacted, and it was not'
      FROM @schema@.redacted_rows r
      JOIN @schema@.entry e ON e.stream = r.stream AND e.seq = r.seq
     WHERE e.salt IS NOT NULL OR e.sql IS NOT NULL OR e.sql_sha256 IS NOT NULL OR e.parameters IS NOT NULL;
  GET DIAGNOSTICS one = ROW_COUNT;
  found := found + one;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'upkeep', found = 0,
    format('%s entries of retention, redaction and legal holds: their signatures, and what they say', total);
END
$$;

-- What entries of retention say and what cannot be.
CREATE FUNCTION @schema@.false_retentions()
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH range AS MATERIALIZED (SELECT * FROM @schema@.dropped_ranges)
  SELECT DISTINCT r.by_stream, r.by_seq, 'retention', false, 'it covers days that were not over when it was written'
    FROM range r
   WHERE r.before IS NULL OR r.before > r.by_at
      OR EXISTS (SELECT FROM @schema@.entry e
                  WHERE e.stream = r.stream AND e.seq < r.from_seq AND e.at >= r.before)
      OR EXISTS (SELECT FROM @schema@.stream s WHERE s.stream = r.stream AND s.started_at >= r.before)
  UNION ALL
  SELECT r.stream, r.from_seq, 'retention', false,
         format('rows %s to %s: an entry says that they were dropped, and some are there', r.from_seq, r.to_seq)
    FROM range r
   WHERE EXISTS (SELECT FROM @schema@.entry e WHERE e.stream = r.stream AND e.seq BETWEEN r.from_seq AND r.to_seq)
  UNION ALL
  SELECT r.stream, r.from_seq, 'retention', false,
         format('rows %s to %s: an entry says that they were dropped, with another hash than was signed', r.from_seq, r.to_seq)
    FROM range r
   WHERE NOT EXISTS (SELECT FROM @schema@.stream s WHERE s.stream = r.stream AND s.head_seq >= r.to_seq)
      OR EXISTS (SELECT FROM @schema@.batch b
                  WHERE b.stream = r.stream
                    AND ((b.to_seq = r.to_seq AND b.hash <> r.hash)
                      OR (b.from_seq = r.from_seq AND b.prev_hash <> r.prev_hash)))
  UNION ALL
  -- Where rows are gone, the batches alone say that nothing is missing between them.
  SELECT b.stream, b.from_seq, 'batch', false,
         CASE WHEN b.from_seq <> b.before + 1 THEN 'a batch before this one is missing'
              ELSE 'the batch does not begin where the one before it ends' END
    FROM (SELECT b.stream, b.from_seq, b.prev_hash, lag(b.to_seq, 1, 0::bigint) OVER w AS before,
                 lag(b.hash, 1, decode(repeat('00', 32), 'hex')) OVER w AS before_hash
            FROM @schema@.batch b WHERE b.stream IN (SELECT r.stream FROM range r)
          WINDOW w AS (PARTITION BY b.stream ORDER BY b.from_seq)) b
   WHERE b.from_seq <> b.before + 1 OR b.prev_hash <> b.before_hash
$$;

REVOKE ALL ON FUNCTION @schema@.is_redaction, @schema@.redactable, @schema@.holds_over, @schema@.redact,
  @schema@.verify_present, @schema@.dropped_spans, @schema@.accounted_for, @schema@.verify_chain,
  @schema@.verify_upkeep, @schema@.false_retentions FROM PUBLIC;
GRANT SELECT ON @schema@.redacted_rows, @schema@.redactions TO @auditor@;
