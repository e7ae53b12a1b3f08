import type { Client } from '../frame/client.ts';

const folder = new URL('.', import.meta.url);
const install = 'apt-get install php-cli php-pgsql';

export const phpClients: readonly Client[] = [
  {
    name: 'PHP PDO',
    folder,
    command: ['php', 'pdo.php'],
    present: ['php', '-r', "exit(extension_loaded('pdo_pgsql') ? 0 : 1);"],
    install,
    cannot: { cancel: 'PDO has no cancel' },
    timeoutMs: 300_000,
  },
  {
    name: 'PHP pgsql',
    folder,
    command: ['php', 'pgsql.php'],
    present: ['php', '-r', "exit(extension_loaded('pgsql') ? 0 : 1);"],
    install,
    timeoutMs: 300_000,
  },
];
