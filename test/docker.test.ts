import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';
import { buildProgram } from '../src/cli/program.ts';
import type { Config } from '../src/config/config.ts';
import { loadConfig } from '../src/config/load.ts';
import { startEmbeddedPostgres } from '../src/embedded/launcher.ts';
import { withClient } from './support/postgres.ts';

const repository = fileURLToPath(new URL('../', import.meta.url));
const docker = join(repository, 'docker');
const read = (name: string) => readFileSync(join(docker, name), 'utf8');

const service = z.object({
  image: z.string(),
  build: z.object({ context: z.string(), dockerfile: z.string() }).optional(),
  secrets: z.array(z.string()),
  volumes: z.array(z.string()),
  networks: z.array(z.string()),
  environment: z.record(z.string(), z.string()).default({}),
  ports: z.array(z.string()).default([]),
});
const compose = z
  .object({
    services: z.object({ postgres: service, countersign: service }),
    networks: z.record(z.string(), z.object({ internal: z.boolean().optional() })),
    volumes: z.record(z.string(), z.object({})),
    secrets: z.record(z.string(), z.object({ file: z.string() })),
  })
  .parse(parse(read('compose.yaml')));
const { postgres, countersign } = compose.services;

/** Instructions with continued lines joined, comments left out. */
const instructions = read('Dockerfile')
  .replace(/\\\n/g, ' ')
  .split('\n')
  .filter((line) => /^[A-Z]/.test(line))
  .map((line) => ({ name: line.slice(0, line.indexOf(' ')), text: line.slice(line.indexOf(' ') + 1) }));
const argumentsOf = (name: string) => instructions.filter((one) => one.name === name).map(({ text }) => text);

const secrets = mkdtempSync(join(tmpdir(), 'cs-secrets-'));

beforeAll(() => {
  execFileSync(join(docker, 'make-secrets.sh'), [secrets], {
    cwd: repository,
    env: { ...process.env, COUNTERSIGN: `${process.execPath} --import tsx src/main.ts` },
  });
});
afterAll(() => rmSync(secrets, { recursive: true, force: true }));

describe('the Dockerfile', () => {
  it('copies what exists, and the ignore file lets it through', () => {
    const let_through = read('Dockerfile.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'));
    const sources = argumentsOf('COPY')
      .filter((text) => !text.startsWith('--from'))
      .flatMap((text) => text.split(' ').slice(0, -1));
    expect(sources).toEqual(expect.arrayContaining(['package.json', 'package-lock.json', 'src', 'scripts']));
    for (const source of sources) {
      expect(existsSync(join(repository, source)), source).toBe(true);
      expect(let_through).toContain(`!${source}`);
    }
  });

  it('copies between stages only what an earlier stage has made', () => {
    const stages = argumentsOf('FROM').map((text) => / AS (\w+)$/.exec(text)?.[1] ?? 'last');
    expect(stages.at(-1)).toBe('last');
    for (const text of argumentsOf('COPY').filter((one) => one.startsWith('--from')))
      expect(stages.slice(0, -1)).toContain(/^--from=(\w+) /.exec(text)?.[1]);
  });

  it('is built on one named image and runs as an ordinary user', () => {
    for (const text of argumentsOf('FROM')) expect(text).toMatch(/^node:20-bookworm-slim( AS \w+)?$/);
    expect(argumentsOf('USER')).toEqual(['node']);
    const order = instructions.map(({ name }) => name);
    expect(order.lastIndexOf('USER')).toBeGreaterThan(order.lastIndexOf('RUN'));
  });

  it('starts a command that the program has', async () => {
    const entry: unknown = JSON.parse(argumentsOf('ENTRYPOINT')[0] ?? '');
    const command = z.array(z.string()).parse(JSON.parse(argumentsOf('CMD')[0] ?? ''));
    expect(entry).toEqual(['node', '/app/dist/main.js']);
    const known = (await buildProgram()).commands.find((one) => one.name() === command[0]);
    expect(known?.options.map(({ long }) => long)).toContain(command[1]);
    expect(countersign.volumes).toContain(`./countersign.yaml:${command[2]}:ro`);
  });

  it('asks /livez for its health, and holds no secret', () => {
    expect(argumentsOf('HEALTHCHECK')[0]).toContain('http://127.0.0.1:8432/livez');
    expect(argumentsOf('ENV')).toEqual(['NODE_ENV=production']);
    expect(argumentsOf('ARG')).toEqual([]);
  });
});

describe('compose.yaml', () => {
  it('mounts files that exist, and volumes and networks that it declares', () => {
    for (const mount of [...postgres.volumes, ...countersign.volumes]) {
      const [source = ''] = mount.split(':');
      if (source.startsWith('.')) expect(existsSync(join(docker, source)), source).toBe(true);
      else expect(Object.keys(compose.volumes)).toContain(source);
    }
    for (const network of [...postgres.networks, ...countersign.networks])
      expect(Object.keys(compose.networks)).toContain(network);
    const { context = '', dockerfile = '' } = countersign.build ?? {};
    expect(existsSync(join(docker, context, dockerfile))).toBe(true);
  });

  it('takes every secret from a file that make-secrets.sh makes', () => {
    for (const [name, { file }] of Object.entries(compose.secrets)) {
      expect(file).toBe(`./secrets/${name}`);
      expect(statSync(join(secrets, name)).size, name).toBeGreaterThan(20);
    }
    for (const name of [...postgres.secrets, ...countersign.secrets])
      expect(Object.keys(compose.secrets)).toContain(name);
    expect(countersign.secrets).not.toContain('postgres_password');
    expect(postgres.environment).toEqual({ POSTGRES_PASSWORD_FILE: '/run/secrets/postgres_password' });
    expect(statSync(secrets).mode & 0o777).toBe(0o700);
    expect(read('secrets/.gitignore').split('\n')[0]).toBe('*');
  });

  it('lets nobody reach the database but the proxy', () => {
    expect(postgres.ports).toEqual([]);
    expect(postgres.networks.every((name) => compose.networks[name]?.internal === true)).toBe(true);
    expect(countersign.ports.every((port) => port.startsWith('127.0.0.1:'))).toBe(true);
  });
});

/** docker/countersign.yaml as the container would read it, with these secrets in the place of /run/secrets. */
async function loadDockerConfig(): Promise<Config> {
  const file = join(secrets, 'countersign.yaml');
  writeFileSync(file, read('countersign.yaml').replaceAll('/run/secrets', secrets));
  return loadConfig(file, {});
}

describe('docker/countersign.yaml', () => {
  it('loads with the secrets that the service is given', async () => {
    const named = [...read('countersign.yaml').matchAll(/\/run\/secrets\/(\w+)/g)].map((match) => match[1]);
    expect([...named].sort()).toEqual([...countersign.secrets].sort());
    const config = await loadDockerConfig();
    const published = countersign.ports.map((port) => Number(port.split(':').at(-1)));
    expect(published).toEqual([config.listen.port, config.http.port]);
    expect(config.listen.host).toBe('0.0.0.0');
    expect(countersign.volumes.map((mount) => mount.split(':')[1])).toContain(config.dataDirectory);
  });

  it('fits the database that init-database.sh makes', async () => {
    // psql is in the database's image; on this machine it may be missing, and then there is nothing to run.
    if (spawnSync('psql', ['--version']).error !== undefined) return;
    const directory = mkdtempSync(join(tmpdir(), 'cs-docker-'));
    chmodSync(directory, 0o755);
    const server = await startEmbeddedPostgres({ directory, password: 'test', settings: { fsync: 'off' } });
    try {
      execFileSync('sh', [join(docker, 'init-database.sh')], {
        env: {
          PATH: process.env['PATH'],
          SECRETS: secrets,
          PGHOST: '127.0.0.1',
          PGPORT: String(server.port),
          PGPASSWORD: 'test',
        },
      });
      const config = await loadDockerConfig();
      const here = (url: string) => url.replace('@postgres:5432', `@127.0.0.1:${server.port}`);
      const who = 'SELECT current_user AS who';
      for (const url of [config.audit.url, config.audit.adminUrl ?? '']) {
        expect(url).toContain('@postgres:5432/');
        const { rows } = await withClient({ connectionString: here(url) }, (client) => client.query(who));
        expect(rows[0].who).toBe(new URL(url).username);
      }
      const agent = config.agents[0]?.upstream;
      const asAgent = (database: string) =>
        withClient(
          {
            host: '127.0.0.1',
            port: server.port,
            user: agent?.user,
            password: agent?.password ?? '',
            database,
          },
          (client) => client.query(who),
        );
      await expect(asAgent(config.upstream.database ?? '')).resolves.toMatchObject({
        rows: [{ who: 'app_agent' }],
      });
      await expect(asAgent('countersign')).rejects.toMatchObject({ code: '42501' });
    } finally {
      await server.stop();
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
