import type { Client } from '../frame/client.ts';

export const rubyClients: readonly Client[] = [
  {
    name: 'ruby-pg',
    folder: new URL('.', import.meta.url),
    command: ['ruby', '-Ku', 'ruby-pg.rb'],
    present: ['ruby', '-e', "require 'pg'"],
    install: 'apt-get install ruby-pg',
    timeoutMs: 300_000,
  },
];
