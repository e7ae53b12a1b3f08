-- Who gave out a cancel key: the upper bits of the process id that a client was given are a number in this table. Cancel
-- keys themselves are never here, in any form: they go from one process to the other sealed with keys that exist only in
-- their memories. This table has the public halves, signed by the installation.

CREATE TABLE countersign.cancel_instance (
  number integer PRIMARY KEY CHECK (number BETWEEN 1 AND 4095),
  public_key bytea NOT NULL UNIQUE CHECK (length(public_key) = 65),
  -- Of the installation's signing key, over number and public key.
  kid text NOT NULL,
  signature bytea NOT NULL CHECK (length(signature) = 64),
  lease_until timestamptz NOT NULL
);
COMMENT ON TABLE countersign.cancel_instance IS 'Processes that cancel requests are passed on to. One whose lease is over is dead, and its number is free.';

GRANT SELECT, INSERT, DELETE, UPDATE (lease_until) ON countersign.cancel_instance TO {{writer}};
