-- For those who follow requests and come back: what changed after the revision that they saw last.
CREATE INDEX request_revision ON countersign.request (revision);
