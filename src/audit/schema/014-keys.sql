-- Public keys with their revocation, which is an entry of the log like any other: hashed, signed, and never taken back.
CREATE OR REPLACE VIEW @schema@.signing_keys AS
  SELECT k.kid, k.public_jwk, k.purpose, k.valid_from, k.valid_to, k.valid_from AS not_before, r.revoked_at,
         r.reason AS revoked_reason, r.by AS revoked_by
    FROM @schema@.signing_key k
    LEFT JOIN LATERAL (
      SELECT (facts ->> 'revoked_at')::timestamptz AS revoked_at, facts ->> 'reason' AS reason, facts ->> 'by' AS by
        FROM @schema@.entry e, LATERAL (SELECT jsonb_object(e.detail) AS facts) d
       WHERE e.kind = 'key' AND facts ->> 'event' = 'revoked' AND facts ->> 'kid' = k.kid
       ORDER BY (facts ->> 'revoked_at')::timestamptz, e.at LIMIT 1) r ON true;
COMMENT ON VIEW @schema@.signing_keys IS
  'Public keys of the installation, as JWK; what a revoked one signed after revoked_at does not count, and dates before it are only its own word.';

-- Also keys that a set calls revoked (a member beside `keys`): what they signed before must be checked with them.
CREATE OR REPLACE FUNCTION @schema@.ed25519_keys(jwks jsonb) RETURNS TABLE (kid text, public_key bytea)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT DISTINCT rtrim(translate(encode(sha256(convert_to(
           format('{"crv":"Ed25519","kty":"OKP","x":"%s"}', j.jwk ->> 'x'), 'UTF8')), 'base64'), '+/', '-_'), '='),
         decode(translate(j.jwk ->> 'x', '-_', '+/') || '=', 'base64')
    FROM (VALUES ('keys'), ('revoked')) member (name),
         jsonb_array_elements(CASE jsonb_typeof(jwks -> name) WHEN 'array' THEN jwks -> name ELSE '[]' END) j (jwk)
   WHERE j.jwk ->> 'kty' = 'OKP' AND j.jwk ->> 'crv' = 'Ed25519' AND j.jwk ->> 'x' ~ '^[A-Za-z0-9_-]{43}$'
$$;
