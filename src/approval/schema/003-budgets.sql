-- Export budgets: what agents may read within a window of time. Processes lease slices of a window's budget ahead and
-- count by themselves, so what is leased is never more than the budget, but for what people approved. A process that
-- dies takes its slices with it: they are gone until the window ends, for nobody knows what was read of them.

CREATE TABLE countersign.budget_window (
  agent text NOT NULL,
  budget text NOT NULL,
  window_start timestamptz NOT NULL,
  window_end timestamptz NOT NULL CHECK (window_end > window_start),
  -- Leased to processes and not given back, and what was taken beyond that because people approved it.
  rows_leased bigint NOT NULL DEFAULT 0 CHECK (rows_leased >= 0),
  bytes_leased bigint NOT NULL DEFAULT 0 CHECK (bytes_leased >= 0),
  -- Taken, as far as processes have told.
  rows_taken bigint NOT NULL DEFAULT 0,
  bytes_taken bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (agent, budget, window_start, window_end)
);
COMMENT ON TABLE countersign.budget_window IS 'What each agent took, and may still take, in each window of a budget.';
CREATE INDEX budget_window_end ON countersign.budget_window (window_end);

-- Part of what is left: at most all of it, at least an eighth, so that the last slices are small.
CREATE FUNCTION countersign.budget_grant(available bigint, want bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
  SELECT CASE WHEN want <= 0 THEN 0 ELSE greatest(0, least(available, greatest(want, (available + 7) / 8))) END
$$;

-- One call of one process: what it took and gives back of the window that it knows, and a slice of the present one.
-- Limits that are null do not limit. Windows are counted from 1970 on, by this server's clock alone.
CREATE FUNCTION countersign.lease_budget(
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
  INSERT INTO countersign.budget_window (agent, budget, window_start, window_end)
    VALUES (in_agent, in_budget, lease_budget.window_start, lease_budget.window_end) ON CONFLICT DO NOTHING;
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

GRANT SELECT, INSERT, UPDATE, DELETE ON countersign.budget_window TO {{writer}};
