import type { Client } from '../frame/client.ts';

export const perlClients: readonly Client[] = [
  {
    name: 'DBD::Pg',
    folder: new URL('.', import.meta.url),
    command: ['perl', 'dbd-pg.pl'],
    present: ['perl', '-MDBD::Pg', '-MJSON::PP', '-e', '1'],
    install: 'apt-get install libdbd-pg-perl',
    timeoutMs: 300_000,
  },
];
