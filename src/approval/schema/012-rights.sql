-- Only the proxy's role leases budgets. The functions have no rights of their own, and nobody else may use this schema;
-- they do not stand open to everybody all the same.
REVOKE ALL ON FUNCTION countersign.budget_grant, countersign.lease_budget FROM PUBLIC;
GRANT EXECUTE ON FUNCTION countersign.budget_grant, countersign.lease_budget TO {{writer}};
