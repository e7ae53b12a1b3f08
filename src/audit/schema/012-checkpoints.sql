-- Checkpoints: now and then the installation's key signs the root of a Merkle tree (RFC 6962) over all batches. A copy
-- of one that is kept elsewhere shows whether anything that it covers was changed or cut off, whoever owns this database.

-- The tree's leaves: batches, in the order in which they were taken up.
CREATE TABLE @schema@.leaf (
  index    bigint PRIMARY KEY CHECK (index >= 0),
  stream   text   NOT NULL,
  from_seq bigint NOT NULL,
  hash     bytea  NOT NULL CHECK (octet_length(hash) = 32),
  UNIQUE (stream, from_seq)
);
COMMENT ON TABLE @schema@.leaf IS 'The leaves of the Merkle tree that checkpoints sign: SHA-256 of 0x00 and the bytes that the batch''s signature is over.';

CREATE TABLE @schema@.checkpoint (
  size  bigint PRIMARY KEY CHECK (size > 0),
  root  bytea  NOT NULL CHECK (octet_length(root) = 32),
  -- Roots of the whole subtrees, the largest first: what the next checkpoint is computed from.
  roots bytea[] NOT NULL,
  note  text   NOT NULL,
  at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE @schema@.checkpoint IS 'Signed checkpoints (c2sp.org/tlog-checkpoint); keep copies of them elsewhere.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON @schema@.leaf
  FOR EACH ROW EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON @schema@.leaf
  FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON @schema@.checkpoint
  FOR EACH ROW EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON @schema@.checkpoint
  FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_change();
ALTER TABLE @schema@.leaf ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate;
ALTER TABLE @schema@.checkpoint ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate;

-- The bytes that a batch's signature is over.
CREATE FUNCTION @schema@.batch_bytes(b @schema@.batch) RETURNS bytea STABLE PARALLEL SAFE LANGUAGE sql
  RETURN @schema@.field('countersign audit batch v1') || @schema@.field(b.stream) || @schema@.field(b.from_seq)
    || @schema@.field(b.to_seq) || @schema@.field(b.prev_hash) || @schema@.field(b.hash);

-- Begins a checkpoint: the one before it, in a row (with nulls where there is none). No row: another process is making
-- one. Holds the right to make one until the transaction ends.
CREATE FUNCTION @schema@.begin_checkpoint() RETURNS TABLE (size bigint, roots bytea[], note text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended('@schema@.checkpoint', 7)) THEN RETURN; END IF;
  RETURN QUERY
    SELECT c.size, c.roots, c.note FROM (VALUES (1)) one
      LEFT JOIN LATERAL (SELECT * FROM @schema@.checkpoint c ORDER BY c.size DESC LIMIT 1) c ON true;
END
$$;

-- Batches that no leaf stands for yet, at most so many; a stream's in their order.
CREATE FUNCTION @schema@.batches_without_leaf(most int)
RETURNS TABLE (stream text, from_seq bigint, to_seq bigint, prev_hash bytea, hash bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT b.stream, b.from_seq, b.to_seq, b.prev_hash, b.hash
    FROM @schema@.stream s
    LEFT JOIN LATERAL (SELECT l.from_seq FROM @schema@.leaf l
                        WHERE l.stream = s.stream ORDER BY l.from_seq DESC LIMIT 1) done ON true
    JOIN @schema@.batch b ON b.stream = s.stream AND b.from_seq > coalesce(done.from_seq, 0)
   ORDER BY s.started_at, s.stream, b.from_seq
   LIMIT most
$$;

-- Stores a checkpoint with the leaves that are new in it. Errors: CSA05 it does not continue the tree, CSA06 a leaf that
-- is no batch's.
CREATE FUNCTION @schema@.add_checkpoint(p_size bigint, p_stream text[], p_from_seq bigint[], p_hash bytea[],
  p_roots bytea[], p_root bytea, p_note text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before bigint;
  stored bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('@schema@.checkpoint', 7));
  SELECT coalesce(max(l.index) + 1, 0) INTO before FROM @schema@.leaf l;
  IF cardinality(p_hash) = 0 OR before + cardinality(p_hash) IS DISTINCT FROM p_size THEN
    RAISE EXCEPTION 'the tree has % leaves: % more do not make %', before, cardinality(p_hash), p_size
      USING ERRCODE = 'CSA05';
  END IF;
  INSERT INTO @schema@.leaf (index, stream, from_seq, hash)
    SELECT before + g.place - 1, b.stream, b.from_seq, g.hash
      FROM unnest(p_stream, p_from_seq, p_hash) WITH ORDINALITY g (stream, from_seq, hash, place)
      JOIN @schema@.batch b ON b.stream = g.stream AND b.from_seq = g.from_seq
     WHERE g.hash = sha256('\x00'::bytea || @schema@.batch_bytes(b));
  GET DIAGNOSTICS stored = ROW_COUNT;
  IF stored <> cardinality(p_hash) THEN
    RAISE EXCEPTION '% of % leaves are no batch''s', cardinality(p_hash) - stored, cardinality(p_hash)
      USING ERRCODE = 'CSA06';
  END IF;
  INSERT INTO @schema@.checkpoint (size, root, roots, note) VALUES (p_size, p_root, p_roots, p_note);
END
$$;

CREATE VIEW @schema@.checkpoints AS SELECT c.size, c.root, c.note, c.at FROM @schema@.checkpoint c;
COMMENT ON VIEW @schema@.checkpoints IS
  'Signed checkpoints of the whole log. Keep copies elsewhere and give one to verify(checkpoint => …): nothing that it covers can be changed or cut off unseen (SOC 2 CC7.1, CC7.3).';
CREATE VIEW @schema@.leaves AS SELECT l.index, l.stream, l.from_seq, l.hash FROM @schema@.leaf l;
COMMENT ON VIEW @schema@.leaves IS 'Leaves of the Merkle tree that checkpoints sign.';

REVOKE ALL ON FUNCTION @schema@.batch_bytes, @schema@.begin_checkpoint, @schema@.batches_without_leaf,
  @schema@.add_checkpoint FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @schema@.begin_checkpoint, @schema@.batches_without_leaf, @schema@.add_checkpoint TO @writer@;
GRANT SELECT ON @schema@.checkpoints, @schema@.leaves TO @auditor@;

-- A signed note's parts; a row with nulls where it is none. `key_id`: 4 bytes that name the signing key. Signatures of
-- others (witnesses) are left out: only those under the origin's name are the log's own.
CREATE FUNCTION @schema@.note_parts(note text)
RETURNS TABLE (origin text, size bigint, root bytea, signed text, key_id bytea, signature bytea)
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  halves text[] := regexp_match(note, '^(.*\n)\n((?:— [^[:space:]+]+ [A-Za-z0-9+/]+={0,2}\n)+)$');
  lines text[] := regexp_match(halves[1], '^([^[:space:]+]{1,200})\n(0|[1-9][0-9]{0,17})\n([A-Za-z0-9+/]{43}=)\n');
  line text[];
BEGIN
  IF lines IS NULL THEN RETURN; END IF;
  FOR line IN SELECT regexp_matches(halves[2], '— ([^[:space:]+]+) ([A-Za-z0-9+/]+={0,2})\n', 'g') LOOP
    CONTINUE WHEN line[1] <> lines[1] OR length(line[2]) % 4 <> 0;
    RETURN QUERY SELECT lines[1], lines[2]::bigint, decode(lines[3], 'base64'), halves[1],
      substr(decode(line[2], 'base64'), 1, 4), substr(decode(line[2], 'base64'), 5);
  END LOOP;
END
$$;

-- Whether one of these keys signed the note under its origin's name.
CREATE FUNCTION @schema@.note_is_signed(note text, keys jsonb) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(bool_or(@schema@.ed25519_verify(k.public_key, convert_to(p.signed, 'UTF8'), p.signature)), false)
    FROM @schema@.note_parts(note) p
    JOIN @schema@.ed25519_keys(keys) k
      ON substr(sha256(convert_to(p.origin, 'UTF8') || '\x0a01'::bytea || k.public_key), 1, 4) = p.key_id
$$;

-- Leaves against batches, roots against leaves, notes against keys. `checkpoint`: a note that was kept elsewhere.
CREATE FUNCTION @schema@.verify_checkpoints(checkpoint text, given jsonb)
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
    ELSIF NOT @schema@.note_is_signed(one.note, keys) THEN
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

CREATE OR REPLACE FUNCTION @schema@.verify(
  "from" timestamptz DEFAULT NULL,
  "to" timestamptz DEFAULT NULL,
  checkpoint text DEFAULT NULL,
  keys jsonb DEFAULT NULL,
  "full" boolean DEFAULT false
) RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
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
    SELECT s.stream, s.seq, s."check", s.ok, s.detail
      FROM @schema@.verify_signatures(coalesce("from", '-infinity'), coalesce("to", 'infinity'), keys, "full") s;
  RETURN QUERY
    SELECT c.stream, c.seq, c."check", c.ok, c.detail FROM @schema@.verify_checkpoints(checkpoint, keys) c;
END
$$;
COMMENT ON FUNCTION @schema@.verify IS
  'Checks the log: a row for each check made and one for each finding; ok is false where something was altered. SELECT * FROM verify() WHERE NOT ok must be empty. checkpoint: a signed note that was kept elsewhere; keys: the installation''s public keys as a JWK set; full: every signature, not a sample.';
REVOKE ALL ON FUNCTION @schema@.note_parts, @schema@.note_is_signed, @schema@.verify_checkpoints FROM PUBLIC;
