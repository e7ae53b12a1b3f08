-- Versions of the policy, and what rules in mode observe would have decided.

-- A version's whole text is in the chain already, as the program that put it in force recorded it.
CREATE VIEW @schema@.policies AS
  SELECT v.digest, v.rules, v.first_at, v.last_at, v.starts,
         -- Texts that were recorded before they were canonical cannot be recomputed here: null.
         CASE WHEN encode(sha256(convert_to('{"rules":' || v.rules || '}', 'UTF8')), 'hex') = v.digest THEN true
              WHEN v.canonical THEN false END AS digest_ok
    FROM (SELECT e.digest, e.rules, min(e.at) AS first_at, max(e.at) AS last_at, count(*) AS starts,
                 bool_or(e.canonical) AS canonical
            FROM (SELECT e.at, jsonb_object(e.detail) ->> 'digest' AS digest, jsonb_object(e.detail) ->> 'rules' AS rules,
                         jsonb_object(e.detail) ->> 'form' = 'rfc8785' AS canonical
                    FROM @schema@.entry e WHERE e.kind = 'policy') e
           GROUP BY e.digest, e.rules) v;
COMMENT ON VIEW @schema@.policies IS
  'Every version of the policy that was in force, whole, by the digest that each decision names: its rules as JSON text, when a process first and last put it in force, and whether the text has that digest (null: recorded by an older version) (SOC 2 CC8.1).';

-- Which statements a rule in mode observe spoke of: beside what was decided.
CREATE OR REPLACE VIEW @schema@.statements AS
  SELECT i.stream, i.seq, i.at, i.session_id, i.statement_no, i.agent, i.owner, i.on_behalf_of, i.run, i.run_verified,
         i.database, i.role, i.sql, i.sql_sha256, i.parameters, i.class, i.decision, i.rule, i.reasons, i.relations,
         coalesce(i.request_id, o.request_id) AS request_id, coalesce(o.people, '{}'::text[]) AS approvers, o.outcome,
         o.tag, o.rows, o.bytes, o.duration_us, o.sqlstate, o.at AS ended_at, o.seq AS outcome_seq,
         i.application_name, i.client_address, i.tls, i.policy_digest,
         jsonb_object(i.detail) ->> 'observed_rule' AS observed_rule,
         jsonb_object(i.detail) ->> 'observed_decision' AS observed_decision
    FROM @schema@.entry i
    LEFT JOIN @schema@.entry o
      ON o.kind = 'outcome' AND o.stream = i.stream AND o.session_id = i.session_id AND o.statement_no = i.statement_no
   WHERE i.kind = 'intent';
COMMENT ON VIEW @schema@.statements IS
  'Every statement of every agent, one row each: who, what, why it was allowed, held or denied, and what came of it (SOC 2 CC6.1, CC7.2). outcome: executed, failed, denied, expired, withdrawn, unknown (nobody can know: the process died), null (running). observed_rule: a rule in mode observe that would have decided instead.';

-- `observes`: everything (the whole program), or rule (that rule alone; decided says what happened instead).
CREATE OR REPLACE VIEW @schema@.observed AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.run, s.database, s.role, s.class, s.decision, s.rule, s.reasons,
         s.relations, s.sql, s.outcome, s.rows, s.bytes, s.policy_digest, s.session_id, s.stream, s.seq,
         'everything' AS observes, 'allow' AS decided
    FROM @schema@.statements s
   WHERE s.decision IN ('hold', 'deny') AND s.request_id IS NULL
     -- A process has one mode for its life, and says it when its stream begins.
     AND EXISTS (SELECT FROM @schema@.entry m
                  WHERE m.stream = s.stream AND m.kind = 'configuration'
                    AND jsonb_object(m.detail) ->> 'mode' = 'observe')
  UNION ALL
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.run, s.database, s.role, s.class, s.observed_decision,
         s.observed_rule, s.reasons, s.relations, s.sql, s.outcome, s.rows, s.bytes, s.policy_digest, s.session_id,
         s.stream, s.seq, 'rule', s.decision
    FROM @schema@.statements s
   WHERE s.observed_decision IN ('hold', 'deny');
COMMENT ON VIEW @schema@.observed IS
  'What mode observe let pass that the policy, or a rule of it that is in mode observe, would have held or denied: for tuning the policy before it is enforced (SOC 2 CC6.1, CC8.1).';

-- Only what ran because the whole program observes was not refused by anybody.
CREATE OR REPLACE VIEW @schema@.denials AS
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.class, s.sql,
         CASE WHEN s.decision = 'deny' THEN 'policy' WHEN s.outcome = 'denied' THEN 'person' ELSE s.outcome END
           AS refused_by,
         s.rule, s.reasons, s.approvers AS people, s.request_id, s.session_id, s.stream, s.seq
    FROM @schema@.statements s
      -- A statement that the server would reject too is a mistake, not a denial: its outcome is failed.
   WHERE (s.decision = 'deny' AND s.outcome IS DISTINCT FROM 'failed' AND s.outcome IS DISTINCT FROM 'executed'
          AND NOT EXISTS (SELECT FROM @schema@.observed o
                           WHERE o.stream = s.stream AND o.seq = s.seq AND o.observes = 'everything'))
      OR s.outcome IN ('denied', 'expired', 'withdrawn')
  UNION ALL
  SELECT e.at, e.agent, e.owner, e.on_behalf_of, e.database, e.kind, NULL, 'proxy', e.kind,
         ARRAY(SELECT d.key || ': ' || d.value FROM jsonb_each_text(jsonb_object(coalesce(e.detail, '{}'))) d),
         e.people, e.request_id, e.session_id, e.stream, e.seq
    FROM @schema@.entry e WHERE e.kind IN ('login_refused', 'protocol_violation', 'verdict_refused');

GRANT SELECT ON @schema@.policies TO @auditor@;
