-- What protects approvers: seals on verdicts, pace, putting off, and how much each agent was turned away.

-- Ed25519 by a key of the installation, over the verdict and the request's digest: a row that somebody wrote here past
-- the guard has none that fits, and a request with such a row takes no approval.
ALTER TABLE countersign.verdict ADD COLUMN seal text NOT NULL DEFAULT '';
CREATE INDEX verdict_pace ON countersign.verdict (person, at);
CREATE INDEX request_pace ON countersign.request (agent, created_at);

CREATE TABLE countersign.snooze (
  request_id text NOT NULL REFERENCES countersign.request (id),
  person text NOT NULL CHECK (person <> ''),
  until timestamptz NOT NULL,
  PRIMARY KEY (request_id, person)
);
COMMENT ON TABLE countersign.snooze IS 'Who has put off which request, for themselves alone. Says nothing about the request.';

CREATE TABLE countersign.agent_refusal (
  agent text NOT NULL,
  minute timestamptz NOT NULL,
  refused bigint NOT NULL CHECK (refused > 0),
  PRIMARY KEY (agent, minute)
);
COMMENT ON TABLE countersign.agent_refusal IS 'Requests that were not opened because the agent was over a limit, by minute; approvers are told.';

GRANT UPDATE (seal) ON countersign.verdict TO {{writer}};
GRANT SELECT, INSERT, DELETE, UPDATE (until) ON countersign.snooze TO {{writer}};
GRANT SELECT, INSERT, DELETE, UPDATE (refused) ON countersign.agent_refusal TO {{writer}};
