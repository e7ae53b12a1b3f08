-- The canonical form, made faster, and stricter about lists. The bytes are those of 002-canonical.sql.

-- convert_to() looks encodings up by their names, each time; half of the time went there. byteain() takes bytes as they
-- are but for backslashes, whatever the client's encoding is, and is faster for a short text: this schema is made only
-- where the server's encoding is UTF-8.
CREATE FUNCTION @schema@.utf8(value text) RETURNS bytea STABLE PARALLEL SAFE LANGUAGE sql
  RETURN CASE WHEN octet_length(value) > 48 THEN convert_to(value, 'UTF8')
              ELSE byteain(textout(replace(value, E'\\', E'\\\\'))) END;
REVOKE ALL ON FUNCTION @schema@.utf8 FROM PUBLIC;

CREATE OR REPLACE FUNCTION @schema@.field(value text) RETURNS bytea STABLE PARALLEL SAFE LANGUAGE sql
  RETURN coalesce(int4send(octet_length(value)) || @schema@.utf8(value), '\xffffffff'::bytea);

CREATE OR REPLACE FUNCTION @schema@.field(value text[]) RETURNS bytea STABLE PARALLEL SAFE LANGUAGE sql
  RETURN CASE WHEN value IS NULL THEN '\xffffffff'::bytea
              WHEN cardinality(value) = 0 THEN '\x0000000400000000'::bytea
              WHEN cardinality(value) = 1 AND value[1] IS NOT NULL THEN
                int4send(8 + octet_length(value[1])) || '\x00000001'::bytea
                || int4send(octet_length(value[1])) || @schema@.utf8(value[1])
              ELSE @schema@.field_of_many(value) END;

-- A list that is nested, or counted from another number than 1, has no such form: with the same elements it would read
-- otherwise. Null, so that the hash of its row is none, either.
CREATE OR REPLACE FUNCTION @schema@.field_of_many(value text[]) RETURNS bytea STABLE PARALLEL SAFE
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  element text;
  encoded bytea := int4send(cardinality(value));
BEGIN
  IF array_ndims(value) <> 1 OR array_lower(value, 1) <> 1 THEN
    RETURN NULL;
  END IF;
  FOREACH element IN ARRAY value LOOP
    encoded := encoded || coalesce(int4send(octet_length(element)) || convert_to(element, 'UTF8'), '\xffffffff'::bytea);
  END LOOP;
  RETURN int4send(octet_length(encoded)) || encoded;
END
$$;

-- The same fields in the same order, put together in halves, for each || copies what stands before it; and columns that
-- are null together, which those of a session are in an outcome, in one piece.
CREATE OR REPLACE FUNCTION @schema@.entry_hash(e @schema@.entry) RETURNS bytea STABLE PARALLEL SAFE LANGUAGE sql
  RETURN CASE WHEN e.version = 1 THEN sha256(
    (((e.prev_hash || '\x000000080000000000000001'::bytea || @schema@.field(e.stream))
      || (@schema@.field(e.seq) || @schema@.field(@schema@.microseconds(e.at))))
     || ((@schema@.field(e.kind) || @schema@.field(e.session_id))
      || CASE WHEN coalesce(e.agent, e.owner, e.on_behalf_of, e.run, e.database, e.role, e.application_name,
                            e.client_address) IS NULL AND coalesce(e.run_verified, e.tls) IS NULL
           -- 10 columns.
           THEN '\xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff'::bytea
           ELSE (((@schema@.field(e.agent) || @schema@.field(e.owner))
                   || (@schema@.field(e.on_behalf_of) || @schema@.field(e.run)))
                 || (@schema@.field(e.run_verified) || @schema@.field(e.database)))
                || ((@schema@.field(e.role) || @schema@.field(e.application_name))
                   || (@schema@.field(e.client_address) || @schema@.field(e.tls))) END))
    || (((@schema@.field(e.statement_no) || @schema@.field(e.content))
      || CASE WHEN coalesce(e.class, e.decision, e.rule) IS NULL AND coalesce(e.reasons, e.relations) IS NULL
           -- 5 columns.
           THEN '\xffffffffffffffffffffffffffffffffffffffff'::bytea
           ELSE ((@schema@.field(e.class) || @schema@.field(e.decision))
                  || (@schema@.field(e.rule) || @schema@.field(e.reasons))) || @schema@.field(e.relations) END
      || (@schema@.field(e.request_id) || @schema@.field(e.policy_digest)))
     || (CASE WHEN coalesce(e.outcome, e.tag, e.sqlstate) IS NULL
                   AND coalesce(e.rows, e.bytes, e.duration_us) IS NULL
           -- 6 columns.
           THEN '\xffffffffffffffffffffffffffffffffffffffffffffffff'::bytea
           ELSE ((@schema@.field(e.outcome) || @schema@.field(e.tag)) || (@schema@.field(e.rows) || @schema@.field(e.bytes)))
                || (@schema@.field(e.duration_us) || @schema@.field(e.sqlstate)) END
      || ((@schema@.field(e.people) || @schema@.field(e.receipt)) || @schema@.field(e.detail))))) END;

-- What a process needs to see that the tree in here grew out of one that it knows from elsewhere: the roots of the whole
-- subtrees of the checkpoint of that size (no row: there is none), and the hashes of the leaves after it.
CREATE FUNCTION @schema@.checkpoint_roots(p_size bigint) RETURNS TABLE (roots bytea[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.roots FROM @schema@.checkpoint c WHERE c.size = p_size
$$;
CREATE FUNCTION @schema@.leaf_hashes(p_from bigint, p_until bigint) RETURNS TABLE (index bigint, hash bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT l.index, l.hash FROM @schema@.leaf l WHERE l.index >= p_from AND l.index < p_until ORDER BY l.index
$$;
REVOKE ALL ON FUNCTION @schema@.checkpoint_roots, @schema@.leaf_hashes FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @schema@.checkpoint_roots, @schema@.leaf_hashes TO @writer@;
