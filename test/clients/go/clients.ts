import type { Client, Command } from '../frame/client.ts';

/** Debian's packages are sources in the old layout: no modules, no network. */
const env = { GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOFLAGS: '' };
const folder = new URL('.', import.meta.url);
const has = (source: string): Command => ['go', 'list', source];

export const goClients: readonly Client[] = [
  {
    name: 'pgx',
    folder,
    command: ['go', 'run', 'report.go', 'pgx.go'],
    present: has('github.com/jackc/pgx/v4'),
    install: 'apt-get install golang-go golang-github-jackc-pgx-v4-dev',
    env,
    // The first run compiles the driver.
    timeoutMs: 400_000,
  },
  {
    name: 'lib/pq',
    folder,
    command: ['go', 'run', 'report.go', 'pq.go'],
    present: has('github.com/lib/pq'),
    install: 'apt-get install golang-go golang-github-lib-pq-dev',
    env,
    cannot: { 'copy-out': 'COPY TO STDOUT is not supported' },
    timeoutMs: 400_000,
  },
];
