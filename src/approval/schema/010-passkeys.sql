-- An approval counts as given with a passkey where it has what the device signed; code verifies it, here it must be there.
ALTER TABLE countersign.verdict ADD CONSTRAINT verdict_with_passkey CHECK (
  assurance < 3 OR (verdict = 'approve' AND facts::jsonb ?& ARRAY['passkey', 'authenticatorData', 'clientDataJSON', 'signature'])
  OR verdict = 'deny') NOT VALID;

-- What a browser was asked to sign while it makes a passkey. For one use, soon, in the session that asked. A passkey
-- that was made so is trusted nowhere: it is in no table, and counts once it is in the configuration.
CREATE TABLE countersign.passkey_challenge (
  challenge_sha256 bytea PRIMARY KEY CHECK (length(challenge_sha256) = 32),
  session_sha256 bytea NOT NULL CHECK (length(session_sha256) = 32),
  expires_at timestamptz NOT NULL
);
CREATE INDEX passkey_challenge_session ON countersign.passkey_challenge (session_sha256);
GRANT SELECT, INSERT, DELETE ON countersign.passkey_challenge TO {{writer}};
