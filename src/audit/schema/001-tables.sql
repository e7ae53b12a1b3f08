-- The tables. Names in @…@ are put in by the runner, quoted. Everything here is owned by the owner role, who cannot
-- log in; search_path is pg_catalog while this runs.

COMMENT ON SCHEMA @schema@ IS
  'Countersign''s audit log: what agents asked of the database, who approved it, what came of it. Append-only; start with the views statements, approvals and integrity; SELECT * FROM verify() checks that nothing was altered.';

ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC;

-- One row for each entry. The hashed columns and their order: src/audit/canonical.ts and entry_hash().
CREATE TABLE @schema@.entry (
  version          smallint    NOT NULL,
  stream           text        NOT NULL,
  seq              bigint      NOT NULL CHECK (seq > 0),
  at               timestamptz NOT NULL,
  kind             text        NOT NULL,
  session_id       text,
  agent            text,
  owner            text,
  on_behalf_of     text,
  run              text,
  run_verified     boolean,
  database         text,
  role             text,
  application_name text,
  client_address   text,
  tls              boolean,
  statement_no     bigint,
  content          bytea CHECK (octet_length(content) = 32),
  class            text,
  decision         text,
  rule             text,
  reasons          text[],
  relations        text[],
  request_id       text,
  policy_digest    text,
  outcome          text,
  tag              text,
  rows             bigint,
  bytes            bigint,
  duration_us      bigint,
  sqlstate         text,
  people           text[],
  receipt          text,
  detail           text[],
  -- Beside the chain: what content is a commitment to, so that it can be erased and the chain still verifies.
  salt             bytea,
  sql              text,
  sql_sha256       bytea,
  parameters       text[],
  -- The chain: hash = sha256(prev_hash || hashed columns).
  prev_hash        bytea NOT NULL CHECK (octet_length(prev_hash) = 32),
  hash             bytea NOT NULL CHECK (octet_length(hash) = 32),
  PRIMARY KEY (stream, seq, at)
) PARTITION BY RANGE (at);
COMMENT ON TABLE @schema@.entry IS 'Entries of the log, partitioned by day (UTC). Read the views instead.';

CREATE INDEX entry_at ON @schema@.entry (at);
CREATE INDEX entry_statement ON @schema@.entry (session_id, statement_no) WHERE statement_no IS NOT NULL;
CREATE INDEX entry_request ON @schema@.entry (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX entry_kind ON @schema@.entry (kind, at) WHERE kind NOT IN ('intent', 'outcome');
CREATE INDEX entry_class ON @schema@.entry (class, at) WHERE class NOT IN ('session', 'read', 'write');

-- A stream is what one start of one process wrote (or, for entries made with a request's change, its second stream).
CREATE TABLE @schema@.stream (
  stream      text PRIMARY KEY,
  kid         text  NOT NULL,
  public_jwk  jsonb NOT NULL,
  endorsed_by text  NOT NULL,
  endorsement bytea NOT NULL,
  facts       jsonb NOT NULL,
  started_at  timestamptz NOT NULL,
  head_seq    bigint NOT NULL,
  head_hash   bytea  NOT NULL
);
COMMENT ON TABLE @schema@.stream IS 'Streams with their signing key, endorsed by the installation''s key, and their head.';

CREATE TABLE @schema@.batch (
  stream    text   NOT NULL REFERENCES @schema@.stream,
  from_seq  bigint NOT NULL,
  to_seq    bigint NOT NULL CHECK (to_seq >= from_seq),
  prev_hash bytea  NOT NULL,
  hash      bytea  NOT NULL,
  kid       text   NOT NULL,
  signature bytea  NOT NULL CHECK (octet_length(signature) = 64),
  stored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (stream, from_seq)
);
COMMENT ON TABLE @schema@.batch IS 'Signed batches of rows; the signature is Ed25519 over stream, range and both hashes.';

CREATE TABLE @schema@.signing_key (
  kid        text PRIMARY KEY,
  public_jwk jsonb NOT NULL,
  purpose    text  NOT NULL,
  valid_from timestamptz NOT NULL,
  valid_to   timestamptz
);
COMMENT ON TABLE @schema@.signing_key IS
  'Public keys of the installation, as key entries brought them. kid is the RFC 7638 thumbprint.';

-- Append-only, whoever asks. ENABLE ALWAYS: session_replication_role does not switch these off.
CREATE FUNCTION @schema@.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '%.% is append-only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'insufficient_privilege';
END
$$;

-- A stream's row changes in one way only: its head moves forward.
CREATE FUNCTION @schema@.only_forward() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.head_seq <= OLD.head_seq
     OR (NEW.stream, NEW.kid, NEW.public_jwk, NEW.endorsed_by, NEW.endorsement, NEW.facts, NEW.started_at)
        IS DISTINCT FROM
        (OLD.stream, OLD.kid, OLD.public_jwk, OLD.endorsed_by, OLD.endorsement, OLD.facts, OLD.started_at) THEN
    RAISE EXCEPTION '%.stream: only the head may move, and only forward', TG_TABLE_SCHEMA
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON @schema@.entry
  FOR EACH ROW EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON @schema@.entry
  FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON @schema@.batch
  FOR EACH ROW EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON @schema@.batch
  FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON @schema@.signing_key
  FOR EACH ROW EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON @schema@.signing_key
  FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER only_forward BEFORE UPDATE ON @schema@.stream
  FOR EACH ROW EXECUTE FUNCTION @schema@.only_forward();
CREATE TRIGGER append_only BEFORE DELETE ON @schema@.stream
  FOR EACH ROW EXECUTE FUNCTION @schema@.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON @schema@.stream
  FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_change();
ALTER TABLE @schema@.entry ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate;
ALTER TABLE @schema@.batch ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate;
ALTER TABLE @schema@.signing_key ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate;
ALTER TABLE @schema@.stream ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER only_forward,
  ENABLE ALWAYS TRIGGER no_truncate;

-- Makes the partition for a day (UTC) where it is missing. Built aside and attached, so that readers and writers of
-- the other days never wait.
CREATE FUNCTION @schema@.ensure_day(day date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  part text := 'entry_' || to_char(day, 'YYYYMMDD');
  floor timestamptz := day::timestamp AT TIME ZONE 'UTC';
  ceiling timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
  IF EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = '@schema@'::regnamespace AND c.relname = part) THEN
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('@schema@.ensure_day', 0));
  IF EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = '@schema@'::regnamespace AND c.relname = part) THEN
    RETURN;
  END IF;
  EXECUTE format('CREATE TABLE @schema@.%I (LIKE @schema@.entry INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part);
  EXECUTE format('ALTER TABLE @schema@.entry ATTACH PARTITION @schema@.%I FOR VALUES FROM (%L) TO (%L)',
                 part, floor, ceiling);
  EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON @schema@.%I
                  FOR EACH STATEMENT EXECUTE FUNCTION @schema@.refuse_change()', part);
  EXECUTE format('ALTER TABLE @schema@.%I ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate', part);
END
$$;
