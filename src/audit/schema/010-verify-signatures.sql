-- verify() checks signatures, too: endorsements of streams' keys, batches, receipts. All of them with "full"; otherwise a
-- sample, which costs some hundredths of a second each.

-- Ed25519 keys of a JWK set by their RFC 7638 thumbprint, whatever name the set gives them.
CREATE FUNCTION @schema@.ed25519_keys(jwks jsonb) RETURNS TABLE (kid text, public_key bytea)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT DISTINCT rtrim(translate(encode(sha256(convert_to(
           format('{"crv":"Ed25519","kty":"OKP","x":"%s"}', j.jwk ->> 'x'), 'UTF8')), 'base64'), '+/', '-_'), '='),
         decode(translate(j.jwk ->> 'x', '-_', '+/') || '=', 'base64')
    FROM jsonb_array_elements(CASE jsonb_typeof(jwks -> 'keys') WHEN 'array' THEN jwks -> 'keys' ELSE '[]' END) j (jwk)
   WHERE j.jwk ->> 'kty' = 'OKP' AND j.jwk ->> 'crv' = 'Ed25519' AND j.jwk ->> 'x' ~ '^[A-Za-z0-9_-]{43}$'
$$;

-- Part of a compact JWS (RFC 7515) as bytes; null where it is not base64url.
CREATE FUNCTION @schema@.base64url(encoded text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN encoded ~ '^[A-Za-z0-9_-]*$' AND length(encoded) % 4 <> 1
    THEN decode(translate(encoded, '-_', '+/') || repeat('=', (4 - length(encoded) % 4) % 4), 'base64') END
$$;

-- What is wrong with the receipt of a request; null: nothing, one of these keys signed it for that request.
CREATE FUNCTION @schema@.receipt_problem(receipt text, request_id text, keys jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  parts text[] := string_to_array(receipt, '.');
  header jsonb;
  claims jsonb;
  key bytea;
BEGIN
  BEGIN
    header := convert_from(@schema@.base64url(parts[1]), 'UTF8')::jsonb;
    claims := convert_from(@schema@.base64url(parts[2]), 'UTF8')::jsonb;
  EXCEPTION WHEN data_exception OR character_not_in_repertoire THEN
    header := NULL;
  END;
  IF cardinality(parts) IS DISTINCT FROM 3 OR header IS NULL OR claims IS NULL
     OR header ->> 'alg' IS DISTINCT FROM 'EdDSA' OR header ->> 'typ' IS DISTINCT FROM 'countersign-receipt+jws' THEN
    RETURN 'the receipt is none';
  END IF;
  SELECT k.public_key INTO key FROM @schema@.ed25519_keys(keys) k WHERE k.kid = header ->> 'kid';
  IF key IS NULL THEN
    RETURN format('the receipt is signed with a key that is not among the trusted ones: %s', header ->> 'kid');
  END IF;
  IF NOT coalesce(@schema@.ed25519_verify(key, convert_to(parts[1] || '.' || parts[2], 'UTF8'),
                                          @schema@.base64url(parts[3])), false) THEN
    RETURN 'the signature does not fit the receipt';
  END IF;
  IF claims ->> 'request' IS DISTINCT FROM request_id THEN
    RETURN format('the receipt is for another request: %s', claims ->> 'request');
  END IF;
  RETURN NULL;
END
$$;

CREATE FUNCTION @schema@.verify_signatures(since timestamptz, until timestamptz, given jsonb, every boolean)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  -- Checked of each kind, unless all are.
  sample CONSTANT int := 40;
  keys jsonb := coalesce(given, (SELECT jsonb_build_object('keys', jsonb_agg(k.public_jwk)) FROM @schema@.signing_key k));
  source text := CASE WHEN given IS NULL THEN ', with keys from the log itself: give those that you kept' ELSE '' END;
  total bigint;
  chosen bigint;
  found bigint;
BEGIN
  -- Streams' keys: the installation's key says that they are. The newest first.
  SELECT count(*) INTO total FROM @schema@.stream;
  chosen := CASE WHEN every THEN total ELSE least(total, sample) END;
  RETURN QUERY
    SELECT s.stream, 1::bigint, 'endorsement', false,
           CASE WHEN k.kid IS NULL
             THEN format('the stream''s key is endorsed by %s, which is not among the trusted keys', s.endorsed_by)
             ELSE 'the endorsement of the stream''s key is not the installation''s signature' END
      FROM (SELECT * FROM @schema@.stream s ORDER BY s.started_at DESC, s.stream LIMIT chosen) s
      LEFT JOIN @schema@.ed25519_keys(keys) k ON k.kid = s.endorsed_by
     WHERE NOT coalesce(@schema@.ed25519_verify(k.public_key,
             @schema@.field('countersign audit stream v1') || @schema@.field(s.stream) || @schema@.field(s.kid),
             s.endorsement), false);
  GET DIAGNOSTICS found = ROW_COUNT;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'endorsement', found = 0,
    format('%s of %s streams'' keys against their endorsements%s', chosen, total, source);

  -- Batches: the stream's key signed them, or that of the stream which recovered it. Chosen by chance.
  SELECT count(*) INTO total
    FROM @schema@.batch b
    JOIN @schema@.entry last ON last.stream = b.stream AND last.seq = b.to_seq
    JOIN @schema@.entry first ON first.stream = b.stream AND first.seq = b.from_seq
   WHERE last.at >= since AND first.at <= until;
  chosen := CASE WHEN every THEN total ELSE least(total, sample) END;
  RETURN QUERY
    WITH looked_at AS (
      SELECT b.*, s.kid AS own
        FROM @schema@.batch b
        JOIN @schema@.stream s ON s.stream = b.stream
        JOIN @schema@.entry last ON last.stream = b.stream AND last.seq = b.to_seq
        JOIN @schema@.entry first ON first.stream = b.stream AND first.seq = b.from_seq
       WHERE last.at >= since AND first.at <= until
       ORDER BY CASE WHEN every THEN 0 ELSE random() END
       LIMIT chosen
    ), streams AS MATERIALIZED (
      SELECT k.kid, k.public_key
        FROM @schema@.ed25519_keys((SELECT jsonb_build_object('keys', jsonb_agg(s.public_jwk)) FROM @schema@.stream s)) k
    )
    SELECT b.stream, b.from_seq, 'batch_signature', false,
           CASE WHEN k.kid IS NULL
                  THEN format('rows %s to %s: signed with a key that nothing here names: %s', b.from_seq, b.to_seq, b.kid)
                WHEN b.kid <> b.own AND NOT r.recovered
                  THEN format('signed with the key of another stream, which did not recover %s: %s', b.stream, b.kid)
                ELSE format('rows %s to %s: the signature is not over these rows', b.from_seq, b.to_seq) END
      FROM looked_at b
      LEFT JOIN streams k ON k.kid = b.kid
      LEFT JOIN LATERAL (
        SELECT b.kid = b.own OR EXISTS (
          SELECT FROM @schema@.entry e
           WHERE e.stream = b.stream AND e.kind = 'log_recovered' AND jsonb_object(e.detail) ->> 'by_kid' = b.kid)
          AS recovered) r ON true
     WHERE k.kid IS NULL OR NOT r.recovered
        OR NOT @schema@.ed25519_verify(k.public_key,
             @schema@.field('countersign audit batch v1') || @schema@.field(b.stream) || @schema@.field(b.from_seq)
             || @schema@.field(b.to_seq) || @schema@.field(b.prev_hash) || @schema@.field(b.hash), b.signature);
  GET DIAGNOSTICS found = ROW_COUNT;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'batch_signature', found = 0,
    format('%s of %s batches against their signatures%s', chosen, total,
           CASE WHEN chosen < total THEN '; all of them with full => true' ELSE '' END);

  -- Receipts: the installation's key signed them, for the request that the row names.
  SELECT count(*) INTO total FROM @schema@.entry e
   WHERE e.receipt IS NOT NULL AND e.kind NOT IN ('intent', 'outcome') AND e.at >= since AND e.at <= until;
  chosen := CASE WHEN every THEN total ELSE least(total, sample) END;
  RETURN QUERY
    SELECT r.stream, r.seq, 'receipt', false, r.problem
      FROM (SELECT e.stream, e.seq, @schema@.receipt_problem(e.receipt, e.request_id, keys) AS problem
              FROM (SELECT * FROM @schema@.entry e
                     WHERE e.receipt IS NOT NULL AND e.kind NOT IN ('intent', 'outcome')
                       AND e.at >= since AND e.at <= until
                     ORDER BY CASE WHEN every THEN 0 ELSE random() END LIMIT chosen) e) r
     WHERE r.problem IS NOT NULL;
  GET DIAGNOSTICS found = ROW_COUNT;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'receipt', found = 0,
    format('%s of %s receipts against their signatures%s', chosen, total, source);
END
$$;

ALTER FUNCTION @schema@.verify(timestamptz, timestamptz, text, jsonb, boolean) RENAME TO verify_chain;
REVOKE ALL ON FUNCTION @schema@.verify_chain FROM PUBLIC, @auditor@;
COMMENT ON FUNCTION @schema@.verify_chain IS 'The part of verify() that needs no keys.';

-- As before, a row for each check made and one for each finding. `keys`: a JWK set of the installation's public keys, as
-- /.well-known/jwks.json gives it; without them those in the log count, which whoever owns the database may have put
-- there.
CREATE FUNCTION @schema@.verify(
  "from" timestamptz DEFAULT NULL,
  "to" timestamptz DEFAULT NULL,
  checkpoint text DEFAULT NULL,
  keys jsonb DEFAULT NULL,
  "full" boolean DEFAULT false
) RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  IF checkpoint IS NOT NULL THEN
    RAISE EXCEPTION 'checkpoints cannot be checked in SQL by this version' USING ERRCODE = 'feature_not_supported';
  END IF;
  IF keys IS NOT NULL AND NOT EXISTS (SELECT FROM @schema@.ed25519_keys(keys)) THEN
    RAISE EXCEPTION 'keys is no JWK set with an Ed25519 key in it: {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": …}]}'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  RETURN QUERY
    SELECT c.stream, c.seq, c."check", c.ok,
           CASE WHEN c.seq IS NULL AND c."check" = 'batch' THEN split_part(c.detail, ';', 1) ELSE c.detail END
      FROM @schema@.verify_chain("from", "to") c;
  RETURN QUERY
    SELECT s.stream, s.seq, s."check", s.ok, s.detail
      FROM @schema@.verify_signatures(coalesce("from", '-infinity'), coalesce("to", 'infinity'), keys, "full") s;
END
$$;
COMMENT ON FUNCTION @schema@.verify IS
  'Checks the log: a row for each check made and one for each finding; ok is false where something was altered. SELECT * FROM verify() WHERE NOT ok must be empty. keys: the installation''s public keys as a JWK set; full: every signature, not a sample.';
REVOKE ALL ON FUNCTION @schema@.verify, @schema@.verify_signatures, @schema@.receipt_problem, @schema@.base64url,
  @schema@.ed25519_keys FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @schema@.verify TO @auditor@;
