import { execFile } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { migrateApprovals } from '../../src/approval/migrate.ts';
import { migrateAudit } from '../../src/audit/migrate.ts';
import { parseScramVerifier } from '../../src/config/scram-verifier.ts';
import { DEMO_PEOPLE, demoAgentUrl, demoAuditorUrl, demoConfig } from '../../src/embedded/demo-config.ts';
import {
  type EmbeddedPostgres,
  reachableByServer,
  startEmbeddedPostgres,
} from '../../src/embedded/launcher.ts';
import { DEMO, provisionDemo } from '../../src/embedded/provision.ts';
import { type DemoSecrets, demoSecrets } from '../../src/embedded/secrets.ts';
import { withClient } from '../support/postgres.ts';

// Several servers start here, one after another.
vi.setConfig({ testTimeout: 120_000 });

const directory = mkdtempSync(join(tmpdir(), 'cs-demo-'));
chmodSync(directory, 0o755);
const settings = { fsync: 'off' };
let secrets: DemoSecrets;
let server: EmbeddedPostgres;

async function start(): Promise<void> {
  secrets = demoSecrets(directory);
  server = await startEmbeddedPostgres({ directory, password: secrets.superuser, settings });
  await provisionDemo(server, secrets);
}

beforeAll(start);
afterAll(async () => {
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
});

const login = (user: string, password: string, database: string): pg.ClientConfig => ({
  host: '127.0.0.1',
  port: server.port,
  user,
  password,
  database,
});
const asAgent = <T>(work: (client: pg.Client) => Promise<T>, database: string = DEMO.shop) =>
  withClient(login(DEMO.agentRole, secrets.shopAgent, database), work);
const asSuperuser = <T>(work: (client: pg.Client) => Promise<T>, database = 'postgres') =>
  withClient(login('postgres', secrets.superuser, database), work);

describe('the sample shop', () => {
  it('has enough rows that a bulk export is one, and every payment has its order', async () => {
    const { rows } = await asAgent((client) =>
      client.query(`SELECT (SELECT count(*)::int FROM customers) AS customers, (SELECT count(*)::int FROM orders) AS orders,
        (SELECT count(*)::int FROM payments) AS payments, (SELECT count(*)::int FROM products) AS products,
        (SELECT count(*)::int FROM countries) AS countries`),
    );
    expect(rows[0]).toEqual({
      customers: 20_000,
      orders: 60_000,
      payments: 60_000,
      products: 300,
      countries: 20,
    });
  });

  it('has been analysed, with keys, and belongs to the agent’s role', async () => {
    const { rows } = await asAgent((client) =>
      client.query(`SELECT c.relname AS name, c.reltuples::int AS rows, c.relowner::regrole::text AS owner,
          (SELECT string_agg(contype::text, '' ORDER BY contype::text) FROM pg_constraint
            WHERE conrelid = c.oid AND contype IN ('p', 'f')) AS keys
        FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY 1`),
    );
    expect(rows).toEqual([
      { name: 'countries', rows: 20, owner: DEMO.agentRole, keys: 'p' },
      { name: 'customers', rows: 20_000, owner: DEMO.agentRole, keys: 'fp' },
      { name: 'orders', rows: 60_000, owner: DEMO.agentRole, keys: 'ffp' },
      { name: 'payments', rows: 60_000, owner: DEMO.agentRole, keys: 'fp' },
      { name: 'products', rows: 300, owner: DEMO.agentRole, keys: 'p' },
    ]);
  });
});

describe('the agent’s role', () => {
  it('may make tables and roles, and is no superuser', async () => {
    const { rows } = await asSuperuser((client) =>
      client.query(
        'SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = $1',
        [DEMO.agentRole],
      ),
    );
    expect(rows[0]).toEqual({
      rolsuper: false,
      rolcreaterole: true,
      rolcreatedb: false,
      rolreplication: false,
      rolbypassrls: false,
    });
    await asAgent(async (client) => {
      await client.query('BEGIN; CREATE TABLE t (i int); CREATE ROLE made_by_agent; ROLLBACK');
    });
  });

  it.each([DEMO.audit, 'postgres', 'template1'])('cannot enter the database %s', async (database) => {
    await expect(asAgent((client) => client.query('SELECT 1'), database)).rejects.toMatchObject({
      code: '42501',
    });
  });

  it('cannot become a role of the audit log, nor give itself one', async () => {
    for (const role of [DEMO.writer, DEMO.auditor, DEMO.admin]) {
      await expect(asAgent((client) => client.query(`SET ROLE ${role}`))).rejects.toMatchObject({
        code: '42501',
      });
      await expect(
        asAgent((client) => client.query(`GRANT ${role} TO ${DEMO.agentRole}`)),
      ).rejects.toMatchObject({ code: '42501' });
      await expect(
        asAgent((client) => client.query(`ALTER ROLE ${role} PASSWORD 'x'`)),
      ).rejects.toMatchObject({ code: '42501' });
    }
  });
});

describe('the demo’s configuration', () => {
  const place = () => ({
    listen: { host: '127.0.0.1', port: 1 },
    http: { host: '127.0.0.1', port: 2 },
    directory,
  });

  it('has an administrator who can bring both schemas up to date, and a writer and an auditor who can log in', async () => {
    const config = demoConfig(server, secrets, place());
    const admin = config.audit.adminUrl ?? '';
    await migrateAudit({
      admin,
      schema: config.audit.schema,
      roles: {
        owner: 'countersign_audit_owner',
        writer: { name: DEMO.writer, password: null },
        auditor: { name: DEMO.auditor, password: null },
      },
    });
    await withClient({ connectionString: admin }, (client) =>
      migrateApprovals(client, { owner: 'countersign_owner', writer: DEMO.writer }),
    );
    const who = 'SELECT current_user AS who, current_database() AS where';
    await expect(
      withClient({ connectionString: config.audit.url }, (client) => client.query(who)),
    ).resolves.toMatchObject({
      rows: [{ who: DEMO.writer, where: DEMO.audit }],
    });
    await expect(
      withClient({ connectionString: demoAuditorUrl(server, secrets) }, (client) =>
        client.query('SELECT * FROM audit.statements'),
      ),
    ).resolves.toMatchObject({ rows: [] });
  });

  it('names an owner and an approver, and a verifier instead of the agent’s password', async () => {
    const config = demoConfig(server, secrets, place());
    expect(config.people.map(({ id }) => id)).toEqual([DEMO_PEOPLE.owner, DEMO_PEOPLE.approver]);
    expect(config.agents[0]?.owner).toBe(DEMO_PEOPLE.owner);
    expect(config.http.apiKeys[0]?.person).toBe(DEMO_PEOPLE.approver);
    const auth = config.agents[0]?.auth;
    expect(auth?.kind === 'scram' && parseScramVerifier(auth.verifier)).toBeTruthy();
    expect(JSON.stringify(config)).not.toContain(secrets.agent);
    expect(JSON.stringify(config)).not.toContain(secrets.approverToken);
    expect(demoAgentUrl(secrets, { host: '127.0.0.1', port: 6432 })).toBe(
      `postgres://agent:${secrets.agent}@127.0.0.1:6432/shop`,
    );
    expect(Object.isFrozen(config.agents[0])).toBe(true);
  });
});

describe('a second start', () => {
  it('is quick, keeps passwords and data, and does not bring back what was dropped', async () => {
    await asAgent((client) =>
      client.query('DROP TABLE payments; UPDATE products SET stock = 12345 WHERE id = 300'),
    );
    const before = secrets;
    await server.stop();
    const began = performance.now();
    await start();
    // Half a second on a quiet machine; tests share theirs.
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(secrets).toEqual(before);
    const { rows } = await asAgent((client) =>
      client.query(
        "SELECT to_regclass('public.payments') AS payments, (SELECT stock FROM products WHERE id = 300) AS stock",
      ),
    );
    expect(rows[0]).toEqual({ payments: null, stock: 12_345 });
  });

  it('finds the passwords readable by their owner alone', () => {
    expect(statSync(join(directory, 'secrets.json')).mode & 0o777).toBe(0o600);
    expect(existsSync(join(directory, '.pw'))).toBe(false);
  });
});

describe('under an ordinary account', () => {
  it('the database starts, loads, and starts again', async () => {
    // Not as root: then this whole file has run under one. And only where that account can read the checkout.
    const repository = fileURLToPath(new URL('../../', import.meta.url));
    const root = process.getuid?.() === 0;
    if (root && !reachableByServer(join(repository, 'node_modules', 'tsx'))) return;
    const account = root ? { uid: 65_534, gid: 65_534 } : {};
    const home = mkdtempSync(join(tmpdir(), 'cs-nobody-'));
    if (root) chownSync(home, 65_534, 65_534);
    const run = () =>
      promisify(execFile)(
        process.execPath,
        [
          '--import',
          'tsx',
          fileURLToPath(new URL('start-demo-database.ts', import.meta.url)),
          join(home, 'data'),
        ],
        { ...account, cwd: repository, env: { PATH: process.env['PATH'], HOME: home, TMPDIR: home } },
      );
    try {
      for (const _start of ['first', 'second']) {
        const { stdout } = await run();
        expect(JSON.parse(stdout)).toEqual({
          uid: root ? 65_534 : process.getuid?.(),
          directory: join(home, 'data'),
          payments: 60_000,
        });
      }
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });
});
