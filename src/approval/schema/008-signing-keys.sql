-- Which signing keys there are and were, and since when one is not to be believed. It takes trust away and gives none:
-- what is not in the key directory (or where keys.signing and keys.verifying say) verifies nothing, whatever is here.
CREATE TABLE countersign.signing_key (
  kid text PRIMARY KEY CHECK (kid ~ '^[A-Za-z0-9_-]{43}$'),
  public_jwk text NOT NULL,
  not_before timestamptz,
  retired_at timestamptz,
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  revoked_at timestamptz,
  revoked_reason text CHECK (revoked_reason IN ('compromised', 'superseded')),
  revoked_by text,
  CHECK ((revoked_at IS NULL) = (revoked_reason IS NULL))
);
COMMENT ON TABLE countersign.signing_key IS 'Public keys of the installation, with their revocation; processes believe a revocation at once.';

-- A revocation is for good; only its time may become an earlier one.
CREATE FUNCTION countersign.signing_key_guard() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF OLD.revoked_at IS NOT NULL AND (NEW.revoked_at IS NULL OR NEW.revoked_at > OLD.revoked_at
      OR (OLD.revoked_reason = 'compromised' AND NEW.revoked_reason <> 'compromised')) THEN
    RAISE EXCEPTION 'key %: a revocation is not taken back', OLD.kid
      USING ERRCODE = 'check_violation', CONSTRAINT = 'signing_key_revocation_is_final';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER signing_key_guard BEFORE UPDATE ON countersign.signing_key
  FOR EACH ROW EXECUTE FUNCTION countersign.signing_key_guard();
ALTER TABLE countersign.signing_key ENABLE ALWAYS TRIGGER signing_key_guard;

REVOKE ALL ON FUNCTION countersign.signing_key_guard() FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE (not_before, retired_at, revoked_at, revoked_reason, revoked_by)
  ON countersign.signing_key TO {{writer}};
