-- Until when the connection of a hold waits for the answer, for the people who are asked.
ALTER TABLE countersign.request ADD COLUMN waits_until timestamptz;
COMMENT ON COLUMN countersign.request.waits_until IS 'Of the hold that it was opened for, or that attached to it last.';
GRANT UPDATE (waits_until) ON countersign.request TO {{writer}};
