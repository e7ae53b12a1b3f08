import type { Cannot, Client } from '../frame/client.ts';

/** Debian's Python, for which Debian's packages are; another one on the PATH does not see them. */
const PYTHON = '/usr/bin/python3';

export const pythonClients: readonly Client[] = [
  python('psycopg2', 'psycopg2', 'python3-psycopg2', {
    introspect: 'it asks the catalog nothing by itself',
  }),
  python('psycopg 3', 'psycopg', 'python3-psycopg', {}, 'psycopg3'),
  python('asyncpg', 'asyncpg', 'python3-asyncpg'),
  python(
    'SQLAlchemy',
    'sqlalchemy, psycopg2',
    'python3-sqlalchemy python3-psycopg2',
    {
      prepared: 'it leaves this to the driver, and psycopg2 has none',
    },
    'sqlalchemy',
  ),
];

function python(name: string, modules: string, debian: string, cannot: Cannot = {}, file = name): Client {
  return {
    name,
    folder: new URL('.', import.meta.url),
    command: [PYTHON, '-B', `with_${file}.py`],
    present: [PYTHON, '-c', `import ${modules}`],
    install: `apt-get install ${debian}`,
    cannot,
  };
}
