-- verify() computes signatures together, and draws its samples so that nobody can tell them before.

-- Batches of that time, by their first and last rows; all of them for all time, whatever became of their rows.
CREATE FUNCTION @schema@.batches_within(since timestamptz, until timestamptz) RETURNS SETOF @schema@.batch
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  IF since = '-infinity' AND until = 'infinity' THEN
    RETURN QUERY SELECT b.* FROM @schema@.batch b;
  ELSE
    RETURN QUERY
      SELECT b.* FROM @schema@.batch b
        LEFT JOIN LATERAL (SELECT e.at FROM @schema@.entry e
                            WHERE e.stream = b.stream AND e.seq = b.from_seq LIMIT 1) first ON true
        LEFT JOIN LATERAL (SELECT e.at FROM @schema@.entry e
                            WHERE e.stream = b.stream AND e.seq = b.to_seq LIMIT 1) last ON true
       WHERE coalesce(last.at, first.at) >= since AND coalesce(first.at, last.at) <= until;
  END IF;
END
$$;

-- Rows of that time that carry a receipt of their own.
CREATE FUNCTION @schema@.receipts_within(since timestamptz, until timestamptz) RETURNS SETOF @schema@.entry
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT e.* FROM @schema@.entry e
   WHERE e.receipt IS NOT NULL AND e.kind NOT IN ('intent', 'outcome') AND e.at >= since AND e.at <= until
$$;

-- What a receipt says of itself before its signature is computed: what is wrong so far, or null and the parts of the
-- signature, by one of these keys.
CREATE FUNCTION @schema@.receipt_parts(receipt text, keys jsonb)
RETURNS TABLE (problem text, request text, public_key bytea, message bytea, signature bytea)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  parts text[] := string_to_array(receipt, '.');
  header jsonb;
  claims jsonb;
  key bytea;
BEGIN
  BEGIN
    header := convert_from(@schema@.base64url(parts[1]), 'UTF8')::jsonb;
    claims := convert_from(@schema@.base64url(parts[2]), 'UTF8')::jsonb;
  EXCEPTION WHEN data_exception OR character_not_in_repertoire OR statement_too_complex THEN
    header := NULL;
  END;
  IF cardinality(parts) IS DISTINCT FROM 3 OR header IS NULL OR claims IS NULL
     OR header ->> 'alg' IS DISTINCT FROM 'EdDSA' OR header ->> 'typ' IS DISTINCT FROM 'countersign-receipt+jws' THEN
    RETURN QUERY SELECT 'the receipt is none', NULL::text, NULL::bytea, NULL::bytea, NULL::bytea;
    RETURN;
  END IF;
  SELECT k.public_key INTO key FROM @schema@.ed25519_keys(keys) k WHERE k.kid = header ->> 'kid' LIMIT 1;
  RETURN QUERY
    SELECT CASE WHEN key IS NULL
             THEN format('the receipt is signed with a key that is not among the trusted ones: %s', header ->> 'kid') END,
           claims ->> 'request', key, convert_to(parts[1] || '.' || parts[2], 'UTF8'), @schema@.base64url(parts[3]);
END
$$;

CREATE OR REPLACE FUNCTION @schema@.receipt_problem(receipt text, request_id text, keys jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN p.problem IS NOT NULL THEN p.problem
              WHEN NOT coalesce(@schema@.ed25519_verify(p.public_key, p.message, p.signature), false)
                THEN 'the signature does not fit the receipt'
              WHEN p.request IS DISTINCT FROM request_id
                THEN format('the receipt is for another request: %s', p.request) END
    FROM @schema@.receipt_parts(receipt, keys) p
$$;

-- How many signatures of each kind are checked, unless all are.
CREATE FUNCTION @schema@.sample_size() RETURNS int IMMUTABLE PARALLEL SAFE LANGUAGE sql RETURN 100;

-- The signatures of that time, or a sample of each kind. It is drawn with the server's strong random numbers, anew each
-- time: neither a seed nor what was drawn before tells which signatures it will hold. `before`: what is wrong whatever the
-- signature is; `unfit`: where it is not over the message; `after`: what is wrong where it is.
CREATE FUNCTION @schema@.signatures_within(since timestamptz, until timestamptz, keys jsonb, sample int)
RETURNS TABLE ("check" text, stream text, seq bigint, public_key bytea, message bytea, signature bytea, before text,
  unfit text, after text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  -- Streams' keys: the installation's key says that they are.
  RETURN QUERY
    SELECT 'endorsement', s.stream, 1::bigint, k.public_key,
           @schema@.field('countersign audit stream v1') || @schema@.field(s.stream) || @schema@.field(s.kid), s.endorsement,
           CASE WHEN k.kid IS NULL
             THEN format('the stream''s key is endorsed by %s, which is not among the trusted keys', s.endorsed_by) END,
           'the endorsement of the stream''s key is not the installation''s signature', NULL::text
      FROM (SELECT * FROM @schema@.stream s
             ORDER BY CASE WHEN sample IS NOT NULL THEN gen_random_uuid() END LIMIT sample) s
      LEFT JOIN @schema@.ed25519_keys(keys) k ON k.kid = s.endorsed_by;

  -- Batches: the stream's key signed them, or that of the stream which recovered it.
  RETURN QUERY
    WITH streams AS MATERIALIZED (
      SELECT k.kid, k.public_key
        FROM @schema@.ed25519_keys((SELECT jsonb_build_object('keys', jsonb_agg(s.public_jwk)) FROM @schema@.stream s)) k
    )
    SELECT 'batch_signature', b.stream, coalesce(b.from_seq, 0), k.public_key, @schema@.batch_bytes(b.whole), b.signature,
           CASE WHEN k.kid IS NULL
                  THEN format('rows %s to %s: signed with a key that nothing here names: %s', b.from_seq, b.to_seq, b.kid)
                WHEN b.kid IS DISTINCT FROM s.kid AND NOT EXISTS (
                       SELECT FROM @schema@.entry e
                        WHERE e.stream = b.stream AND e.kind = 'log_recovered' AND e.kind NOT IN ('intent', 'outcome')
                          AND @schema@.told(e.detail) ->> 'by_kid' = b.kid)
                  THEN format('signed with the key of another stream, which did not recover %s: %s', b.stream, b.kid) END,
           format('rows %s to %s: the signature is not over these rows', b.from_seq, b.to_seq), NULL::text
      FROM (SELECT w AS whole, w.* FROM @schema@.batches_within(since, until) w
             ORDER BY CASE WHEN sample IS NOT NULL THEN gen_random_uuid() END LIMIT sample) b
      LEFT JOIN @schema@.stream s ON s.stream = b.stream
      LEFT JOIN streams k ON k.kid = b.kid;

  -- Receipts: the installation's key signed them, for the request that the row names.
  RETURN QUERY
    SELECT 'receipt', e.stream, e.seq, p.public_key, p.message, p.signature, p.problem,
           'the signature does not fit the receipt',
           CASE WHEN p.request IS DISTINCT FROM e.request_id
             THEN format('the receipt is for another request: %s', p.request) END
      FROM (SELECT * FROM @schema@.receipts_within(since, until) e
             ORDER BY CASE WHEN sample IS NOT NULL THEN gen_random_uuid() END LIMIT sample) e,
           LATERAL @schema@.receipt_parts(e.receipt, keys) p;
END
$$;

CREATE OR REPLACE FUNCTION @schema@.verify_signatures(since timestamptz, until timestamptz, given jsonb, every boolean)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  sample CONSTANT int := CASE WHEN every THEN NULL ELSE @schema@.sample_size() END;
  keys jsonb := coalesce(given, (SELECT jsonb_build_object('keys', jsonb_agg(k.public_jwk)) FROM @schema@.signing_key k));
  source text := CASE WHEN given IS NULL THEN ', with keys from the log itself: give those that you kept' ELSE '' END;
BEGIN
  RETURN QUERY
    WITH looked_at AS MATERIALIZED (
      SELECT s.*, row_number() OVER (ORDER BY s.public_key, s.stream, s.seq) AS place
        FROM @schema@.signatures_within(since, until, keys, sample) s
    ), pages AS (
      -- So that not all of them are in memory at once.
      SELECT array_agg(l.place ORDER BY l.place) AS places,
             @schema@.ed25519_verify_many(array_agg(l.public_key ORDER BY l.place),
               array_agg(l.message ORDER BY l.place), array_agg(l.signature ORDER BY l.place)) AS good
        FROM looked_at l GROUP BY (l.place - 1) / 4096
    ), judged AS MATERIALIZED (
      SELECT l."check", l.stream, l.seq,
             CASE WHEN l.before IS NOT NULL THEN l.before WHEN v.good THEN l.after ELSE l.unfit END AS problem
        FROM pages p, LATERAL unnest(p.places, p.good) v (place, good)
        JOIN looked_at l ON l.place = v.place
    ), kinds ("check", total, what) AS (
      VALUES ('endorsement', (SELECT count(*) FROM @schema@.stream), 'streams'' keys against their endorsements' || source),
             ('batch_signature', (SELECT count(*) FROM @schema@.batches_within(since, until)),
              'batches against their signatures'),
             ('receipt', (SELECT count(*) FROM @schema@.receipts_within(since, until)),
              'receipts against their signatures' || source)
    )
    SELECT j.stream, j.seq, j."check", false, j.problem FROM judged j WHERE j.problem IS NOT NULL
    UNION ALL
    SELECT NULL, NULL, k."check",
           NOT EXISTS (SELECT FROM judged j WHERE j."check" = k."check" AND j.problem IS NOT NULL),
           format('%s of %s %s%s', (SELECT count(*) FROM judged j WHERE j."check" = k."check"), k.total, k.what,
                  CASE WHEN k.total > sample THEN '; all of them with full => true' ELSE '' END)
      FROM kinds k;
END
$$;

-- As before; the sample is drawn like the others.
CREATE OR REPLACE FUNCTION @schema@.verify_passkeys(since timestamptz, until timestamptz, given jsonb, every boolean)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  -- A signature of this kind takes longer.
  sample CONSTANT int := CASE WHEN every THEN NULL ELSE 40 END;
  keys jsonb := @schema@.trusted_keys(given);
  total bigint := 0;
  looked_at bigint := 0;
  found bigint := 0;
  one record;
  problem text;
BEGIN
  FOR one IN
    SELECT e.stream, e.seq, e.at, e.receipt, count(*) OVER () AS total
      FROM @schema@.receipts_within(since, until) e
     WHERE EXISTS (SELECT FROM @schema@.passkey_approvers(e.receipt))
     ORDER BY CASE WHEN sample IS NOT NULL THEN gen_random_uuid() END
     LIMIT sample
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

-- Stored checkpoints that none of these keys signed.
CREATE FUNCTION @schema@.unsigned_checkpoints(keys jsonb) RETURNS TABLE (size bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH signature AS MATERIALIZED (
    SELECT c.size, k.public_key, convert_to(p.signed, 'UTF8') AS message, p.signature,
           row_number() OVER (ORDER BY k.public_key, c.size) AS place
      FROM @schema@.checkpoint c
     CROSS JOIN LATERAL @schema@.note_parts(c.note) p
      JOIN @schema@.ed25519_keys(keys) k
        ON substr(sha256(convert_to(p.origin, 'UTF8') || decode('0a01', 'hex') || k.public_key), 1, 4) = p.key_id
  ), pages AS (
    SELECT array_agg(s.size ORDER BY s.place) AS sizes,
           @schema@.ed25519_verify_many(array_agg(s.public_key ORDER BY s.place), array_agg(s.message ORDER BY s.place),
             array_agg(s.signature ORDER BY s.place)) AS good
      FROM signature s GROUP BY (s.place - 1) / 4096
  )
  SELECT c.size FROM @schema@.checkpoint c
  EXCEPT
  SELECT v.size FROM pages p, LATERAL unnest(p.sizes, p.good) v (size, good) WHERE v.good
$$;

-- As before, with the notes' signatures computed together, and the one root that a tree of nothing has.
CREATE OR REPLACE FUNCTION @schema@.verify_checkpoints(checkpoint text, given jsonb)
RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  keys jsonb := coalesce(given, (SELECT jsonb_build_object('keys', jsonb_agg(k.public_jwk)) FROM @schema@.signing_key k));
  found bigint;
  leaves bigint := 0;
  checkpoints bigint;
  roots bytea[] := '{}';
  root bytea;
  depth int;
  ones bigint;
  kept record;
  kept_root bytea;
  unsigned bigint[];
  one record;
BEGIN
  -- 1. Leaves stand for the batches that they name, and no number is left out.
  RETURN QUERY
    SELECT l.stream, l.from_seq, 'tree', false,
           CASE WHEN l.index IS DISTINCT FROM l.before + 1
                  THEN format('leaves %s to %s are missing', l.before + 1, l.index - 1)
                WHEN l.batch IS NULL THEN format('the batch of leaf %s is missing', l.index)
                ELSE format('the batch of leaf %s was changed after it was taken into the tree', l.index) END
      FROM (SELECT l.index, l.stream, l.from_seq, l.hash, b.stream AS batch, @schema@.batch_bytes(b) AS bytes,
                   lag(l.index, 1, -1::bigint) OVER (ORDER BY l.index) AS before
              FROM @schema@.leaf l
              LEFT JOIN @schema@.batch b ON b.stream = l.stream AND b.from_seq = l.from_seq) l
     WHERE l.index IS DISTINCT FROM l.before + 1 OR l.batch IS NULL OR l.hash <> sha256('\x00'::bytea || l.bytes);
  GET DIAGNOSTICS found = ROW_COUNT;
  SELECT count(*) INTO leaves FROM @schema@.leaf;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'tree', found = 0, format('%s leaves against their batches', leaves);

  SELECT p.origin, p.size, p.root INTO kept FROM @schema@.note_parts(checkpoint) p LIMIT 1;
  IF checkpoint IS NOT NULL AND kept.size IS NULL THEN
    RAISE EXCEPTION 'checkpoint is no signed note of a log: expected the whole text, as it was published'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;

  -- 2. Roots, computed from the leaves one by one.
  IF kept.size = 0 THEN kept_root := sha256(''); END IF;
  unsigned := ARRAY(SELECT u.size FROM @schema@.unsigned_checkpoints(keys) u);
  found := 0;
  checkpoints := 0;
  FOR one IN
    SELECT l.index + 1 AS size, l.hash, c.root, c.note, p.size AS said_size, p.root AS said_root
      FROM @schema@.leaf l
      LEFT JOIN @schema@.checkpoint c ON c.size = l.index + 1
      LEFT JOIN LATERAL (SELECT * FROM @schema@.note_parts(c.note) LIMIT 1) p ON true
     ORDER BY l.index
  LOOP
    root := one.hash;
    ones := one.size - 1;
    depth := coalesce(cardinality(roots), 0);
    WHILE ones % 2 = 1 LOOP
      root := sha256('\x01'::bytea || roots[depth] || root);
      depth := depth - 1;
      ones := ones / 2;
    END LOOP;
    roots := roots[1:depth] || root;
    CONTINUE WHEN one.note IS NULL AND one.size IS DISTINCT FROM kept.size;
    FOR i IN REVERSE depth .. 1 LOOP root := sha256('\x01'::bytea || roots[i] || root); END LOOP;
    IF one.size = kept.size THEN kept_root := root; END IF;
    CONTINUE WHEN one.note IS NULL;
    checkpoints := checkpoints + 1;
    IF root IS DISTINCT FROM one.root OR root IS DISTINCT FROM one.said_root OR one.size IS DISTINCT FROM one.said_size THEN
      found := found + 1;
      RETURN QUERY SELECT NULL::text, one.size, 'checkpoint', false,
        format('the checkpoint of %s batches has another root than their tree', one.size);
    ELSIF one.size = ANY (unsigned) THEN
      found := found + 1;
      RETURN QUERY SELECT NULL::text, one.size, 'checkpoint', false,
        format('the checkpoint of %s batches is not signed with a trusted key', one.size);
    END IF;
  END LOOP;
  FOR one IN SELECT c.size FROM @schema@.checkpoint c
              WHERE NOT EXISTS (SELECT FROM @schema@.leaf l WHERE l.index = c.size - 1) ORDER BY c.size LOOP
    found := found + 1;
    RETURN QUERY SELECT NULL::text, one.size, 'checkpoint', false,
      format('cut off: a checkpoint covers %s batches, here are %s', one.size, leaves);
  END LOOP;

  -- 3. The one that was kept elsewhere.
  IF checkpoint IS NOT NULL THEN
    IF NOT @schema@.note_is_signed(checkpoint, keys) THEN
      found := found + 1;
      RETURN QUERY SELECT NULL::text, kept.size, 'checkpoint', false, 'the given checkpoint is not signed with a trusted key';
    ELSIF kept.size > leaves THEN
      found := found + 1;
      RETURN QUERY SELECT NULL::text, kept.size, 'checkpoint', false,
        format('cut off: the given checkpoint covers %s batches, here are %s', kept.size, leaves);
    ELSIF kept_root IS DISTINCT FROM kept.root THEN
      found := found + 1;
      RETURN QUERY SELECT NULL::text, kept.size, 'checkpoint', false,
        format('another history: the first %s batches are not those of the given checkpoint', kept.size);
    END IF;
  END IF;
  RETURN QUERY SELECT NULL::text, NULL::bigint, 'checkpoint', found = 0,
    format('%s checkpoints%s, roots and signatures%s', checkpoints,
           CASE WHEN checkpoint IS NULL THEN '' ELSE ' and the given one' END,
           CASE WHEN checkpoint IS NULL THEN '; to see what was cut off, give one that was kept elsewhere' ELSE '' END);
END
$$;

REVOKE ALL ON FUNCTION @schema@.batches_within, @schema@.receipts_within, @schema@.receipt_parts, @schema@.sample_size,
  @schema@.signatures_within, @schema@.unsigned_checkpoints FROM PUBLIC;
