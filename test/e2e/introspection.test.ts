import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { hasPsql } from '../support/psql.ts';
import { type Stack, startStack } from '../support/stack.ts';

const run = promisify(execFile);
const CORPUS = readFileSync(new URL('../../fixtures/statements/corpus-schema.sql', import.meta.url), 'utf8');
const ROLES = ['shop_owner', 'agent_ro', 'agent_rw', 'analyst', 'intern'];

/**
 * psql's family: what lists, what describes one thing, what shows a definition. Not `\dRs+`: it reads the connection
 * strings of subscriptions, which hold passwords; nor `\dconfig`: the proxy
 * pins settings.
 */
const LISTS =
  'd da dA dAc dAf dAo dAp db dc dC dd dD ddp dE dF dFd dFp dFt des det deu dew df dfa dfn dfp dft dfw dg di dl dL dm dn do dO dp dP dPt dPi drds drg dRp dRs ds dt dT du dv dx dX dy l z'.split(
    ' ',
  );
const PLUS_ONLY = new Set(['ddp', 'drds', 'dp', 'z', 'drg', 'dy', 'dRs']);
const PATTERNS = ['c*', 'public.*', 'no_such"B"?'];

function commands(definitions: readonly string[]): string[] {
  const out: string[] = ['\\encoding', '\\dt *.*', '\\dtvmsE+', '\\dS+ pg_class', '\\dfS+ pg_catalog.abs*'];
  for (const list of LISTS) {
    out.push(`\\${list}`);
    // What has no verbose form takes a plus as an error of psql itself, which is equal on both sides, too.
    if (!PLUS_ONLY.has(list)) out.push(`\\${list}+`);
    out.push(...PATTERNS.map((pattern) => `\\${list} ${pattern}`));
  }
  return [...out, ...definitions];
}

const DATABASES = [
  {
    name: 'the sample database',
    start: () => startStack({ limits: { holdTimeoutMs: 1_000, holdTimeoutInTransactionMs: 1_000 } }),
    definitions: ['\\d+ customers', '\\d customers', '\\d+ public.*', '\\dp customers'],
  },
  {
    name: "the corpus' database",
    start: startCorpus,
    definitions: ['\\d+ *.*', '\\d public.*', '\\d+ public.*', '\\sf public.*', '\\sv public.*'],
  },
];

async function startCorpus(): Promise<Stack> {
  const stack = await startStack({
    sample: 'SELECT 1',
    limits: { holdTimeoutMs: 1_000, holdTimeoutInTransactionMs: 1_000 },
  });
  for (const role of ROLES)
    await stack.shop.query(`CREATE ROLE ${role} NOLOGIN`).catch((error: { code?: string }) => {
      if (error.code !== '42710' && error.code !== '23505') throw error;
    });
  await stack.shop.query(CORPUS);
  // What a dump needs of each table (ACCESS SHARE), and of each schema.
  const { username } = new URL(stack.directUrl);
  await stack.shop.query(`GRANT pg_read_all_data TO ${username}`);
  return stack;
}

describe.each(DATABASES)(
  '$name is looked at through the proxy without one hold',
  ({ start, definitions }) => {
    let stack: Stack;
    const directory = mkdtempSync(join(tmpdir(), 'cs-introspection-'));
    beforeAll(async () => {
      stack = await start();
    });
    afterAll(async () => {
      await stack.close();
      rmSync(directory, { recursive: true, force: true });
    });

    it.runIf(hasPsql())(
      "psql's \\d family",
      async () => {
        const asked = commands([...definitions, ...(await ownDefinitions(stack))]);
        const script = join(directory, 'script.psql');
        writeFileSync(script, asked.map((command, at) => `\\echo '@@ ${at} '\n${command}\n`).join(''));
        const [direct, through] = await Promise.all([
          described(stack.directUrl, script),
          described(stack.agentUrl, script),
        ]);
        expect((await stack.api.open()).map(({ class: class_, sql }) => ({ class: class_, sql }))).toEqual(
          [],
        );
        expect(direct.length).toBeGreaterThan(asked.length);
        for (const [at, block] of direct.entries()) {
          // Before the first command there is nothing.
          if (CLUSTER_WIDE.test(asked[at - 1] ?? '')) continue;
          expect(steady(through[at] ?? '')).toBe(steady(block));
        }
        expect(through.length).toBe(direct.length);
      },
      240_000,
    );

    it.runIf(dumps())(
      'pg_dump --schema-only',
      async () => {
        const [direct, through] = await Promise.all([dumped(stack.directUrl), dumped(stack.agentUrl)]);
        expect((await stack.api.open()).map(({ class: class_, sql }) => ({ class: class_, sql }))).toEqual(
          [],
        );
        expect(direct).toContain('CREATE TABLE');
        expect(through).toBe(direct);
      },
      120_000,
    );
  },
);

/** pg_dump refuses servers that are newer than itself. */
function dumps(): boolean {
  const found = spawnSync('pg_dump', ['--version'], { encoding: 'utf8' });
  const version = Number(/(\d+)/.exec(found.stdout ?? '')?.[1] ?? 0);
  const { major } = inject('postgres');
  if (version >= major) return true;
  const why = version === 0 ? 'is not installed' : `of ${version} does not dump from ${major}`;
  process.stderr.write(`pg_dump ${why}: its test is left out\n`);
  return false;
}

async function dumped(url: string): Promise<string> {
  const { stdout } = await run('pg_dump', ['--schema-only', url], { maxBuffer: 64 * 1024 * 1024 });
  // A key that is drawn anew for each dump.
  return stdout.replace(/^\\(un)?restrict .*$/gm, '');
}

/** Databases, roles and tablespaces are the whole server's: other tests make and drop them meanwhile. */
const CLUSTER_WIDE = /^\\(l|du|dg|drg|drds|db)\b/;

/** Sizes change between two looks (vacuum), and with them the width of columns. */
function steady(block: string): string {
  return block
    .replace(/\d+ (bytes|[kMGT]B)/g, 'SIZE')
    .replace(/ +/g, ' ')
    .replace(/-+/g, '-');
}

/** psql's answers, one for each command, errors among them. */
async function described(url: string, script: string): Promise<string[]> {
  const { stdout } = await run('sh', ['-c', 'psql "$0" -X -f "$1" 2>&1', url, script], {
    maxBuffer: 512 * 1024 * 1024,
    env: { ...process.env, PGAPPNAME: 'introspection' },
  });
  return stdout.split('@@ ');
}

async function ownDefinitions(stack: Stack): Promise<string[]> {
  const { rows } = await stack.shop.query(
    `SELECT '\\sf+ ' || oid::regprocedure AS command FROM pg_proc
      WHERE pronamespace = 'public'::regnamespace AND prokind IN ('f', 'p')
     UNION ALL SELECT '\\sv+ ' || oid::regclass FROM pg_class
      WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'
     UNION ALL SELECT '\\d+ ' || oid::regclass FROM pg_class WHERE relnamespace = 'public'::regnamespace`,
  );
  return rows.map(({ command }) => String(command));
}
