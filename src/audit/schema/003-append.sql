-- The only way in. Takes a batch as arrays (of equal length; a list within is passed in array notation; a null array:
-- null in every row), stores it if it continues the stream's head, and returns the head. Called with a stream alone it
-- returns the head (no row: no such stream) and locks it until the transaction ends.
-- Errors: CSA01 a gap or an overlap, CSA02 another history, CSA03 malformed, CSA04 a hash that is not the row's.
CREATE FUNCTION @schema@.append(
  p_stream text,
  p_first_seq bigint DEFAULT NULL,
  p_prev_hash bytea DEFAULT NULL,
  p_kid text DEFAULT NULL,
  p_signature bytea DEFAULT NULL,
  p_hash bytea[] DEFAULT NULL,
  p_version smallint DEFAULT NULL,
  p_at bigint[] DEFAULT NULL,
  p_kind text[] DEFAULT NULL,
  p_session_id text[] DEFAULT NULL,
  p_agent text[] DEFAULT NULL,
  p_owner text[] DEFAULT NULL,
  p_on_behalf_of text[] DEFAULT NULL,
  p_run text[] DEFAULT NULL,
  p_run_verified boolean[] DEFAULT NULL,
  p_database text[] DEFAULT NULL,
  p_role text[] DEFAULT NULL,
  p_application_name text[] DEFAULT NULL,
  p_client_address text[] DEFAULT NULL,
  p_tls boolean[] DEFAULT NULL,
  p_statement_no bigint[] DEFAULT NULL,
  p_content bytea[] DEFAULT NULL,
  p_class text[] DEFAULT NULL,
  p_decision text[] DEFAULT NULL,
  p_rule text[] DEFAULT NULL,
  p_reasons text[] DEFAULT NULL,
  p_relations text[] DEFAULT NULL,
  p_request_id text[] DEFAULT NULL,
  p_policy_digest text[] DEFAULT NULL,
  p_outcome text[] DEFAULT NULL,
  p_tag text[] DEFAULT NULL,
  p_rows bigint[] DEFAULT NULL,
  p_bytes bigint[] DEFAULT NULL,
  p_duration_us bigint[] DEFAULT NULL,
  p_sqlstate text[] DEFAULT NULL,
  p_people text[] DEFAULT NULL,
  p_receipt text[] DEFAULT NULL,
  p_detail text[] DEFAULT NULL,
  p_salt bytea[] DEFAULT NULL,
  p_sql text[] DEFAULT NULL,
  p_sql_sha256 bytea[] DEFAULT NULL,
  p_parameters text[] DEFAULT NULL
) RETURNS TABLE (head_seq bigint, head_hash bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  head @schema@.stream;
  facts jsonb;
  n bigint := cardinality(p_hash);
  last_seq bigint := p_first_seq + n - 1;
  stored bigint;
BEGIN
  SELECT * INTO head FROM @schema@.stream s WHERE s.stream = p_stream FOR UPDATE;
  IF head.stream IS NULL THEN
    -- Two first appends to one stream: the second waits here, and then sees what the first one made.
    PERFORM pg_advisory_xact_lock(hashtextextended(p_stream, 7));
    SELECT * INTO head FROM @schema@.stream s WHERE s.stream = p_stream FOR UPDATE;
  END IF;
  IF p_hash IS NULL THEN
    RETURN QUERY SELECT head.head_seq, head.head_hash WHERE head.stream IS NOT NULL;
    RETURN;
  END IF;
  IF n = 0 OR p_first_seq IS NULL OR p_first_seq < 1 OR p_prev_hash IS NULL OR p_kid IS NULL OR p_version IS NULL
     OR p_signature IS NULL OR cardinality(p_at) IS DISTINCT FROM n OR cardinality(p_kind) IS DISTINCT FROM n THEN
    RAISE EXCEPTION 'malformed batch for stream %', p_stream USING ERRCODE = 'CSA03';
  END IF;

  IF head.stream IS NULL THEN
    IF p_first_seq <> 1 OR p_kind[1] <> 'log_start' OR p_prev_hash <> decode(repeat('00', 32), 'hex') THEN
      RAISE EXCEPTION 'stream % is not known here, and this batch (from %) does not begin it', p_stream, p_first_seq
        USING ERRCODE = 'CSA01';
    END IF;
    facts := jsonb_object(p_detail[1]::text[]);
    INSERT INTO @schema@.stream VALUES (p_stream, facts ->> 'stream_kid', (facts ->> 'stream_jwk')::jsonb,
      facts ->> 'endorsed_by', decode(facts ->> 'endorsement', 'hex'),
      facts - '{stream_kid,stream_jwk,endorsed_by,endorsement}'::text[],
      @schema@.from_microseconds(p_at[1]), last_seq, p_hash[n]);
  ELSIF last_seq <= head.head_seq THEN
    -- Sent again: fine when it is what is stored.
    SELECT count(*) INTO stored
      FROM unnest(p_hash) WITH ORDINALITY AS given(hash, ord)
      JOIN @schema@.entry e ON e.stream = p_stream AND e.seq = p_first_seq + given.ord - 1 AND e.hash = given.hash;
    IF stored <> n THEN
      RAISE EXCEPTION 'stream %: rows % to % are stored with other hashes', p_stream, p_first_seq, last_seq
        USING ERRCODE = 'CSA02';
    END IF;
    RETURN QUERY SELECT head.head_seq, head.head_hash;
    RETURN;
  ELSIF p_first_seq <> head.head_seq + 1 THEN
    RAISE EXCEPTION 'stream % ends at %, the batch begins at %', p_stream, head.head_seq, p_first_seq
      USING ERRCODE = 'CSA01';
  ELSIF p_prev_hash <> head.head_hash THEN
    RAISE EXCEPTION 'stream %: the batch continues another row % than the stored one', p_stream, head.head_seq
      USING ERRCODE = 'CSA02';
  ELSE
    UPDATE @schema@.stream s SET head_seq = last_seq, head_hash = p_hash[n] WHERE s.stream = p_stream;
  END IF;

  PERFORM @schema@.ensure_day(d.day)
    FROM (SELECT DISTINCT (@schema@.from_microseconds(t) AT TIME ZONE 'UTC')::date + ahead AS day
            FROM unnest(p_at) t, generate_series(0, 1) ahead) d;

  INSERT INTO @schema@.batch (stream, from_seq, to_seq, prev_hash, hash, kid, signature)
    VALUES (p_stream, p_first_seq, last_seq, p_prev_hash, p_hash[n], p_kid, p_signature);

  INSERT INTO @schema@.entry (version, stream, seq, at, kind, session_id, agent, owner, on_behalf_of, run, run_verified,
      database, role, application_name, client_address, tls, statement_no, content, class, decision, rule, reasons,
      relations, request_id, policy_digest, outcome, tag, rows, bytes, duration_us, sqlstate, people, receipt, detail,
      salt, sql, sql_sha256, parameters, prev_hash, hash)
    SELECT p_version, p_stream, p_first_seq + r.ord - 1, @schema@.from_microseconds(r.at), r.kind, r.session_id, r.agent,
      r.owner, r.on_behalf_of, r.run, r.run_verified, r.database, r.role, r.application_name, r.client_address, r.tls,
      r.statement_no, r.content, r.class, r.decision, r.rule, r.reasons::text[], r.relations::text[], r.request_id,
      r.policy_digest, r.outcome, r.tag, r.rows, r.bytes, r.duration_us, r.sqlstate, r.people::text[], r.receipt,
      r.detail::text[], r.salt, r.sql, r.sql_sha256, r.parameters::text[], r.prev_hash, r.hash
    FROM unnest(p_hash, p_prev_hash || p_hash[:n - 1], p_at, p_kind, p_session_id, p_agent, p_owner, p_on_behalf_of,
      p_run, p_run_verified, p_database, p_role, p_application_name, p_client_address, p_tls, p_statement_no, p_content,
      p_class, p_decision, p_rule, p_reasons, p_relations, p_request_id, p_policy_digest, p_outcome, p_tag, p_rows,
      p_bytes, p_duration_us, p_sqlstate, p_people, p_receipt, p_detail, p_salt, p_sql, p_sql_sha256, p_parameters)
      WITH ORDINALITY AS r(hash, prev_hash, at, kind, session_id, agent, owner, on_behalf_of, run, run_verified,
        database, role, application_name, client_address, tls, statement_no, content, class, decision, rule, reasons,
        relations, request_id, policy_digest, outcome, tag, rows, bytes, duration_us, sqlstate, people, receipt, detail,
        salt, sql, sql_sha256, parameters, ord);
  GET DIAGNOSTICS stored = ROW_COUNT;
  IF stored <> n THEN
    RAISE EXCEPTION 'malformed batch for stream %: arrays longer than its % rows', p_stream, n USING ERRCODE = 'CSA03';
  END IF;

  -- A row whose hash is not its own would be in the log for ever, and could not be told from an altered one.
  SELECT min(e.seq) INTO stored FROM @schema@.entry e
    WHERE e.stream = p_stream AND e.seq BETWEEN p_first_seq AND last_seq
      AND (@schema@.entry_hash(e) IS DISTINCT FROM e.hash OR @schema@.content_hash(e) IS DISTINCT FROM e.content);
  IF stored IS NOT NULL THEN
    RAISE EXCEPTION 'stream %: the hash of row % is not that of its columns', p_stream, stored USING ERRCODE = 'CSA04';
  END IF;

  IF 'key' = ANY (p_kind) THEN
    INSERT INTO @schema@.signing_key (kid, public_jwk, purpose, valid_from)
      SELECT k.facts ->> 'kid', (k.facts ->> 'public_jwk')::jsonb, k.facts ->> 'purpose', @schema@.from_microseconds(k.at)
      FROM (SELECT r.at, jsonb_object(r.detail::text[]) AS facts
              FROM unnest(p_at, p_kind, p_detail) AS r(at, kind, detail) WHERE r.kind = 'key') k
      WHERE k.facts ? 'kid' AND k.facts ? 'public_jwk' AND k.facts ? 'purpose'
      ON CONFLICT (kid) DO NOTHING;
  END IF;
  RETURN QUERY SELECT last_seq, p_hash[n];
END
$$;
COMMENT ON FUNCTION @schema@.append IS 'Appends a signed batch to a stream. The writer''s only right.';
GRANT EXECUTE ON FUNCTION @schema@.append TO @writer@;
