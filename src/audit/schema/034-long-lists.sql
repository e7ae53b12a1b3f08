-- What a list costs grows with its length alone: each || copies what stands before it, so that one statement with 65,535
-- parameters, which an agent may send, held up everything behind it for seconds, or for ever.

-- As before, to the byte.
CREATE OR REPLACE FUNCTION @schema@.field_of_many(value text[]) RETURNS bytea STABLE PARALLEL SAFE
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  element text;
  encoded bytea := int4send(cardinality(value));
BEGIN
  IF array_ndims(value) <> 1 OR array_lower(value, 1) <> 1 THEN
    RETURN NULL;
  END IF;
  IF cardinality(value) > 50 THEN
    encoded := encoded || (
      SELECT string_agg(coalesce(int4send(octet_length(v.one)) || convert_to(v.one, 'UTF8'), '\xffffffff'::bytea),
               ''::bytea ORDER BY v.place)
        FROM unnest(value) WITH ORDINALITY v (one, place));
  ELSE
    FOREACH element IN ARRAY value LOOP
      encoded := encoded || coalesce(int4send(octet_length(element)) || convert_to(element, 'UTF8'), '\xffffffff'::bytea);
    END LOOP;
  END IF;
  RETURN int4send(octet_length(encoded)) || encoded;
END
$$;
