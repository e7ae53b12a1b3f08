-- Approvals against their receipts: who signed what, whether the signature fits, and whether those who approved might.

-- What a receipt (compact JWS) says; null where it cannot be read. Nothing is believed because of it.
CREATE FUNCTION @schema@.receipt_claims(receipt text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  claims jsonb := convert_from(@schema@.base64url(split_part(receipt, '.', 2)), 'UTF8')::jsonb;
BEGIN
  RETURN CASE WHEN jsonb_typeof(claims) = 'object' THEN claims END;
EXCEPTION WHEN data_exception OR character_not_in_repertoire THEN
  RETURN NULL;
END
$$;

-- 'valid', or what is wrong with the receipt of a request, with the keys that the log has: some hundredths of a second.
CREATE FUNCTION @schema@.receipt_signature(receipt text, request_id text, at timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  signer text;
  revoked timestamptz;
  problem text;
BEGIN
  IF receipt IS NULL THEN RETURN NULL; END IF;
  problem := @schema@.receipt_problem(receipt, request_id,
    (SELECT jsonb_build_object('keys', jsonb_agg(k.public_jwk)) FROM @schema@.signing_key k));
  IF problem IS NOT NULL THEN RETURN problem; END IF;
  signer := convert_from(@schema@.base64url(split_part(receipt, '.', 1)), 'UTF8')::jsonb ->> 'kid';
  SELECT k.revoked_at INTO revoked FROM @schema@.signing_keys k WHERE k.kid = signer;
  IF revoked <= at THEN RETURN format('signed with a key that was revoked by then: %s', signer); END IF;
  RETURN 'valid';
END
$$;

CREATE VIEW @schema@.signed_approvals AS
  SELECT a.request_id, a.agent, a.owner, a.on_behalf_of, a.database, a.role, a.class, a.rule, a.sql, a.asked_at,
         a.decided_at, a.waited, a.verdict, a.approvers, a.reason, a.released_at, a.outcome, a.rows, a.bytes,
         o.quorum, r.assurance AS assurance_wanted,
         (SELECT min((p ->> 'assurance')::int) FROM jsonb_array_elements(c.approvers) p
           WHERE p ->> 'assurance' ~ '^[0-9]$') AS assurance,
         ARRAY(SELECT p ->> 'person' FROM jsonb_array_elements(c.approvers) WITH ORDINALITY x (p, n) ORDER BY n) AS signed_for,
         ARRAY(SELECT DISTINCT p ->> 'channel' FROM jsonb_array_elements(c.approvers) p ORDER BY 1) AS channels,
         @schema@.receipt_signature(a.receipt, a.request_id, a.decided_at) AS signature, a.receipt
    FROM @schema@.approvals a
    LEFT JOIN LATERAL (
      SELECT CASE WHEN d.facts ->> 'quorum' ~ '^[0-9]{1,4}$' THEN (d.facts ->> 'quorum')::int END AS quorum,
             CASE WHEN d.facts ->> 'assurance' ~ '^[0-9]$' THEN (d.facts ->> 'assurance')::int END AS assurance
        FROM @schema@.entry e CROSS JOIN LATERAL (SELECT jsonb_object(e.detail) AS facts) d
       WHERE e.request_id = a.request_id AND e.kind = 'request_opened' ORDER BY e.at, e.seq LIMIT 1) o ON true
   CROSS JOIN LATERAL (SELECT o.assurance) r
   CROSS JOIN LATERAL (
     SELECT CASE jsonb_typeof(@schema@.receipt_claims(a.receipt) -> 'approvers')
              WHEN 'array' THEN @schema@.receipt_claims(a.receipt) -> 'approvers' ELSE '[]' END AS approvers) c;
COMMENT ON VIEW @schema@.signed_approvals IS
  'Approvals with the people, channels and assurance that the signed receipt names, what was wanted, and the status of its signature: valid, or what is wrong with it; null: no receipt, nobody approved. With keys from the log itself: countersign verify takes those that you kept (SOC 2 CC6.1, CC6.3, CC8.1).';

-- One row for each thing that should not be, for each entry in which it is.
CREATE VIEW @schema@.segregation_of_duties AS
  WITH opened AS (
    SELECT DISTINCT ON (e.request_id) e.request_id, e.agent, e.owner, e.on_behalf_of, coalesce(e.people, '{}') AS forbidden,
           CASE WHEN d.facts ->> 'quorum' ~ '^[0-9]{1,4}$' THEN (d.facts ->> 'quorum')::int END AS quorum,
           CASE WHEN d.facts ->> 'assurance' ~ '^[0-9]$' THEN (d.facts ->> 'assurance')::int END AS assurance
      FROM @schema@.entry e CROSS JOIN LATERAL (SELECT jsonb_object(e.detail) AS facts) d
     WHERE e.kind = 'request_opened' AND e.request_id IS NOT NULL
     ORDER BY e.request_id, e.at, e.seq
  ), signed AS (
    SELECT e.request_id, e.at, e.kind, e.stream, e.seq, coalesce(e.people, '{}') AS people, e.receipt,
           CASE jsonb_typeof(c.claims -> 'approvers') WHEN 'array' THEN c.claims -> 'approvers' ELSE '[]' END AS approvers
      FROM @schema@.entry e CROSS JOIN LATERAL (SELECT @schema@.receipt_claims(e.receipt) AS claims) c
     WHERE e.kind IN ('request_approved', 'released') AND e.request_id IS NOT NULL
  ), approver AS (
    SELECT s.request_id, s.at, s.kind, s.stream, s.seq, a.one ->> 'person' AS person, a.one ->> 'assurance' AS assurance,
           CASE jsonb_typeof(a.one -> 'ids') WHEN 'array' THEN a.one -> 'ids' ELSE '[]' END AS ids, a.place
      FROM signed s CROSS JOIN LATERAL jsonb_array_elements(s.approvers) WITH ORDINALITY a (one, place)
  ), named AS (
    -- Whoever an entry says approved, whether the receipt names them or not.
    SELECT a.request_id, a.at, a.kind, a.stream, a.seq, a.person FROM approver a
    UNION
    SELECT s.request_id, s.at, s.kind, s.stream, s.seq, p.person FROM signed s CROSS JOIN LATERAL unnest(s.people) p (person)
    UNION
    SELECT e.request_id, e.at, e.kind, e.stream, e.seq, p.person
      FROM @schema@.entry e CROSS JOIN LATERAL unnest(e.people) p (person)
     WHERE e.kind = 'verdict' AND e.request_id IS NOT NULL AND jsonb_object(e.detail) ->> 'verdict' = 'approve'
  ), problem AS (
    SELECT n.request_id, n.at, n.stream, n.seq, n.person, 'own_request' AS problem,
           'approved although the agent''s owner, the one it acts for, or the agent itself' AS detail
      FROM named n JOIN opened o USING (request_id)
     WHERE n.person = ANY (o.forbidden) OR n.person IN (o.agent, o.owner, o.on_behalf_of)
    UNION ALL
    SELECT a.request_id, a.at, a.stream, a.seq, a.person, 'counted_twice', 'is in the receipt more than once'
      FROM approver a
     WHERE EXISTS (SELECT FROM approver b WHERE b.stream = a.stream AND b.seq = a.seq AND b.place < a.place
                      AND b.person = a.person)
    UNION ALL
    SELECT a.request_id, a.at, a.stream, a.seq, a.person, 'counted_twice',
           format('has an identity that %s has too: %s', b.person, i.id)
      FROM approver a
     CROSS JOIN LATERAL jsonb_array_elements_text(a.ids) i (id)
      JOIN approver b ON b.stream = a.stream AND b.seq = a.seq AND b.person <> a.person AND b.place < a.place AND b.ids ? i.id
    UNION ALL
    SELECT s.request_id, s.at, s.stream, s.seq, NULL, 'below_quorum',
           format('%s of %s people', q.people, coalesce(o.quorum, 1))
      FROM signed s
      LEFT JOIN opened o USING (request_id)
     CROSS JOIN LATERAL (SELECT count(DISTINCT a ->> 'person') AS people FROM jsonb_array_elements(s.approvers) a) q
     WHERE q.people < coalesce(o.quorum, 1)
    UNION ALL
    SELECT a.request_id, a.at, a.stream, a.seq, a.person, 'below_assurance',
           format('with assurance %s, wanted was %s', a.assurance, o.assurance)
      FROM approver a JOIN opened o USING (request_id)
     WHERE CASE WHEN a.assurance ~ '^[0-9]$' THEN a.assurance::int ELSE 0 END < o.assurance
    UNION ALL
    -- The last verdict of that person up to then is what counts.
    SELECT a.request_id, a.at, a.stream, a.seq, a.person, 'no_verdict',
           CASE WHEN v.verdict IS NULL THEN 'no verdict of this person is in the log' ELSE 'the last verdict of this person was ' || v.verdict END
      FROM approver a
      LEFT JOIN LATERAL (
        SELECT jsonb_object(e.detail) ->> 'verdict' AS verdict FROM @schema@.entry e
         WHERE e.request_id = a.request_id AND e.kind = 'verdict' AND e.people[1] = a.person
           AND (e.at < a.at OR (e.at = a.at AND (e.stream <> a.stream OR e.seq < a.seq)))
         ORDER BY e.at DESC, e.seq DESC LIMIT 1) v ON true
     WHERE v.verdict IS DISTINCT FROM 'approve'
    UNION ALL
    SELECT s.request_id, s.at, s.stream, s.seq, NULL, 'people_differ',
           format('the entry names %s, the receipt %s', array_to_string(s.people, ', '),
                  (SELECT string_agg(a ->> 'person', ', ') FROM jsonb_array_elements(s.approvers) a))
      FROM signed s
     WHERE ARRAY(SELECT DISTINCT unnest(s.people) ORDER BY 1)
           IS DISTINCT FROM ARRAY(SELECT DISTINCT a ->> 'person' FROM jsonb_array_elements(s.approvers) a ORDER BY 1)
    UNION ALL
    SELECT s.request_id, s.at, s.stream, s.seq, NULL, 'not_asked', 'no request with this number was opened'
      FROM signed s WHERE NOT EXISTS (SELECT FROM opened o WHERE o.request_id = s.request_id)
  )
  SELECT p.at, p.request_id, o.agent, o.owner, o.on_behalf_of, p.person, p.problem, p.detail, p.stream, p.seq
    FROM problem p LEFT JOIN opened o USING (request_id);
COMMENT ON VIEW @schema@.segregation_of_duties IS
  'Approvals that break the separation of duties: own_request, counted_twice, below_quorum, below_assurance, no_verdict, people_differ, not_asked. Must be empty (SOC 2 CC6.1, CC6.3, CC8.1).';

CREATE VIEW @schema@.executed_without_approval AS
  SELECT x.at, x.agent, x.owner, x.on_behalf_of, x.database, x.class, x.decision, x.rule, x.sql, x.outcome, x.request_id,
         'no_release' AS problem, 'it ran, and no request of it was released' AS detail, x.session_id, x.stream, x.seq
    FROM @schema@.unapproved_exceptions x
  UNION ALL
  SELECT s.at, s.agent, s.owner, s.on_behalf_of, s.database, s.class, s.decision, s.rule, s.sql, s.outcome, s.request_id,
         p.problem, p.detail, s.session_id, s.stream, s.seq
    FROM (SELECT e.request_id, min(e.at) AS at, (array_agg(e.receipt ORDER BY e.at, e.seq))[1] AS receipt,
                 count(*) AS times
            FROM @schema@.entry e WHERE e.kind = 'released' AND e.request_id IS NOT NULL GROUP BY e.request_id) r
    JOIN @schema@.statements s ON s.request_id = r.request_id
     AND (s.outcome IN ('executed', 'unknown') OR (s.outcome = 'failed' AND cardinality(s.approvers) > 0))
   CROSS JOIN LATERAL (SELECT @schema@.receipt_claims(r.receipt) AS claims) c
   CROSS JOIN LATERAL (
     SELECT 'no_receipt', 'it was released without a receipt that can be read' WHERE c.claims IS NULL
     UNION ALL
     SELECT 'other_request', format('its receipt is for request %s', c.claims ->> 'request')
      WHERE c.claims ->> 'request' <> r.request_id
     UNION ALL
     SELECT 'other_statement', 'its receipt is for another text'
      WHERE c.claims ->> 'sqlSha256' <> encode(s.sql_sha256, 'hex')
     UNION ALL
     SELECT 'other_agent', format('its receipt is for agent %s', c.claims ->> 'agent') WHERE c.claims ->> 'agent' <> s.agent
     UNION ALL
     SELECT 'expired', 'its receipt had expired when it was released'
      WHERE c.claims ->> 'exp' ~ '^[0-9]{1,12}$' AND to_timestamp((c.claims ->> 'exp')::double precision) < r.at
     UNION ALL
     SELECT 'not_approved', 'no approval with this receipt is in the log before it was released'
      WHERE NOT EXISTS (SELECT FROM @schema@.entry a
                         WHERE a.request_id = r.request_id AND a.kind = 'request_approved' AND a.at <= r.at
                           AND a.receipt = r.receipt)
     UNION ALL
     SELECT 'released_twice', format('it was released %s times', r.times) WHERE r.times > 1
   ) p (problem, detail);
COMMENT ON VIEW @schema@.executed_without_approval IS
  'Statements that ran although people had to approve them and did not, or approved something else: no_release, no_receipt, other_request, other_statement, other_agent, expired, not_approved, released_twice. Must be empty in mode enforce (SOC 2 CC6.1, CC7.2, CC8.1).';

REVOKE ALL ON FUNCTION @schema@.receipt_claims, @schema@.receipt_signature FROM PUBLIC;
-- A view's functions run as whoever reads it.
GRANT EXECUTE ON FUNCTION @schema@.base64url, @schema@.receipt_claims, @schema@.receipt_signature TO @auditor@;
GRANT SELECT ON @schema@.signed_approvals, @schema@.segregation_of_duties, @schema@.executed_without_approval TO @auditor@;
