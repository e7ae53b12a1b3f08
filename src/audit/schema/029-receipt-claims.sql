-- A receipt that cannot be read says nothing, as it was meant: what fails where a variable is declared is not caught
-- there, and made signed_approvals and what reads it fail, evidence with them.
CREATE OR REPLACE FUNCTION @schema@.receipt_claims(receipt text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  claims jsonb;
BEGIN
  claims := convert_from(@schema@.base64url(split_part(receipt, '.', 2)), 'UTF8')::jsonb;
  RETURN CASE WHEN jsonb_typeof(claims) = 'object' THEN claims END;
EXCEPTION WHEN data_exception OR character_not_in_repertoire OR program_limit_exceeded THEN
  RETURN NULL;
END
$$;
