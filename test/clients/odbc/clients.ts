import type { Client } from '../frame/client.ts';

const no = { 'copy-in': 'ODBC has no COPY', 'copy-out': 'ODBC has no COPY' };

export const odbcClients: readonly Client[] = [
  {
    name: 'psqlodbc',
    folder: new URL('.', import.meta.url),
    command: ['/usr/bin/python3', 'psqlodbc.py'],
    present: [
      '/usr/bin/python3',
      '-c',
      "import pyodbc, sys; sys.exit('PostgreSQL Unicode' not in pyodbc.drivers())",
    ],
    install: 'apt-get install odbc-postgresql unixodbc python3-pyodbc',
    cannot: no,
    timeoutMs: 300_000,
  },
];
