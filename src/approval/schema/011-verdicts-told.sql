-- Each verdict is an event of its own for webhooks, also one that changes no state: of a quorum, say.

CREATE FUNCTION countersign.webhook_put(asked countersign.request, happened text, more jsonb) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO countersign.webhook_delivery (webhook, event, request_id, facts)
    SELECT w.name, happened, asked.id, more || jsonb_build_object(
             'at_ms', floor(extract(epoch FROM clock_timestamp()) * 1000), 'state', asked.state,
             'end_reason', asked.end_reason, 'outcome', asked.outcome, 'verdicts',
             (SELECT coalesce(jsonb_agg(jsonb_build_object('person', v.person, 'verdict', v.verdict, 'reason', v.reason,
                       'channel', v.channel, 'assurance', v.assurance) ORDER BY v.at, v.person), '[]')
                FROM countersign.verdict v WHERE v.request_id = asked.id))
      FROM countersign.webhook w WHERE w.active AND happened = ANY (w.events) ORDER BY w.name
$$;

CREATE OR REPLACE FUNCTION countersign.webhook_outbox() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.state = OLD.state THEN
    RETURN NULL;
  END IF;
  PERFORM countersign.webhook_put(NEW, 'request.' || CASE NEW.state
    WHEN 'open' THEN 'opened' WHEN 'consumed' THEN 'released'
    WHEN 'executed' THEN 'ended' WHEN 'failed' THEN 'ended' WHEN 'unknown' THEN 'ended' ELSE NEW.state END, '{}');
  RETURN NULL;
END $$;

CREATE FUNCTION countersign.webhook_verdict() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  asked countersign.request;
BEGIN
  SELECT * INTO asked FROM countersign.request WHERE id = NEW.request_id;
  PERFORM countersign.webhook_put(asked, 'request.verdict', jsonb_build_object('verdict', jsonb_build_object(
    'person', NEW.person, 'verdict', NEW.verdict, 'reason', NEW.reason, 'channel', NEW.channel,
    'assurance', NEW.assurance)));
  RETURN NULL;
END $$;
CREATE TRIGGER webhook_verdict AFTER INSERT OR UPDATE ON countersign.verdict
  FOR EACH ROW EXECUTE FUNCTION countersign.webhook_verdict();
ALTER TABLE countersign.verdict ENABLE ALWAYS TRIGGER webhook_verdict;

REVOKE ALL ON FUNCTION countersign.webhook_put(countersign.request, text, jsonb), countersign.webhook_verdict() FROM PUBLIC;
