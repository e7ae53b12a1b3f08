#!/bin/sh
# Run once by the database container: databases and roles. The agent's role is not privileged, and the audit log has a
# database of its own, which that role cannot enter.
set -eu
secrets=${SECRETS:-/run/secrets}

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
  --set admin="$(cat "$secrets/admin_password")" \
  --set writer="$(cat "$secrets/writer_password")" \
  --set auditor="$(cat "$secrets/auditor_password")" \
  --set upstream="$(cat "$secrets/upstream_password")" <<'SQL'
CREATE ROLE app_agent LOGIN PASSWORD :'upstream';
CREATE ROLE countersign_admin LOGIN CREATEROLE PASSWORD :'admin';
ALTER ROLE countersign_admin SET createrole_self_grant = 'set, inherit';
CREATE ROLE countersign_writer LOGIN PASSWORD :'writer';
CREATE ROLE countersign_auditor LOGIN PASSWORD :'auditor';
GRANT countersign_writer, countersign_auditor TO countersign_admin WITH ADMIN OPTION, INHERIT FALSE, SET FALSE;
CREATE DATABASE app;
CREATE DATABASE countersign OWNER countersign_admin;
REVOKE ALL ON DATABASE app, countersign, postgres, template1 FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE app TO app_agent;
GRANT CONNECT ON DATABASE countersign TO countersign_writer, countersign_auditor;
SQL
