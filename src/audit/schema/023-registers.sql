-- verify() with all checks of the files before this one, and of what stands beside the entries: streams' facts and times,
-- keys, approvals that must have a receipt. It says so where a row is of a kind that stops a check.

-- Text as JSON; null where it is none.
CREATE FUNCTION @schema@.json_or_null(value text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN value::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
  RETURN NULL;
END
$$;

-- Streams against their first rows: what the register says beside key and endorsement.
CREATE FUNCTION @schema@.verify_streams() RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
    SELECT s.stream, 1::bigint, 'head', false, 'the stream''s facts or its beginning are not those of its first row'
      FROM @schema@.stream s
      JOIN @schema@.entry e ON e.stream = s.stream AND e.seq = 1
     WHERE s.facts IS DISTINCT FROM
             @schema@.told(e.detail) - '{stream_kid,stream_jwk,endorsed_by,endorsement}'::text[]
        OR s.started_at <> e.at;
END
$$;

-- Public keys against the entries that brought them, which retention never drops.
CREATE FUNCTION @schema@.verify_keys() RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  found bigint;
BEGIN
  RETURN QUERY
    WITH brought AS MATERIALIZED (
      SELECT e.stream, e.seq, e.at, d.facts ->> 'kid' AS kid, @schema@.json_or_null(d.facts ->> 'public_jwk') AS jwk,
             d.facts ->> 'purpose' AS purpose
        FROM @schema@.entry e, LATERAL (SELECT @schema@.told(e.detail) AS facts) d
       WHERE e.kind = 'key' AND d.facts ?& '{kid,public_jwk,purpose}'::text[]
    ), first AS (
      SELECT DISTINCT ON (b.kid) b.kid, b.stream, b.seq FROM brought b ORDER BY b.kid, b.at, b.stream, b.seq
    )
    SELECT f.stream, coalesce(f.seq, 0), 'key', false,
           CASE WHEN k.kid IS NULL THEN format('the key that this row brought is not there: %s', f.kid)
                WHEN f.kid IS NULL THEN format('no row brought this key: %s', k.kid)
                ELSE format('the key is not as the row that brought it says: %s', k.kid) END
      FROM @schema@.signing_key k
      FULL JOIN first f ON f.kid = k.kid
     WHERE k.kid IS NULL
        OR f.kid IS NULL
        OR k.valid_to IS NOT NULL
        OR NOT EXISTS (SELECT FROM brought b WHERE b.kid = k.kid AND b.jwk = k.public_jwk AND b.purpose = k.purpose
                          AND b.at = k.valid_from);
  GET DIAGNOSTICS found = ROW_COUNT;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'key', found = 0,
    format('%s public keys against the rows that brought them', (SELECT count(*) FROM @schema@.signing_key));
END
$$;

-- Keys with their revocation, also where a row about a key is none.
CREATE OR REPLACE VIEW @schema@.signing_keys AS
  SELECT k.kid, k.public_jwk, k.purpose, k.valid_from, k.valid_to, k.valid_from AS not_before, r.revoked_at,
         r.reason AS revoked_reason, r.by AS revoked_by
    FROM @schema@.signing_key k
    LEFT JOIN LATERAL (
      SELECT @schema@.told_time(facts ->> 'revoked_at') AS revoked_at, facts ->> 'reason' AS reason, facts ->> 'by' AS by
        FROM @schema@.entry e, LATERAL (SELECT @schema@.told(e.detail) AS facts) d
       WHERE e.kind = 'key' AND facts ->> 'event' = 'revoked' AND facts ->> 'kid' = k.kid
       ORDER BY @schema@.told_time(facts ->> 'revoked_at'), e.at LIMIT 1) r ON true;

-- Approvals and releases that carry no receipt.
CREATE FUNCTION @schema@.verify_receipts_present(since timestamptz, until timestamptz)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
    SELECT e.stream, e.seq, 'receipt', false, 'an approval without a receipt'
      FROM @schema@.entry e
     WHERE e.kind IN ('request_approved', 'released')
       -- So that the index of such rows is used.
       AND e.kind NOT IN ('intent', 'outcome')
       AND e.receipt IS NULL AND e.at >= since AND e.at <= until;
END
$$;

-- A check that met a row which it cannot read ended there, and what it had found with it. Rows that are not what their
-- hash says are found again, more plainly.
CREATE FUNCTION @schema@.verify_plainly(since timestamptz, until timestamptz, why text)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
    SELECT e.stream, e.seq, 'row_hash', false, 'the row was changed: its hash is not that of its columns'
      FROM @schema@.entry e
     WHERE e.at >= since AND e.at <= until AND @schema@.entry_hash(e) IS DISTINCT FROM e.hash;
  RETURN QUERY
    SELECT e.stream, e.seq, 'content', false, 'the statement''s text, digest or parameters were changed or removed'
      FROM @schema@.entry e
     WHERE e.at >= since AND e.at <= until AND @schema@.content_hash(e) IS DISTINCT FROM e.content;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'row_hash', false,
    format('other checks could not be made, because of something that no writer of ours writes: %s', why);
END
$$;

DROP FUNCTION @schema@.verify(timestamptz, timestamptz, text, jsonb, boolean);
-- Parts run with the rights of the whole.
ALTER FUNCTION @schema@.verify_present SECURITY INVOKER;

CREATE FUNCTION @schema@.verify_entries(
  "from" timestamptz DEFAULT NULL,
  "to" timestamptz DEFAULT NULL,
  checkpoint text DEFAULT NULL,
  keys jsonb DEFAULT NULL,
  "full" boolean DEFAULT false
) RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  since CONSTANT timestamptz := coalesce("from", '-infinity');
  until CONSTANT timestamptz := coalesce("to", 'infinity');
BEGIN
  IF keys IS NOT NULL AND NOT EXISTS (SELECT FROM @schema@.ed25519_keys(keys)) THEN
    RAISE EXCEPTION 'keys is no JWK set with an Ed25519 key in it: {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": …}]}'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN QUERY
    SELECT c.stream, c.seq, c."check", c.ok,
           CASE WHEN c.seq IS NULL AND c."check" = 'batch' THEN split_part(c.detail, ';', 1) ELSE c.detail END
      FROM @schema@.verify_chain("from", "to") c;
  RETURN QUERY
    SELECT s.stream, s.seq, s."check", s.ok, s.detail FROM @schema@.verify_signatures(since, until, keys, "full") s;
  RETURN QUERY SELECT p.* FROM @schema@.verify_passkeys(since, until, keys, "full") p;
  RETURN QUERY SELECT r.* FROM @schema@.verify_revocations(since, until, keys) r;
  RETURN QUERY SELECT d.* FROM @schema@.verify_digests(since, until) d;
  RETURN QUERY
    SELECT c.stream, c.seq, c."check", c.ok, c.detail FROM @schema@.verify_checkpoints(checkpoint, keys) c;
  RETURN QUERY SELECT u.stream, u.seq, u."check", u.ok, u.detail FROM @schema@.verify_upkeep(keys) u;
END
$$;
COMMENT ON FUNCTION @schema@.verify_entries IS 'The part of verify() that checks rows, chain, signatures and tree.';

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
BEGIN
  BEGIN
    RETURN QUERY
      SELECT v.stream, v.seq, v."check", v.ok, v.detail
        FROM @schema@.verify_entries("from", "to", checkpoint, keys, "full") v;
  EXCEPTION
    -- The caller's: keys or a checkpoint that are none.
    WHEN invalid_parameter_value THEN RAISE;
    WHEN OTHERS THEN
      RETURN QUERY
        SELECT p.stream, p.seq, p."check", p.ok, p.detail FROM @schema@.verify_plainly(since, until, SQLERRM) p;
  END;
  RETURN QUERY SELECT s.stream, s.seq, s."check", s.ok, s.detail FROM @schema@.verify_streams() s;
  RETURN QUERY SELECT k.stream, k.seq, k."check", k.ok, k.detail FROM @schema@.verify_keys() k;
  RETURN QUERY
    SELECT r.stream, r.seq, r."check", r.ok, r.detail FROM @schema@.verify_receipts_present(since, until) r;
END
$$;
COMMENT ON FUNCTION @schema@.verify IS
  'Checks the log: a row for each check made and one for each finding; ok is false where something was altered. SELECT * FROM verify() WHERE NOT ok must be empty. checkpoint: a signed note that was kept elsewhere; keys: the public keys of the installation and of people''s passkeys as a JWK set, as /.well-known/jwks.json has them; full: every signature, not a sample.';
REVOKE ALL ON FUNCTION @schema@.verify, @schema@.verify_entries, @schema@.verify_streams, @schema@.verify_keys,
  @schema@.verify_receipts_present, @schema@.verify_plainly, @schema@.json_or_null FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @schema@.verify TO @auditor@;
