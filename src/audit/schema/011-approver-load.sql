-- How much approvers are asked, and how fast they answer: fatigue is seen here before it does harm.

CREATE VIEW @schema@.approver_load AS
  WITH given AS (
    SELECT e.people[1] AS person, e.at, e.kind, jsonb_object(e.detail) ->> 'verdict' AS verdict,
           jsonb_object(e.detail) ->> 'code' AS code,
           e.at - (SELECT min(o.at) FROM @schema@.entry o
                    WHERE o.request_id = e.request_id AND o.kind = 'request_opened') AS took
      FROM @schema@.entry e
     WHERE e.kind IN ('verdict', 'verdict_refused') AND cardinality(e.people) > 0
  ), paced AS (
    SELECT g.*, count(*) FILTER (WHERE g.kind = 'verdict' AND g.verdict = 'approve') OVER (
             PARTITION BY g.person ORDER BY g.at RANGE BETWEEN interval '1 minute' PRECEDING AND CURRENT ROW) AS series
      FROM given g
  )
  SELECT p.person, (p.at AT TIME ZONE 'UTC')::date AS day,
         count(*) FILTER (WHERE p.kind = 'verdict') AS verdicts,
         count(*) FILTER (WHERE p.kind = 'verdict' AND p.verdict = 'approve') AS approvals,
         count(*) FILTER (WHERE p.kind = 'verdict' AND p.verdict = 'deny') AS denials,
         count(*) FILTER (WHERE p.kind = 'verdict_refused') AS refused,
         count(*) FILTER (WHERE p.code = 'too_fast') AS refused_too_fast,
         percentile_cont(0.5) WITHIN GROUP (ORDER BY p.took) FILTER (WHERE p.kind = 'verdict') AS median_time,
         count(*) FILTER (WHERE p.kind = 'verdict' AND p.verdict = 'approve' AND p.took <= interval '5 seconds')
           AS approvals_within_5s,
         max(p.series) AS most_approvals_in_a_minute
    FROM paced p
   GROUP BY p.person, (p.at AT TIME ZONE 'UTC')::date;
COMMENT ON VIEW @schema@.approver_load IS
  'Approvers by day (UTC): how many verdicts they gave, how long requests waited for them, and what was too fast to have been read: approvals within 5 s of the opening, and the longest series within one minute (SOC 2 CC6.1, CC7.2).';
COMMENT ON COLUMN @schema@.approver_load.median_time IS
  'From the opening of a request to this person''s verdict, the median of the day.';
COMMENT ON COLUMN @schema@.approver_load.refused IS
  'Answers of this person that the guard refused: their own requests, too fast, not on call, too late.';
COMMENT ON COLUMN @schema@.approver_load.most_approvals_in_a_minute IS
  'The most approvals within any minute; the ones up to a minute before midnight count for the day that they end in.';

GRANT SELECT ON @schema@.approver_load TO @auditor@;
