-- Outgoing webhooks. What happens to a request is put here by the same transaction, so that nothing is lost, whichever
-- process does it and whether or not one is there to send it.

CREATE TABLE countersign.webhook (
  name text PRIMARY KEY CHECK (name <> ''),
  events text[] NOT NULL,
  active boolean NOT NULL
);
COMMENT ON TABLE countersign.webhook IS 'Which events which webhook of the configuration wants; where it is and its secret are in the configuration alone.';

CREATE TABLE countersign.webhook_delivery (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  webhook text NOT NULL REFERENCES countersign.webhook (name),
  message_id text NOT NULL UNIQUE DEFAULT 'msg_' || replace(gen_random_uuid()::text, '-', ''),
  event text NOT NULL,
  request_id text NOT NULL REFERENCES countersign.request (id) ON DELETE CASCADE,
  -- As it was at that moment; what never changes is read from the request.
  facts jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
  attempts integer NOT NULL DEFAULT 0,
  next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  leased_by text,
  leased_until timestamptz,
  last_status integer,
  last_error text,
  ended_at timestamptz,
  CHECK ((state = 'pending') = (ended_at IS NULL))
);
CREATE INDEX webhook_delivery_due ON countersign.webhook_delivery (webhook, next_at) WHERE state = 'pending';
CREATE INDEX webhook_delivery_order ON countersign.webhook_delivery (webhook, request_id, id) WHERE state = 'pending';
CREATE INDEX webhook_delivery_dead ON countersign.webhook_delivery (webhook, id) WHERE state = 'dead';
CREATE INDEX webhook_delivery_ended ON countersign.webhook_delivery (ended_at) WHERE ended_at IS NOT NULL;

CREATE FUNCTION countersign.webhook_outbox() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  happened text := 'request.' || CASE NEW.state
    WHEN 'open' THEN 'opened' WHEN 'consumed' THEN 'released'
    WHEN 'executed' THEN 'ended' WHEN 'failed' THEN 'ended' WHEN 'unknown' THEN 'ended' ELSE NEW.state END;
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.state = OLD.state THEN
    RETURN NULL;
  END IF;
  INSERT INTO countersign.webhook_delivery (webhook, event, request_id, facts)
    SELECT w.name, happened, NEW.id, jsonb_build_object(
             'at_ms', floor(extract(epoch FROM clock_timestamp()) * 1000), 'state', NEW.state,
             'end_reason', NEW.end_reason, 'outcome', NEW.outcome, 'verdicts',
             (SELECT coalesce(jsonb_agg(jsonb_build_object('person', v.person, 'verdict', v.verdict, 'reason', v.reason,
                       'channel', v.channel, 'assurance', v.assurance) ORDER BY v.at, v.person), '[]')
                FROM countersign.verdict v WHERE v.request_id = NEW.id))
      FROM countersign.webhook w WHERE w.active AND happened = ANY (w.events) ORDER BY w.name;
  RETURN NULL;
END $$;
CREATE TRIGGER webhook_outbox AFTER INSERT OR UPDATE OF state ON countersign.request
  FOR EACH ROW EXECUTE FUNCTION countersign.webhook_outbox();
ALTER TABLE countersign.request ENABLE ALWAYS TRIGGER webhook_outbox;

CREATE VIEW countersign.webhook_dead AS
  SELECT webhook, id, message_id, event, request_id, created_at, attempts, last_status, last_error, ended_at AS given_up_at
    FROM countersign.webhook_delivery WHERE state = 'dead' ORDER BY id;
COMMENT ON VIEW countersign.webhook_dead IS 'Messages that were given up; countersign webhooks retry sends them again.';

REVOKE ALL ON FUNCTION countersign.webhook_outbox() FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE ON countersign.webhook TO {{writer}};
GRANT SELECT, DELETE, UPDATE (state, attempts, next_at, leased_by, leased_until, last_status, last_error, ended_at)
  ON countersign.webhook_delivery TO {{writer}};
GRANT SELECT ON countersign.webhook_dead TO {{writer}};
