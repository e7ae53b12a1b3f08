import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import type { Answer, Identity } from '../../src/approval/guard.ts';
import type { ApprovalLimits } from '../../src/approval/limits.ts';
import type { Membership } from '../../src/approval/membership.ts';
import { migrateApprovals } from '../../src/approval/migrate.ts';
import type { Question } from '../../src/approval/port.ts';
import { type ApprovalHandle, openApprovals } from '../../src/approval/store.ts';
import type { Entry } from '../../src/audit/entry.ts';
import type { TransactionalAppend } from '../../src/audit/port.ts';
import type { Person } from '../../src/config/config.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { type Keys, openKeys } from '../../src/signing/keys.ts';
import { createDatabase, superuser, type TestDatabase, withClient } from '../support/postgres.ts';

export const owner: Person = {
  id: 'owner',
  email: 'owner@shop.example',
  slack: ['T1/UOLGA'],
  oidc: ['https://id.example|owner-sub'],
  groups: ['dba'],
};
export const reviewer: Person = {
  id: 'reviewer',
  email: 'reviewer@shop.example',
  slack: ['T1/UDAN', 'T2/UDAN2'],
  oidc: ['https://id.example|reviewer-sub'],
  groups: ['dba'],
};
export const deputy: Person = {
  id: 'deputy',
  email: 'deputy@shop.example',
  slack: ['T1/UEVE'],
  oidc: [],
  groups: ['security'],
};
export const principal: Person = {
  id: 'principal',
  email: 'principal@shop.example',
  slack: [],
  oidc: [],
  groups: [],
};
/** The owner owns the agent; the principal is the person it acts for in some tests. */
export const PEOPLE: readonly Person[] = [owner, reviewer, deputy, principal];

export function question(changes: Partial<Question> & { readonly text?: string } = {}): Question {
  const { text, ...rest } = changes;
  const sql = text ?? 'DROP TABLE orders';
  return {
    session: {
      sessionId: 's1',
      agent: 'shop-agent',
      owner: 'owner',
      onBehalfOf: null,
      run: 'run-1',
      runVerified: false,
      database: 'shop',
      role: 'shop_agent',
      applicationName: 'psql',
      clientAddress: '127.0.0.1',
      tls: false,
    },
    sqlBytes: Buffer.from(sql),
    sql,
    parameters: null,
    resultFormats: [],
    calls: [],
    class: 'ddl',
    rule: 'default:ddl',
    reasons: ['DROP TABLE changes the schema'],
    relations: [{ name: 'public.orders', oid: 16_400, mode: 'write' }],
    searchPath: 'public',
    policyDigest: 'policy-1',
    demand: { approvers: [], quorum: 1, assurance: 1 },
    inTransaction: false,
    command: 'DROP TABLE',
    ...rest,
  };
}

export function answer(
  requestId: string,
  person: string | readonly Identity[],
  changes: Partial<Answer> = {},
): Answer {
  return {
    requestId,
    channel: 'api',
    person: typeof person === 'string' ? [{ kind: 'person', value: person }] : person,
    verdict: 'approve',
    reason: 'looks right',
    attestation: { assurance: 1, facts: {} },
    ...changes,
  };
}

export const NOTHING = { tag: null, rows: 0n, bytes: 0n, sqlstate: null } as const;

export type ApprovalWorld = {
  readonly database: TestDatabase;
  readonly keys: Keys;
  /** Connection settings of the role as which the proxy works. */
  readonly writer: pg.ClientConfig;
  /** Another process on the same store. */
  readonly open: (options?: WorldOptions) => Promise<ApprovalHandle>;
  /** What was committed to the stand-in for the audit log, in order. */
  readonly entries: () => Promise<
    readonly {
      readonly kind: string;
      readonly request_id: string | null;
      readonly detail: Record<string, string>;
    }[]
  >;
  readonly close: () => Promise<void>;
};
export type WorldOptions = {
  readonly limits?: Partial<ApprovalLimits>;
  readonly people?: readonly Person[];
  readonly membership?: Membership;
  readonly processId?: string;
  /** Default: an address, where there are no passkeys. */
  readonly publicUrl?: string;
  readonly appendAudit?: TransactionalAppend;
};

/** A fresh database with the schema, a writer role without other rights, and a key directory. */
export async function approvalWorld(prefix: string): Promise<ApprovalWorld> {
  const database = await createDatabase(prefix);
  const suffix = randomBytes(4).toString('hex');
  const roles = { owner: `${prefix}_own_${suffix}`, writer: `${prefix}_wr_${suffix}` };
  await withClient(superuser(database.name), async (client) => {
    await migrateApprovals(client, roles);
    await client.query(`ALTER ROLE ${roles.writer} LOGIN PASSWORD 'writer'`);
    await client.query(
      `CREATE TABLE public.fake_log (n bigserial, kind text, request_id text, people text[], detail json);
       GRANT INSERT ON public.fake_log TO ${roles.writer}; GRANT USAGE ON SEQUENCE public.fake_log_n_seq TO ${roles.writer}`,
    );
  });
  const { host, port } = superuser();
  const writer = { host, port, user: roles.writer, password: 'writer', database: database.name };
  const directory = mkdtempSync(join(tmpdir(), 'cs-keys-'));
  const keys = await openKeys(directory);
  const handles = new Set<ApprovalHandle>();
  return {
    database,
    keys,
    writer,
    open: async (options = {}) => {
      const handle = await openApprovals({
        url: `postgres://${writer.user}:writer@${host}:${port}/${database.name}`,
        // What tests ask within a minute is no flood.
        limits: {
          ...DEFAULT_LIMITS,
          requestsPerMinutePerAgent: 10_000,
          approvalsPerMinutePerPerson: 10_000,
          approvalsNoticedPerMinute: 10_000,
          pollMs: 200,
          ...options.limits,
        },
        people: options.people ?? PEOPLE,
        ...(options.membership === undefined ? {} : { membership: options.membership }),
        keys,
        appendAudit: options.appendAudit ?? fakeAppend,
        log: { info: () => {}, warn: () => {}, error: () => {} },
        publicUrl: options.publicUrl ?? 'http://127.0.0.1:8080',
        processId: options.processId ?? `process-${randomBytes(4).toString('hex')}`,
      });
      handles.add(handle);
      return { ...handle, close: async () => void (handles.delete(handle) && (await handle.close())) };
    },
    entries: async () =>
      (await database.query('SELECT kind, request_id, people, detail FROM fake_log ORDER BY n')).rows,
    close: async () => {
      for (const handle of handles) await handle.close();
      await database.drop();
      await withClient(superuser(), async (client) => {
        await client.query(`DROP ROLE ${roles.writer}`);
        await client.query(`DROP ROLE ${roles.owner}`);
      });
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Stands for the audit part: rows in the caller's transaction, so that a rollback is visible. */
export async function fakeAppend(client: pg.ClientBase, entries: readonly Entry[]): Promise<void> {
  for (const entry of entries) {
    await client.query(
      'INSERT INTO public.fake_log (kind, request_id, people, detail) VALUES ($1, $2, $3, $4)',
      [
        entry.kind,
        entry.requestId,
        'people' in entry ? entry.people : [],
        JSON.stringify('detail' in entry ? entry.detail : {}),
      ],
    );
  }
}

/** Resolves once the condition holds; fails after five seconds. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 5_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error('the condition did not come to hold within 5 s');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
