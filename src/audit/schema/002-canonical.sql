-- The canonical form of a row, as src/audit/canonical.ts has it: an int32 length (-1 for NULL) and the bytes; integers
-- 8 bytes big-endian, times microseconds since 1970 UTC, text UTF-8, lists a field that holds an int32 count and a
-- field for each element. Bodies are of the RETURN form: names and operators are bound now, so that no search_path can
-- shadow them later.

CREATE FUNCTION @schema@.field(value bytea) RETURNS bytea IMMUTABLE PARALLEL SAFE LANGUAGE sql
  RETURN coalesce(int4send(octet_length(value)) || value, '\xffffffff'::bytea);

CREATE FUNCTION @schema@.field(value text) RETURNS bytea STABLE PARALLEL SAFE LANGUAGE sql
  RETURN coalesce(int4send(octet_length(value)) || convert_to(value, 'UTF8'), '\xffffffff'::bytea);

CREATE FUNCTION @schema@.field(value bigint) RETURNS bytea IMMUTABLE PARALLEL SAFE LANGUAGE sql
  RETURN coalesce('\x00000008'::bytea || int8send(value), '\xffffffff'::bytea);

CREATE FUNCTION @schema@.field(value boolean) RETURNS bytea IMMUTABLE PARALLEL SAFE LANGUAGE sql
  RETURN CASE value WHEN true THEN '\x000000080000000000000001'::bytea
                    WHEN false THEN '\x000000080000000000000000'::bytea
                    ELSE '\xffffffff'::bytea END;

CREATE FUNCTION @schema@.microseconds(value timestamptz) RETURNS bigint STABLE PARALLEL SAFE LANGUAGE sql
  RETURN (extract(epoch FROM value) * 1000000)::bigint;

CREATE FUNCTION @schema@.from_microseconds(value bigint) RETURNS timestamptz STABLE PARALLEL SAFE LANGUAGE sql
  RETURN '1970-01-01 00:00:00+00'::timestamptz
         + make_interval(secs => (value / 1000000)::double precision)
         + (value % 1000000) * '00:00:00.000001'::interval;

CREATE FUNCTION @schema@.field_of_many(value text[]) RETURNS bytea STABLE PARALLEL SAFE
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  element text;
  encoded bytea := int4send(cardinality(value));
BEGIN
  FOREACH element IN ARRAY value LOOP
    encoded := encoded || coalesce(int4send(octet_length(element)) || convert_to(element, 'UTF8'), '\xffffffff'::bytea);
  END LOOP;
  RETURN int4send(octet_length(encoded)) || encoded;
END
$$;

-- The short cases are spelt out because they can be put into the calling query; most lists have one element or none.
CREATE FUNCTION @schema@.field(value text[]) RETURNS bytea STABLE PARALLEL SAFE LANGUAGE sql
  RETURN CASE WHEN value IS NULL THEN '\xffffffff'::bytea
              WHEN cardinality(value) = 0 THEN '\x0000000400000000'::bytea
              WHEN cardinality(value) = 1 AND value[1] IS NOT NULL THEN
                int4send(8 + octet_length(value[1])) || '\x00000001'::bytea
                || int4send(octet_length(value[1])) || convert_to(value[1], 'UTF8')
              ELSE @schema@.field_of_many(value) END;

-- The commitment to text, digest and parameters; null where the row has none.
CREATE FUNCTION @schema@.content_hash(e @schema@.entry) RETURNS bytea STABLE PARALLEL SAFE LANGUAGE sql
  RETURN CASE WHEN e.salt IS NULL THEN NULL ELSE sha256(
    @schema@.field(e.salt) || @schema@.field(e.sql) || @schema@.field(e.sql_sha256) || @schema@.field(e.parameters)) END;

-- The hash of a row of schema version 1; null for a version that this schema does not know.
CREATE FUNCTION @schema@.entry_hash(e @schema@.entry) RETURNS bytea STABLE PARALLEL SAFE LANGUAGE sql
  RETURN CASE WHEN e.version = 1 THEN sha256(e.prev_hash
    || @schema@.field(e.version::bigint)
    || @schema@.field(e.stream)
    || @schema@.field(e.seq)
    || @schema@.field(@schema@.microseconds(e.at))
    || @schema@.field(e.kind)
    || @schema@.field(e.session_id)
    || @schema@.field(e.agent)
    || @schema@.field(e.owner)
    || @schema@.field(e.on_behalf_of)
    || @schema@.field(e.run)
    || @schema@.field(e.run_verified)
    || @schema@.field(e.database)
    || @schema@.field(e.role)
    || @schema@.field(e.application_name)
    || @schema@.field(e.client_address)
    || @schema@.field(e.tls)
    || @schema@.field(e.statement_no)
    || @schema@.field(e.content)
    || @schema@.field(e.class)
    || @schema@.field(e.decision)
    || @schema@.field(e.rule)
    || @schema@.field(e.reasons)
    || @schema@.field(e.relations)
    || @schema@.field(e.request_id)
    || @schema@.field(e.policy_digest)
    || @schema@.field(e.outcome)
    || @schema@.field(e.tag)
    || @schema@.field(e.rows)
    || @schema@.field(e.bytes)
    || @schema@.field(e.duration_us)
    || @schema@.field(e.sqlstate)
    || @schema@.field(e.people)
    || @schema@.field(e.receipt)
    || @schema@.field(e.detail)) END;
