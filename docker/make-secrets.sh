#!/bin/sh
# Makes random passwords, the approver's token and the agent's verifier for compose.yaml; keeps what is there already.
#   docker/make-secrets.sh [DIRECTORY]
set -eu
directory=${1:-$(dirname "$0")/secrets}
mkdir -p "$directory"
# Closed to others as a directory; the files are mounted one by one, for an account that only the container has.
chmod 700 "$directory"

for name in postgres_password admin_password writer_password auditor_password upstream_password approver_token; do
  [ -s "$directory/$name" ] || head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$directory/$name"
done

if [ ! -s "$directory/agent_verifier" ]; then
  # shellcheck disable=SC2086 # a command with arguments
  ${COUNTERSIGN:-docker run --rm countersign} agent add agent --at localhost:6432 --database app >"$directory/agent.txt"
  sed -n 's/^ *scram: //p' "$directory/agent.txt" >"$directory/agent_verifier"
fi
chmod 644 "$directory"/*
echo "secrets are in $directory; the agent's connection string in agent.txt, the approver's token in approver_token"
