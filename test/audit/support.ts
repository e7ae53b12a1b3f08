import { createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { jwkThumbprint } from '../../src/audit/chain/thumbprint.ts';
import type { Entry, EventEntry, IntentEntry, OutcomeEntry, SessionFacts } from '../../src/audit/entry.ts';
import type { AuditLogger } from '../../src/audit/logger.ts';
import { type AuditRoles, migrateAudit } from '../../src/audit/migrate.ts';
import type { LogSigner } from '../../src/audit/port.ts';
import { createDatabase, superuser, type TestDatabase } from '../support/postgres.ts';

export type AuditDatabase = TestDatabase & {
  readonly roles: AuditRoles;
  readonly writerUrl: string;
  readonly auditorUrl: string;
  readonly dropAll: () => Promise<void>;
};

/** A database with the audit schema in it and roles of its own. */
export async function createAuditDatabase(schema = 'audit'): Promise<AuditDatabase> {
  const database = await createDatabase('audit');
  const roles = testRoles();
  await migrateAudit({ admin: database.url, schema, roles });
  const url = (role: string, password: string) => {
    const { host, port } = superuser();
    return `postgres://${role}:${password}@${host}:${port}/${database.name}`;
  };
  return {
    ...database,
    roles,
    writerUrl: url(roles.writer.name, 'writer-secret'),
    auditorUrl: url(roles.auditor.name, 'auditor-secret'),
    dropAll: async () => {
      await database.drop();
      await dropRoles(roles);
    },
  };
}

export function testRoles(): AuditRoles {
  const suffix = randomBytes(5).toString('hex');
  return {
    owner: `audit_owner_${suffix}`,
    writer: { name: `audit_writer_${suffix}`, password: 'writer-secret' },
    auditor: { name: `audit_auditor_${suffix}`, password: 'auditor-secret' },
  };
}

export async function dropRoles(roles: AuditRoles): Promise<void> {
  const client = new pg.Client(superuser());
  await client.connect();
  for (const name of [roles.owner, roles.writer.name, roles.auditor.name]) {
    await client.query(`DROP OWNED BY ${name}; DROP ROLE ${name}`);
  }
  await client.end();
}

/** An installation's key, made here and now. */
export function makeSigner(): LogSigner {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const publicJwk = { ...publicKey.export({ format: 'jwk' }) };
  return { kid: jwkThumbprint(publicJwk), publicJwk, sign: (bytes) => sign(null, bytes, privateKey) };
}

/** The same key in two processes: made from a PKCS #8 PEM. */
export function signerFromPem(pem: string, publicJwk: Readonly<Record<string, unknown>>): LogSigner {
  const key = createPrivateKey(pem);
  return { kid: jwkThumbprint(publicJwk), publicJwk, sign: (bytes) => sign(null, bytes, key) };
}

export const SESSION: SessionFacts = {
  sessionId: 'ses_1',
  agent: 'reporter',
  owner: 'deputy',
  onBehalfOf: null,
  run: 'run-7',
  runVerified: false,
  database: 'shop',
  role: 'shop_agent',
  applicationName: 'psql',
  clientAddress: '127.0.0.1',
  tls: false,
};

export function now(): bigint {
  return BigInt(Date.now()) * 1000n;
}

export function intent(statementNo: number, change: Partial<IntentEntry> = {}): IntentEntry {
  return {
    kind: 'intent',
    at: now(),
    session: SESSION,
    statementNo,
    sql: `SELECT ${statementNo}`,
    sqlSha256: Buffer.alloc(32, statementNo % 251),
    parameters: null,
    class: 'read',
    decision: 'allow',
    rule: 'default:read',
    reasons: ['reads by key'],
    relations: ['public.orders'],
    requestId: null,
    policyDigest: 'p'.repeat(43),
    ...change,
  };
}

export function outcome(statementNo: number, change: Partial<OutcomeEntry> = {}): OutcomeEntry {
  return {
    kind: 'outcome',
    at: now(),
    session: SESSION,
    statementNo,
    requestId: null,
    outcome: 'executed',
    tag: 'SELECT 1',
    rows: 1n,
    bytes: 5n,
    durationUs: 900n,
    sqlstate: null,
    approvers: [],
    ...change,
  };
}

export function event(kind: EventEntry['kind'], change: Partial<EventEntry> = {}): EventEntry {
  return {
    kind,
    at: now(),
    session: null,
    requestId: null,
    people: [],
    receipt: null,
    detail: {},
    ...change,
  };
}

export type { Entry };

export const QUIET: AuditLogger = { info: () => {}, warn: () => {}, error: () => {} };

/** A directory for a journal, removed by the caller's `afterAll`. */
export function temporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'cs-journal-'));
}

export async function until(condition: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  for (const end = Date.now() + ms; !(await condition()); ) {
    if (Date.now() > end) throw new Error(`not so within ${ms} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
