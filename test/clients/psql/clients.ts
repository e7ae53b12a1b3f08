import type { Client } from '../frame/client.ts';

export const psqlClients: readonly Client[] = [
  {
    name: 'psql',
    folder: new URL('.', import.meta.url),
    command: ['node', 'psql.mjs'],
    // util-linux' script: others take other options.
    present: ['sh', '-c', 'psql --version && script --version && script --help | grep -q -- --return'],
    install: 'apt-get install postgresql-client',
  },
];
