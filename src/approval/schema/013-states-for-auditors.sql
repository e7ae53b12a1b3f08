-- What the present says of requests and verdicts, for comparison with the log (view request_differences there): no text of
-- statements, and nothing that the log has not.
CREATE VIEW countersign.request_states AS
  SELECT r.id, r.agent, r.owner, r.on_behalf_of, r.database, r.role, r.class, r.rule, r.digest,
         encode(sha256(convert_to(r.binding, 'UTF8')), 'hex') AS binding_sha256, r.forbidden, r.quorum, r.assurance,
         r.created_at, r.expires_at, r.state, r.receipt, r.ended_at, r.ended_by, r.end_reason, r.outcome
    FROM countersign.request r;
COMMENT ON VIEW countersign.request_states IS 'Requests as they stand. What happened is in the audit log.';

CREATE VIEW countersign.verdict_states AS
  SELECT v.request_id, v.person, v.verdict, v.reason, v.channel, v.assurance, v.ids, v.at FROM countersign.verdict v;
COMMENT ON VIEW countersign.verdict_states IS 'Verdicts as they stand. What was given, and when, is in the audit log.';

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {{auditor_name}}) THEN
    GRANT USAGE ON SCHEMA countersign TO {{auditor}};
    GRANT SELECT ON countersign.request_states, countersign.verdict_states TO {{auditor}};
  END IF;
END
$$;
