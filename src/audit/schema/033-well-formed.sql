-- What the views and checks read must be readable: one row that is not would stop them for good, for a row cannot be
-- taken back. So a batch with such a row is refused, whoever sends it: CSA03.

-- Whether a list is another than the plain one that the writer makes: the hash is over elements, whatever its shape.
CREATE FUNCTION @schema@.is_odd_list(list text[]) RETURNS boolean IMMUTABLE PARALLEL SAFE LANGUAGE sql
  RETURN array_ndims(list) > 1 OR array_lower(list, 1) <> 1;

CREATE FUNCTION @schema@.refuse_malformed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  bad record;
BEGIN
  SELECT a.stream, a.seq INTO bad
    -- OFFSET 0: what is taken out of a text is taken out once.
    FROM (SELECT a.stream, a.seq, a.reasons, a.relations, a.people, a.parameters, a.detail,
                 CASE WHEN a.kind = 'intent' AND 'facts' = ANY (a.detail)
                      THEN (jsonb_object(a.detail) ->> 'facts')::jsonb END AS facts,
                 CASE WHEN a.kind = 'outcome' AND 'rest_reasons' = ANY (a.detail)
                      THEN (jsonb_object(a.detail) ->> 'rest_reasons')::jsonb END AS rest_reasons
            FROM added a OFFSET 0) a
   WHERE @schema@.is_odd_list(a.detail) OR @schema@.is_odd_list(a.reasons) OR @schema@.is_odd_list(a.relations)
      OR @schema@.is_odd_list(a.people) OR @schema@.is_odd_list(a.parameters)
      OR cardinality(a.detail) % 2 = 1 OR array_position(a.detail, NULL) > 0
      OR array_position(a.reasons, NULL) > 0 OR array_position(a.relations, NULL) > 0
      OR array_position(a.people, NULL) > 0
      OR jsonb_typeof(a.rest_reasons) <> 'array'
      -- What the views take apart.
      OR a.facts IS NOT NULL AND (
           jsonb_typeof(a.facts) <> 'object'
           OR jsonb_typeof(a.facts -> 'tags') <> 'array' OR jsonb_typeof(a.facts -> 'functions') <> 'array'
           OR jsonb_typeof(a.facts -> 'boundary') <> 'array' OR jsonb_typeof(a.facts -> 'relations') <> 'array'
           OR a.facts @? '$.relations[*] ? (@.tags.type() != "array")')
   LIMIT 1;
  IF bad.stream IS NOT NULL THEN
    RAISE EXCEPTION 'row % of stream % is malformed', bad.seq, bad.stream USING ERRCODE = 'CSA03';
  END IF;
  RETURN NULL;
EXCEPTION WHEN data_exception THEN
  RAISE EXCEPTION 'a row is malformed: %', SQLERRM USING ERRCODE = 'CSA03';
END
$$;

CREATE TRIGGER well_formed AFTER INSERT ON @schema@.entry REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_malformed();

REVOKE ALL ON FUNCTION @schema@.is_odd_list, @schema@.refuse_malformed FROM PUBLIC;
