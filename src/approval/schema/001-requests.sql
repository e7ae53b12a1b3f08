-- Requests, verdicts and leases: the mutable side of approvals. Everything is owned by {{owner}}, which cannot log in;
-- {{writer}}, as which the proxy works, has the rights at the end of this file and no others. History is in the audit
-- schema; this one holds the present.

CREATE TABLE countersign.process (
  id text PRIMARY KEY CHECK (id <> ''),
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease_until timestamptz NOT NULL
);
COMMENT ON TABLE countersign.process IS 'Proxy processes. One whose lease is over is dead: its holds are detached, its releases unknown.';

CREATE SEQUENCE countersign.revision;

CREATE TABLE countersign.request (
  id text PRIMARY KEY CHECK (id ~ '^req_[0-9A-Za-z]{20,26}$'),
  -- Fixed at opening: {{writer}} has no UPDATE on these columns.
  agent text NOT NULL,
  owner text,
  on_behalf_of text,
  database text NOT NULL,
  role text NOT NULL,
  sql text NOT NULL,
  class text NOT NULL,
  rule text NOT NULL,
  command text NOT NULL,
  shown text NOT NULL,
  parameters text,
  binding text NOT NULL,
  digest text NOT NULL CHECK (digest = encode(sha256(convert_to(binding, 'UTF8')), 'hex')),
  attach_key text NOT NULL,
  statement_key text NOT NULL,
  nonce text NOT NULL UNIQUE,
  forbidden text[] NOT NULL,
  quorum integer NOT NULL CHECK (quorum >= 1),
  assurance smallint NOT NULL CHECK (assurance BETWEEN 1 AND 3),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  -- What moves.
  state text NOT NULL DEFAULT 'open' CHECK (state IN
    ('open', 'approved', 'denied', 'expired', 'withdrawn', 'consumed', 'executed', 'failed', 'unknown')),
  revision bigint NOT NULL DEFAULT nextval('countersign.revision'),
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  attached_by text,
  consumed_by text,
  receipt text,
  receipt_expires_at timestamptz,
  ended_at timestamptz,
  ended_by text,
  end_reason text,
  outcome text,
  -- Nobody answers for themselves: whoever asks is on the list, whatever the program put there besides.
  CONSTRAINT request_forbids_its_parties CHECK (
    agent = ANY (forbidden)
    AND (owner IS NULL OR owner = ANY (forbidden))
    AND (on_behalf_of IS NULL OR on_behalf_of = ANY (forbidden))),
  CONSTRAINT request_approved_has_receipt CHECK (
    state NOT IN ('approved', 'consumed', 'executed', 'failed', 'unknown')
    OR (receipt IS NOT NULL AND receipt_expires_at IS NOT NULL)),
  CONSTRAINT request_consumed_by_somebody CHECK (
    (state IN ('consumed', 'executed', 'failed', 'unknown')) = (consumed_by IS NOT NULL)),
  CONSTRAINT request_end_has_time CHECK (
    (state IN ('open', 'approved', 'consumed')) = (ended_at IS NULL))
);
CREATE INDEX request_live ON countersign.request (agent, attach_key) WHERE state IN ('open', 'approved', 'consumed');
CREATE INDEX request_ended ON countersign.request (agent, attach_key, ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX request_changed ON countersign.request (changed_at);
CREATE INDEX request_created ON countersign.request (created_at);

CREATE TABLE countersign.verdict (
  request_id text NOT NULL REFERENCES countersign.request (id),
  person text NOT NULL CHECK (person <> ''),
  verdict text NOT NULL CHECK (verdict IN ('approve', 'deny')),
  reason text,
  channel text NOT NULL,
  assurance smallint NOT NULL CHECK (assurance BETWEEN 1 AND 3),
  ids text[] NOT NULL,
  facts text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (request_id, person)
);

CREATE TABLE countersign.card (
  request_id text NOT NULL REFERENCES countersign.request (id),
  channel text NOT NULL,
  claimed_until timestamptz NOT NULL,
  reference text,
  PRIMARY KEY (request_id, channel)
);
COMMENT ON TABLE countersign.card IS 'Which message of a channel shows a request, so that it is posted once and updated in place.';

CREATE TABLE countersign.console_session (
  token_sha256 bytea PRIMARY KEY CHECK (length(token_sha256) = 32),
  kind text NOT NULL CHECK (kind IN ('link', 'session')),
  person text NOT NULL,
  assurance smallint NOT NULL CHECK (assurance BETWEEN 1 AND 3),
  expires_at timestamptz NOT NULL
);

-- A verdict: never by a party of the request, only while it is open and alive, and for good; the one change allowed is
-- from approve to deny.
CREATE FUNCTION countersign.verdict_guard() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  asked record;
BEGIN
  SELECT state, forbidden, expires_at INTO asked FROM countersign.request WHERE id = NEW.request_id FOR SHARE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no request %', NEW.request_id USING ERRCODE = 'foreign_key_violation';
  END IF;
  IF lower(NEW.person) = ANY (SELECT lower(name) FROM unnest(asked.forbidden) AS name) THEN
    RAISE EXCEPTION 'self approval: % is a party of request %', NEW.person, NEW.request_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'verdict_not_by_a_party';
  END IF;
  IF asked.state <> 'open' OR asked.expires_at <= clock_timestamp() THEN
    RAISE EXCEPTION 'request % takes no verdict any more', NEW.request_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'verdict_on_open_request';
  END IF;
  IF TG_OP = 'UPDATE' AND NOT (OLD.request_id = NEW.request_id AND OLD.person = NEW.person
      AND OLD.verdict = 'approve' AND NEW.verdict = 'deny') THEN
    RAISE EXCEPTION 'a verdict can only change from approve to deny'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'verdict_is_final';
  END IF;
  RETURN NEW;
END $$;

-- The state machine of src/approval/machine.ts, for whoever goes past it; and the quorum.
CREATE FUNCTION countersign.request_guard() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'open' THEN
      RAISE EXCEPTION 'a request begins open' USING ERRCODE = 'check_violation', CONSTRAINT = 'request_begins_open';
    END IF;
    RETURN NEW;
  END IF;
  IF OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
      ('open', 'approved'), ('open', 'denied'), ('open', 'expired'), ('open', 'withdrawn'),
      ('approved', 'expired'), ('approved', 'withdrawn'), ('approved', 'consumed'),
      ('consumed', 'executed'), ('consumed', 'failed'), ('consumed', 'unknown')) THEN
    RAISE EXCEPTION 'request %: no way from % to %', OLD.id, OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'request_transition';
  END IF;
  IF OLD.receipt IS NOT NULL AND (NEW.receipt IS DISTINCT FROM OLD.receipt
      OR NEW.receipt_expires_at IS DISTINCT FROM OLD.receipt_expires_at) THEN
    RAISE EXCEPTION 'request %: a receipt is never exchanged', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'request_receipt_is_final';
  END IF;
  IF OLD.consumed_by IS NOT NULL AND NEW.consumed_by IS DISTINCT FROM OLD.consumed_by THEN
    RAISE EXCEPTION 'request %: consumed once', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'request_consumed_once';
  END IF;
  IF OLD.state = 'open' AND NEW.state = 'approved' AND (
      SELECT count(*) FROM countersign.verdict v WHERE v.request_id = NEW.id AND v.verdict = 'approve') < NEW.quorum THEN
    RAISE EXCEPTION 'request %: fewer approvals than its quorum', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'request_quorum';
  END IF;
  IF NEW.state IN ('approved', 'consumed') AND OLD.state <> NEW.state AND OLD.expires_at <= clock_timestamp() THEN
    RAISE EXCEPTION 'request %: its lifetime is over', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'request_lifetime';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER verdict_guard BEFORE INSERT OR UPDATE ON countersign.verdict
  FOR EACH ROW EXECUTE FUNCTION countersign.verdict_guard();
CREATE TRIGGER request_guard BEFORE INSERT OR UPDATE ON countersign.request
  FOR EACH ROW EXECUTE FUNCTION countersign.request_guard();
-- Also under session_replication_role = replica.
ALTER TABLE countersign.verdict ENABLE ALWAYS TRIGGER verdict_guard;
ALTER TABLE countersign.request ENABLE ALWAYS TRIGGER request_guard;

REVOKE ALL ON FUNCTION countersign.verdict_guard(), countersign.request_guard() FROM PUBLIC;
GRANT USAGE ON SCHEMA countersign TO {{writer}};
GRANT USAGE ON SEQUENCE countersign.revision TO {{writer}};
GRANT SELECT, INSERT, DELETE, UPDATE (lease_until) ON countersign.process TO {{writer}};
GRANT SELECT, INSERT, UPDATE (state, revision, changed_at, attached_by, consumed_by, receipt, receipt_expires_at,
  ended_at, ended_by, end_reason, outcome) ON countersign.request TO {{writer}};
GRANT SELECT, INSERT, UPDATE (verdict, reason, channel, assurance, ids, facts, at) ON countersign.verdict TO {{writer}};
GRANT SELECT, INSERT, UPDATE (claimed_until, reference) ON countersign.card TO {{writer}};
GRANT SELECT, INSERT, DELETE ON countersign.console_session TO {{writer}};
