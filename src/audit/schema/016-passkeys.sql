-- verify() checks passkeys: that an approver of assurance 3 signed this very request with a device of his own, which no
-- key of the installation can do in his place. And times: what a key signed after it was revoked does not count.

-- RFC 7638 thumbprint of a key of a kind that is used here; null: of another kind. By its members alone, whatever name
-- the key was given.
CREATE FUNCTION @schema@.jwk_thumbprint(jwk jsonb) RETURNS text STABLE LANGUAGE sql
  RETURN rtrim(translate(encode(sha256(convert_to(CASE
    WHEN jwk ->> 'kty' = 'OKP' AND jwk ->> 'crv' = 'Ed25519' AND jwk ->> 'x' ~ '^[A-Za-z0-9_-]{43}$'
      THEN format('{"crv":"Ed25519","kty":"OKP","x":"%s"}', jwk ->> 'x')
    -- 32 bytes in their one encoding: the last character has four bits of them.
    WHEN jwk ->> 'kty' = 'EC' AND jwk ->> 'crv' = 'P-256'
         AND jwk ->> 'x' ~ '^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$'
         AND jwk ->> 'y' ~ '^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$'
      THEN format('{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}', jwk ->> 'x', jwk ->> 'y')
  END, 'UTF8')), 'base64'), '+/', '-_'), '=');

-- The keys of a set, also those that it calls revoked (a member beside `keys`): what they signed before must be checked
-- with them. `revoked_at` is -infinity where it does not say since when: then it never counted.
CREATE FUNCTION @schema@.jwks_keys(jwks jsonb) RETURNS TABLE (kid text, jwk jsonb, revoked_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.kid, j.jwk,
         CASE WHEN member.name = 'keys' AND NOT j.jwk ? 'revoked' THEN NULL
              WHEN jsonb_typeof(j.jwk #> '{revoked,revoked_at}') = 'number'
                THEN to_timestamp((j.jwk #>> '{revoked,revoked_at}')::double precision)
              ELSE '-infinity' END
    FROM (VALUES ('keys'), ('revoked')) member (name),
         jsonb_array_elements(CASE jsonb_typeof(jwks -> name) WHEN 'array' THEN jwks -> name ELSE '[]' END) j (jwk),
         LATERAL (SELECT @schema@.jwk_thumbprint(j.jwk) AS kid OFFSET 0) t
   WHERE t.kid IS NOT NULL
$$;

-- A person's key is none of the installation's, of whatever kind it is.
CREATE OR REPLACE FUNCTION @schema@.ed25519_keys(jwks jsonb) RETURNS TABLE (kid text, public_key bytea)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT DISTINCT k.kid, decode(translate(k.jwk ->> 'x', '-_', '+/') || '=', 'base64')
    FROM @schema@.jwks_keys(jwks) k
   WHERE k.jwk ->> 'kty' = 'OKP' AND NOT k.jwk ? 'countersign_person'
$$;

-- Passkeys with the person whose they are. One that two people have is nobody's.
CREATE FUNCTION @schema@.passkey_keys(jwks jsonb) RETURNS TABLE (kid text, person text, public_key bytea)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT k.kid, min(k.jwk ->> 'countersign_person'),
         '\x04'::bytea || decode(translate(min(k.jwk ->> 'x'), '-_', '+/') || '=', 'base64')
           || decode(translate(min(k.jwk ->> 'y'), '-_', '+/') || '=', 'base64')
    FROM @schema@.jwks_keys(jwks) k
   WHERE k.jwk ->> 'kty' = 'EC' AND jsonb_typeof(k.jwk -> 'countersign_person') = 'string'
     AND k.jwk ->> 'countersign_person' <> ''
   GROUP BY k.kid
  HAVING count(DISTINCT k.jwk ->> 'countersign_person') = 1
$$;

-- Since when keys of a set are revoked.
CREATE FUNCTION @schema@.revoked_keys(jwks jsonb) RETURNS TABLE (kid text, revoked_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT k.kid, min(k.revoked_at) FROM @schema@.jwks_keys(jwks) k WHERE k.revoked_at IS NOT NULL GROUP BY k.kid
$$;

-- The given set; without one, that which the log itself has.
CREATE FUNCTION @schema@.trusted_keys(given jsonb) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(given, (
    SELECT jsonb_build_object(
             'keys', coalesce(jsonb_agg(k.public_jwk) FILTER (WHERE k.revoked_at IS NULL), '[]'),
             'revoked', coalesce(jsonb_agg(k.public_jwk || jsonb_build_object('revoked', CASE WHEN isfinite(k.revoked_at)
               THEN jsonb_build_object('revoked_at', floor(extract(epoch FROM k.revoked_at))) ELSE '{}' END)) FILTER (WHERE k.revoked_at IS NOT NULL), '[]'))
      FROM @schema@.signing_keys k))
$$;

-- Bytes in base64url, in the one encoding that they have; null for anything else, for none, and for more than `most`.
CREATE FUNCTION @schema@.strict_base64url(encoded text, most int) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
  SELECT d.bytes FROM (SELECT CASE WHEN length(encoded) <= 2 * most THEN @schema@.base64url(encoded) END AS bytes) d
   WHERE octet_length(d.bytes) BETWEEN 1 AND most
     AND rtrim(translate(encode(d.bytes, 'base64'), E'+/\n', '-_'), '=') = encoded
$$;

-- UTF-8 text as a JSON object; null: it is none.
CREATE FUNCTION @schema@.json_object_in(bytes bytea) RETURNS jsonb
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  value jsonb;
BEGIN
  value := convert_from(bytes, 'UTF8')::jsonb;
  RETURN CASE WHEN jsonb_typeof(value) = 'object' THEN value END;
EXCEPTION WHEN data_exception OR character_not_in_repertoire OR statement_too_complex THEN
  RETURN NULL;
END
$$;

-- What a receipt claims, whoever signed it; null: nothing that can be read.
CREATE FUNCTION @schema@.receipt_part(receipt text, place int) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT @schema@.json_object_in(@schema@.base64url(p.parts[place]))
    FROM (SELECT string_to_array(receipt, '.') AS parts) p WHERE cardinality(p.parts) = 3
$$;

-- Approvers of a receipt who must have signed with a passkey, in their order: whoever is not said to be of assurance 1
-- or 2.
CREATE FUNCTION @schema@.passkey_approvers(receipt text) RETURNS SETOF jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT a.approver
    FROM (SELECT @schema@.receipt_part(receipt, 2) -> 'approvers' AS list) r,
         jsonb_array_elements(CASE jsonb_typeof(r.list) WHEN 'array' THEN r.list ELSE '[]' END)
           WITH ORDINALITY a (approver, place)
   WHERE coalesce(a.approver -> 'assurance' NOT IN ('1', '2'), true)
   ORDER BY a.place
$$;

-- What is wrong with an assertion (WebAuthn Level 3, section 7.2) over a digest (hex) by the key; null: nothing. The site
-- is whichever the assertion names, and must be the one that the device was asked for. Attacker-controlled: all of it.
-- src/audit/passkey-check.ts says the same.
CREATE FUNCTION @schema@.assertion_problem(facts jsonb, public_key bytea, digest text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  data bytea := @schema@.strict_base64url(facts ->> 'authenticatorData', 2048);
  client bytea := @schema@.strict_base64url(facts ->> 'clientDataJSON', 4096);
  signature bytea := @schema@.strict_base64url(facts ->> 'signature', 80);
  stated jsonb := @schema@.json_object_in(client);
  flags int;
  host text;
BEGIN
  IF data IS NULL OR client IS NULL OR signature IS NULL OR stated IS NULL OR octet_length(data) < 37 THEN
    RETURN 'it is no assertion of a passkey';
  END IF;
  flags := get_byte(data, 32);
  -- No key is attested when it signs; extensions are there if and only if the flag says so.
  IF flags & 64 <> 0 OR (flags & 128 <> 0) <> (octet_length(data) > 37) THEN
    RETURN 'it is no assertion of a passkey';
  END IF;
  IF stated -> 'type' IS DISTINCT FROM '"webauthn.get"' THEN RETURN 'it was made for something else than signing'; END IF;
  IF digest IS NULL OR digest !~ '^[0-9a-f]{64}$' OR stated -> 'challenge' IS DISTINCT FROM
       to_jsonb(rtrim(translate(encode(decode(digest, 'hex'), 'base64'), '+/', '-_'), '=')) THEN
    RETURN 'it signs another request';
  END IF;
  host := CASE WHEN jsonb_typeof(stated -> 'origin') = 'string'
            THEN substring(stated ->> 'origin' FROM '^https?://([a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?)(?::[1-9][0-9]{0,4})?$') END;
  -- A page within another's is not the approval page.
  IF host IS NULL OR stated ? 'topOrigin' OR coalesce(stated -> 'crossOrigin', 'null') NOT IN ('null', 'false') THEN
    RETURN 'it was made on another site';
  END IF;
  IF sha256(convert_to(host, 'UTF8')) <> substr(data, 1, 32) THEN RETURN 'it was made for another site'; END IF;
  IF flags & 1 = 0 THEN RETURN 'nobody touched the device'; END IF;
  IF flags & 4 = 0 THEN RETURN 'the device did not verify its user (PIN, fingerprint or face)'; END IF;
  IF NOT coalesce(@schema@.p256_verify(public_key, data || sha256(client), signature), false) THEN
    RETURN 'the signature does not fit the passkey';
  END IF;
  RETURN NULL;
END
$$;

-- What is wrong with the passkeys of a receipt, in a row of that time; null: nothing.
CREATE FUNCTION @schema@.passkey_problem(receipt text, at timestamptz, keys jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  digest text := CASE jsonb_typeof(@schema@.receipt_part(receipt, 2) -> 'digest')
    WHEN 'string' THEN @schema@.receipt_part(receipt, 2) ->> 'digest' END;
  approver jsonb;
  who text;
  facts jsonb;
  key record;
  problem text;
BEGIN
  FOR approver IN SELECT a.a FROM @schema@.passkey_approvers(receipt) a (a) LOOP
    who := CASE jsonb_typeof(approver -> 'person') WHEN 'string' THEN approver ->> 'person' ELSE '' END;
    facts := approver -> 'facts';
    IF EXISTS (SELECT FROM unnest('{passkey,authenticatorData,clientDataJSON,signature}'::text[]) f (name)
                WHERE jsonb_typeof(facts -> f.name) IS DISTINCT FROM 'string') THEN
      RETURN format('assurance 3 of %s is claimed without an assertion of a passkey', who);
    END IF;
    SELECT k.kid, k.person, k.public_key INTO key FROM @schema@.passkey_keys(keys) k WHERE k.kid = facts ->> 'passkey';
    IF key.kid IS NULL THEN
      RETURN format('the passkey of %s is not among the trusted ones: %s', who, facts ->> 'passkey');
    END IF;
    IF key.person IS DISTINCT FROM who THEN
      RETURN format('the passkey of %s is another person''s, %s: %s', who, key.person, key.kid);
    END IF;
    IF EXISTS (SELECT FROM @schema@.revoked_keys(keys) r WHERE r.kid = key.kid AND at >= r.revoked_at) THEN
      RETURN format('the passkey of %s was revoked by then: %s', who, key.kid);
    END IF;
    problem := @schema@.assertion_problem(facts, key.public_key, digest);
    IF problem IS NOT NULL THEN RETURN format('the passkey of %s: %s', who, problem); END IF;
  END LOOP;
  RETURN NULL;
END
$$;

-- Receipts in which somebody is said to be of assurance 3, against the passkeys of the given set.
CREATE FUNCTION @schema@.verify_passkeys(since timestamptz, until timestamptz, given jsonb, every boolean)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  -- Checked, unless all are.
  sample CONSTANT int := 40;
  keys jsonb := @schema@.trusted_keys(given);
  total bigint := 0;
  looked_at bigint := 0;
  found bigint := 0;
  one record;
  problem text;
BEGIN
  FOR one IN
    SELECT e.stream, e.seq, e.at, e.receipt, count(*) OVER () AS total
      FROM @schema@.entry e
     WHERE e.receipt IS NOT NULL AND e.kind NOT IN ('intent', 'outcome') AND e.at >= since AND e.at <= until
       AND EXISTS (SELECT FROM @schema@.passkey_approvers(e.receipt))
     ORDER BY CASE WHEN every THEN 0 ELSE random() END
     LIMIT CASE WHEN every THEN NULL ELSE sample END
  LOOP
    total := one.total;
    looked_at := looked_at + 1;
    problem := @schema@.passkey_problem(one.receipt, one.at, keys);
    CONTINUE WHEN problem IS NULL;
    found := found + 1;
    RETURN QUERY SELECT one.stream, one.seq, 'passkey', false, problem;
  END LOOP;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'passkey', found = 0,
    format('%s of %s receipts with passkeys against what people''s devices signed%s', looked_at, total,
           CASE WHEN given IS NULL THEN ', with keys from the log itself: give those that you kept' ELSE '' END);
END
$$;

-- What keys signed after they were revoked. All of it: no signature is computed for that.
CREATE FUNCTION @schema@.verify_revocations(since timestamptz, until timestamptz, given jsonb)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  revoked jsonb;
  found bigint;
  total bigint := 0;
BEGIN
  SELECT jsonb_object_agg(r.kid, r.revoked_at) INTO revoked
    FROM @schema@.revoked_keys(@schema@.trusted_keys(given)) r;
  IF revoked IS NOT NULL THEN
    RETURN QUERY
      SELECT s.stream, 1::bigint, 'endorsement', false,
             format('the stream''s key is endorsed by %s, which was revoked before the stream began', s.endorsed_by)
        FROM @schema@.stream s
       WHERE s.started_at >= (revoked ->> s.endorsed_by)::timestamptz;
    GET DIAGNOSTICS found = ROW_COUNT;
    total := found;
    RETURN QUERY
      SELECT r.stream, r.seq, 'receipt', false,
             format('the receipt is signed with a key that was revoked by then: %s', r.kid)
        FROM (SELECT e.stream, e.seq, e.at, @schema@.receipt_part(e.receipt, 1) ->> 'kid' AS kid
                FROM @schema@.entry e
               WHERE e.receipt IS NOT NULL AND e.kind NOT IN ('intent', 'outcome')
                 AND e.at >= since AND e.at <= until) r
       WHERE r.at >= (revoked ->> r.kid)::timestamptz;
    GET DIAGNOSTICS found = ROW_COUNT;
    total := total + found;
  END IF;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'revocation', total = 0,
    format('%s revoked keys against the times of what they signed%s',
           (SELECT count(*) FROM jsonb_object_keys(coalesce(revoked, '{}'))),
           CASE WHEN given IS NULL THEN ', as the log itself has them' ELSE '' END);
END
$$;

-- A digest is one request's: that with which it was opened. So nothing that was signed for a request counts for another.
-- All receipts: no signature is computed for that.
CREATE FUNCTION @schema@.verify_digests(since timestamptz, until timestamptz)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  found bigint;
BEGIN
  RETURN QUERY
    WITH opened AS MATERIALIZED (
      SELECT e.request_id, jsonb_object(e.detail) ->> 'digest' AS digest
        FROM @schema@.entry e WHERE e.kind = 'request_opened' AND e.request_id IS NOT NULL
    ), receipts AS MATERIALIZED (
      SELECT e.stream, e.seq, e.request_id, @schema@.receipt_part(e.receipt, 2) ->> 'digest' AS digest
        FROM @schema@.entry e
       WHERE e.receipt IS NOT NULL AND e.kind NOT IN ('intent', 'outcome') AND e.at >= since AND e.at <= until
    ), judged AS (
      SELECT r.stream, r.seq,
             CASE WHEN EXISTS (SELECT FROM opened o WHERE o.request_id = r.request_id AND o.digest IS NOT NULL
                                AND o.digest IS DISTINCT FROM r.digest)
                    THEN 'the request was opened with another digest than the receipt has'
                  ELSE (SELECT format('another request was opened with the digest of the receipt: %s', min(o.request_id))
                          FROM opened o WHERE o.digest = r.digest AND o.request_id IS DISTINCT FROM r.request_id
                        HAVING count(*) > 0) END AS problem
        FROM receipts r
    )
    SELECT j.stream, j.seq, 'receipt', false, j.problem FROM judged j WHERE j.problem IS NOT NULL;
  GET DIAGNOSTICS found = ROW_COUNT;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'receipt', found = 0, 'receipts against the digests of the requests that they are for';
END
$$;

COMMENT ON COLUMN @schema@.signing_key.purpose IS
  'installation: signs receipts and endorses streams; passkey: a device of the person that countersign_person in public_jwk names.';

REVOKE ALL ON FUNCTION @schema@.jwk_thumbprint, @schema@.jwks_keys, @schema@.passkey_keys, @schema@.revoked_keys,
  @schema@.trusted_keys, @schema@.strict_base64url, @schema@.json_object_in, @schema@.receipt_part,
  @schema@.passkey_approvers, @schema@.assertion_problem, @schema@.passkey_problem, @schema@.verify_passkeys,
  @schema@.verify_revocations, @schema@.verify_digests FROM PUBLIC;
