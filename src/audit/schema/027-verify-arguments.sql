-- verify() takes no arguments that mean nothing, sees what is missing at the end of a time, and is an error where something
-- stopped it.

-- What follows the rows of a time in each stream: that the next row joins them, so that nothing is missing between.
CREATE FUNCTION @schema@.verify_next(since timestamptz, until timestamptz)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  IF until = 'infinity' THEN RETURN; END IF;
  RETURN QUERY
    SELECT n.stream, n.seq, CASE WHEN p.seq IS NULL THEN 'gap' ELSE 'link' END, false,
           CASE WHEN p.seq IS NULL
                  THEN format('rows %s to %s are missing', coalesce(
                    (SELECT b.seq FROM @schema@.entry b WHERE b.stream = n.stream AND b.seq < n.seq
                      ORDER BY b.seq DESC LIMIT 1), 0) + 1, n.seq - 1)
                ELSE 'the row before this one was changed, moved or replaced: its hash is not the one named here' END
      FROM @schema@.stream s
      LEFT JOIN LATERAL (
        SELECT max(e.seq) AS seq FROM @schema@.entry e
         WHERE e.stream = s.stream AND e.at >= since AND e.at <= until) last ON true
     CROSS JOIN LATERAL (
        (SELECT e.stream, e.seq, e.prev_hash FROM @schema@.entry e
          WHERE e.stream = s.stream AND e.seq > last.seq ORDER BY e.seq LIMIT 1)
        UNION
        (SELECT e.stream, e.seq, e.prev_hash FROM @schema@.entry e
          WHERE e.stream = s.stream AND e.at > until ORDER BY e.seq LIMIT 1)) n
      LEFT JOIN LATERAL (
        SELECT p.seq, p.hash FROM @schema@.entry p WHERE p.stream = n.stream AND p.seq = n.seq - 1 LIMIT 1) p ON true
     WHERE n.seq > 1 AND p.hash IS DISTINCT FROM n.prev_hash;
END
$$;

-- As before, with the rows that follow; and a check that has findings is not said to be without.
CREATE OR REPLACE FUNCTION @schema@.verify_chain(since timestamptz, until timestamptz)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH found AS MATERIALIZED (
    SELECT * FROM @schema@.verify_present(since, until)
    UNION
    SELECT * FROM @schema@.verify_next(coalesce(since, '-infinity'), coalesce(until, 'infinity'))
  ), accounted AS MATERIALIZED (
    SELECT DISTINCT a.stream, a.seq, a."check"
      FROM (SELECT array_agg(f.stream) AS streams, array_agg(f.seq) AS seqs, array_agg(f."check") AS checks
              FROM found f WHERE f.seq IS NOT NULL) all_found,
           @schema@.accounted_for(all_found.streams, all_found.seqs, all_found.checks) a
     WHERE all_found.streams IS NOT NULL
  ), standing AS MATERIALIZED (
    SELECT f.* FROM found f
     WHERE f.seq IS NOT NULL
       AND NOT EXISTS (SELECT FROM accounted a
                        WHERE a.stream = f.stream AND a.seq = f.seq AND a."check" = f."check")
  )
  SELECT * FROM standing
  UNION ALL
  SELECT f.stream, f.seq, f."check",
         NOT EXISTS (SELECT FROM standing s
                      WHERE s."check" = f."check" OR (s."check" = 'gap' AND f."check" = 'link')), f.detail
    FROM found f WHERE f.seq IS NULL
$$;

-- What is never null in a row of ours, and is: comparisons with it would say neither yes nor no.
CREATE FUNCTION @schema@.verify_nulls() RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT n.stream, coalesce(n.seq, 0), n."check", false, 'a column is empty that no writer of ours leaves empty'
    FROM (
      SELECT e.stream, e.seq, 'row_hash' AS "check" FROM @schema@.entry e
       WHERE e.version IS NULL OR e.stream IS NULL OR e.seq IS NULL OR e.at IS NULL OR e.kind IS NULL
          OR e.prev_hash IS NULL OR e.hash IS NULL
      UNION ALL
      SELECT s.stream, s.head_seq, 'head' FROM @schema@.stream s
       WHERE s.stream IS NULL OR s.kid IS NULL OR s.public_jwk IS NULL OR s.endorsed_by IS NULL OR s.endorsement IS NULL
          OR s.facts IS NULL OR s.started_at IS NULL OR s.head_seq IS NULL OR s.head_hash IS NULL
      UNION ALL
      SELECT b.stream, b.from_seq, 'batch' FROM @schema@.batch b
       WHERE b.stream IS NULL OR b.from_seq IS NULL OR b.to_seq IS NULL OR b.prev_hash IS NULL OR b.hash IS NULL
          OR b.kid IS NULL OR b.signature IS NULL
      UNION ALL
      SELECT l.stream, l.from_seq, 'tree' FROM @schema@.leaf l
       WHERE l.index IS NULL OR l.stream IS NULL OR l.from_seq IS NULL OR l.hash IS NULL
      UNION ALL
      SELECT NULL, c.size, 'checkpoint' FROM @schema@.checkpoint c
       WHERE c.size IS NULL OR c.root IS NULL OR c.note IS NULL
      UNION ALL
      SELECT NULL, 0, 'key' FROM @schema@.signing_key k
       WHERE k.kid IS NULL OR k.public_jwk IS NULL OR k.purpose IS NULL OR k.valid_from IS NULL) n
$$;

-- Raises invalid_parameter_value where an argument of verify() means nothing. In ASCII: a client that speaks LATIN1 would
-- get another error instead.
CREATE FUNCTION @schema@.require_arguments(since timestamptz, until timestamptz, checkpoint text, keys jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  list jsonb;
BEGIN
  IF since > until THEN
    RAISE EXCEPTION 'no time lies between "from" and "to": % is after %', since, until
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF keys IS NOT NULL THEN
    FOREACH list IN ARRAY ARRAY[keys -> 'keys', keys -> 'revoked'] LOOP
      CONTINUE WHEN jsonb_typeof(list) IS DISTINCT FROM 'array';
      IF EXISTS (SELECT FROM jsonb_array_elements(list) j (jwk) WHERE j.jwk ?| '{d,k,p,q,dp,dq,qi,oth}'::text[]) THEN
        RAISE EXCEPTION 'keys has a private or secret key in it: give the public ones, as /.well-known/jwks.json has them'
          USING ERRCODE = 'invalid_parameter_value',
                HINT = 'Whoever reads this server''s log may have that key now: revoke it.';
      END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM @schema@.ed25519_keys(keys)) THEN
      RAISE EXCEPTION 'keys is no JWK set with an Ed25519 key in it: {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "..."}]}'
        USING ERRCODE = 'invalid_parameter_value';
    END IF;
  END IF;
  IF checkpoint IS NOT NULL AND NOT EXISTS (SELECT FROM @schema@.note_parts(checkpoint)) THEN
    RAISE EXCEPTION 'checkpoint is no signed note of a log: expected the whole text, as it was published'
      USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Line feeds alone end its lines, the last one too; in SQL write E''...\n...''.';
  END IF;
END
$$;

-- Times beyond what the server knows of are beyond any row's.
CREATE OR REPLACE FUNCTION @schema@.jwks_keys(jwks jsonb) RETURNS TABLE (kid text, jwk jsonb, revoked_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.kid, j.jwk,
         CASE WHEN member.name = 'keys' AND NOT j.jwk ? 'revoked' THEN NULL
              WHEN jsonb_typeof(j.jwk #> '{revoked,revoked_at}') = 'number'
                THEN CASE WHEN (j.jwk #>> '{revoked,revoked_at}')::numeric > 100000000000 THEN 'infinity'
                          WHEN (j.jwk #>> '{revoked,revoked_at}')::numeric < -100000000000 THEN '-infinity'
                          ELSE to_timestamp((j.jwk #>> '{revoked,revoked_at}')::double precision) END
              ELSE '-infinity' END
    FROM (VALUES ('keys'), ('revoked')) member (name),
         jsonb_array_elements(CASE jsonb_typeof(jwks -> name) WHEN 'array' THEN jwks -> name ELSE '[]' END) j (jwk),
         LATERAL (SELECT @schema@.jwk_thumbprint(j.jwk) AS kid OFFSET 0) t
   WHERE t.kid IS NOT NULL
$$;

-- As before. Settings of the caller's session, role or database that change how a text is read, or which rows are seen,
-- have no say: a policy that would hide rows is an error. What ends the checks (a time limit, a lock, a full disk) is an
-- error, too, and no result.
CREATE OR REPLACE FUNCTION @schema@.verify(
  "from" timestamptz DEFAULT NULL,
  "to" timestamptz DEFAULT NULL,
  checkpoint text DEFAULT NULL,
  keys jsonb DEFAULT NULL,
  "full" boolean DEFAULT false
) RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET row_security = off SET standard_conforming_strings = on SET transform_null_equals = off SET array_nulls = on
SET TimeZone = 'UTC' SET DateStyle = 'ISO, MDY' SET IntervalStyle = 'postgres' SET bytea_output = 'hex'
SET extra_float_digits = 1 AS $$
#variable_conflict use_column
DECLARE
  since timestamptz := coalesce("from", '-infinity');
  until timestamptz := coalesce("to", 'infinity');
BEGIN
  PERFORM @schema@.require_arguments(since, until, checkpoint, keys);
  BEGIN
    RETURN QUERY
      SELECT v.stream, v.seq, v."check", v.ok, v.detail
        FROM @schema@.verify_entries("from", "to", checkpoint, keys, coalesce("full", false)) v;
  EXCEPTION
    WHEN insufficient_privilege OR insufficient_resources OR operator_intervention OR transaction_rollback
      OR lock_not_available OR system_error THEN RAISE;
    WHEN OTHERS THEN
      RETURN QUERY
        SELECT p.stream, p.seq, p."check", p.ok, p.detail FROM @schema@.verify_plainly(since, until, SQLERRM) p;
  END;
  RETURN QUERY SELECT n.stream, n.seq, n."check", n.ok, n.detail FROM @schema@.verify_nulls() n;
  RETURN QUERY SELECT s.stream, s.seq, s."check", s.ok, s.detail FROM @schema@.verify_streams() s;
  RETURN QUERY SELECT k.stream, k.seq, k."check", k.ok, k.detail FROM @schema@.verify_keys() k;
  RETURN QUERY
    SELECT r.stream, r.seq, r."check", r.ok, r.detail FROM @schema@.verify_receipts_present(since, until) r;
END
$$;

REVOKE ALL ON FUNCTION @schema@.verify_next, @schema@.verify_nulls, @schema@.require_arguments FROM PUBLIC;
