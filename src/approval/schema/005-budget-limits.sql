-- What a window's budget is, beside what was taken of it: for the auditor, and for the people who are asked.
ALTER TABLE countersign.budget_window ADD COLUMN rows_limit bigint, ADD COLUMN bytes_limit bigint;
COMMENT ON COLUMN countersign.budget_window.rows_limit IS 'As of the last process that asked for some of it; null: not limited.';

-- One call of one process: what it took and gives back of the window that it knows, and a slice of the present one.
-- Limits that are null do not limit. Windows are counted from 1970 on, by this server's clock alone.
CREATE OR REPLACE FUNCTION countersign.lease_budget(
  in_agent text, in_budget text, window_ms bigint, rows_limit bigint, bytes_limit bigint, known_window timestamptz,
  rows_wanted bigint, bytes_wanted bigint, rows_counted bigint, bytes_counted bigint,
  rows_over bigint, bytes_over bigint, rows_back bigint, bytes_back bigint,
  OUT window_start timestamptz, OUT window_end timestamptz, OUT ends_in_ms double precision,
  OUT rows_granted bigint, OUT bytes_granted bigint, OUT rows_taken bigint, OUT bytes_taken bigint)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
  number bigint := floor(extract(epoch FROM clock_timestamp()) * 1000 / window_ms);
  present countersign.budget_window;
BEGIN
  lease_budget.window_start := to_timestamp(number * window_ms / 1000.0);
  lease_budget.window_end := to_timestamp((number + 1) * window_ms / 1000.0);
  IF known_window IS NULL THEN known_window := lease_budget.window_start; END IF;
  INSERT INTO countersign.budget_window AS b (agent, budget, window_start, window_end, rows_limit, bytes_limit)
    VALUES (in_agent, in_budget, lease_budget.window_start, lease_budget.window_end, lease_budget.rows_limit, lease_budget.bytes_limit)
    ON CONFLICT (agent, budget, window_start, window_end) DO UPDATE
      SET rows_limit = excluded.rows_limit, bytes_limit = excluded.bytes_limit
      WHERE (b.rows_limit, b.bytes_limit) IS DISTINCT FROM (excluded.rows_limit, excluded.bytes_limit);
  UPDATE countersign.budget_window b
     SET rows_leased = greatest(0, b.rows_leased + rows_over - rows_back),
         bytes_leased = greatest(0, b.bytes_leased + bytes_over - bytes_back),
         rows_taken = b.rows_taken + rows_counted, bytes_taken = b.bytes_taken + bytes_counted
   WHERE b.agent = in_agent AND b.budget = in_budget AND b.window_start = known_window
     AND b.window_end = known_window + window_ms * interval '1 millisecond'
     AND (rows_over, bytes_over, rows_back, bytes_back, rows_counted, bytes_counted) <> (0, 0, 0, 0, 0, 0);
  SELECT * INTO STRICT present FROM countersign.budget_window b
   WHERE b.agent = in_agent AND b.budget = in_budget AND b.window_start = lease_budget.window_start
     AND b.window_end = lease_budget.window_end FOR UPDATE;
  rows_granted := CASE WHEN rows_limit IS NULL THEN 0
    ELSE countersign.budget_grant(rows_limit - present.rows_leased, rows_wanted) END;
  bytes_granted := CASE WHEN bytes_limit IS NULL THEN 0
    ELSE countersign.budget_grant(bytes_limit - present.bytes_leased, bytes_wanted) END;
  IF rows_granted > 0 OR bytes_granted > 0 THEN
    UPDATE countersign.budget_window b
       SET rows_leased = b.rows_leased + lease_budget.rows_granted,
           bytes_leased = b.bytes_leased + lease_budget.bytes_granted
     WHERE b.agent = in_agent AND b.budget = in_budget AND b.window_start = lease_budget.window_start
       AND b.window_end = lease_budget.window_end;
  END IF;
  lease_budget.rows_taken := present.rows_taken;
  lease_budget.bytes_taken := present.bytes_taken;
  -- Asked again: a lock may have been waited for.
  ends_in_ms := extract(epoch FROM lease_budget.window_end - clock_timestamp()) * 1000;
END
$$;

CREATE VIEW countersign.budgets AS
  SELECT agent, budget, window_start, window_end, rows_taken, rows_limit, bytes_taken, bytes_limit
    FROM countersign.budget_window;
COMMENT ON VIEW countersign.budgets IS 'What each agent took in each window of each of its budgets, as far as processes have told.';

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {{auditor_name}}) THEN
    GRANT USAGE ON SCHEMA countersign TO {{auditor}};
    GRANT SELECT ON countersign.budgets TO {{auditor}};
  END IF;
END
$$;
GRANT SELECT ON countersign.budgets TO {{writer}};
