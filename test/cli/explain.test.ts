import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { afterAll, describe, expect, it, vi } from 'vitest';
import {
  type ConnectCatalog,
  explainCommand,
  explainLines,
  openExplainer,
  schemasOf,
} from '../../src/cli/explain.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { loadConfig } from '../../src/config/load.ts';
import { catalogOf } from '../statement/support.ts';

const SETUP = {
  policy: { digest: '', rules: [] },
  limits: DEFAULT_LIMITS,
  context: { agent: '', owner: null, database: '', role: '' },
  mode: 'enforce',
  connected: null,
  searchPath: ['public'],
} as const;

const explainer = await openExplainer(SETUP);
afterAll(() => explainer.close());

async function lines(input: string): Promise<unknown[]> {
  const out: string[] = [];
  await explainLines(explainer, Readable.from([input]), (line) => out.push(line));
  expect(out.every((line) => line.endsWith('\n') && line.indexOf('\n') === line.length - 1)).toBe(true);
  return out.map((line) => JSON.parse(line));
}

/** The command with a database that is made up: the catalog, and what the server says of any text. */
async function command(
  args: readonly string[],
  says: Awaited<ReturnType<ReturnType<typeof upstream>['probe']>> = null,
) {
  let stdout = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  const asked: unknown[] = [];
  const connect: ConnectCatalog = async (url, options) => {
    asked.push([url, options]);
    return upstream(says);
  };
  const program = new Command().exitOverride();
  explainCommand(program, connect);
  try {
    await program.parseAsync(['node', 'countersign', 'explain', ...args]);
  } finally {
    vi.restoreAllMocks();
  }
  return { stdout, asked };
}

type Says = Awaited<ReturnType<Awaited<ReturnType<ConnectCatalog>>['probe']>>;
const upstream = (says: Says) => ({
  catalog: catalogOf({ tables: { big: {} } }),
  scope: { searchPath: ['public'], tempPossible: false },
  probe: async () => says,
  questions: { meaning: async () => null, estimate: async () => null },
  close: async () => {},
});
const objection = (routine: string) => ({
  severity: 'ERROR',
  code: '42601',
  message: 'as the server says it',
  detail: null,
  hint: null,
  position: null,
  routine,
});

describe('explain --jsonl', () => {
  it('answers each line in its place, with the highest class', async () => {
    expect(
      await lines(
        '{"id":"a","sql":"SELECT 1; DROP TABLE t"}\nnonsense\n{"id":7,"sql":"SELECT 1"}\n\n{"sql":"SELECT 1"}\n{"id":"b","sql":"SELEC"}\n{"id":"c","sql":""}',
      ),
    ).toEqual([
      { id: 'a', class: 'ddl', decision: 'hold', rule: 'default:ddl', reasons: ['drops a table'] },
      { id: null, error: expect.stringContaining('not JSON') },
      { id: 7, class: 'read', decision: 'allow', rule: 'default:read', reasons: ['only reads'] },
      { id: null, error: expect.stringContaining('expected') },
      {
        id: 'b',
        class: 'unparsed',
        decision: 'deny',
        rule: 'default:unparsed',
        reasons: [expect.stringContaining('SELEC'), expect.stringContaining('without a database')],
      },
      {
        id: 'c',
        class: 'session',
        decision: 'allow',
        rule: 'default:session',
        reasons: ['an empty statement'],
      },
    ]);
  });

  it('a thousand lines take seconds', async () => {
    const many = Array.from({ length: 1_000 }, (_, i) =>
      JSON.stringify({ id: i, sql: `SELECT * FROM t WHERE id = ${i}` }),
    );
    const began = performance.now();
    expect(await lines(many.join('\n'))).toHaveLength(1_000);
    expect(performance.now() - began).toBeLessThan(60_000);
  });

  it('what nobody could look at is held, not left to the server', async () => {
    expect(await lines('{"id":1,"sql":"SELECT 1\\u0000; DROP TABLE t"}')).toMatchObject([
      { class: 'unparsed', decision: 'hold' },
    ]);
  });
});

describe('explain with a configuration and a database', () => {
  it('gives the database what the configuration knows of it', async () => {
    const config = fileURLToPath(new URL('../../fixtures/config/countersign.yaml', import.meta.url));
    const env = ['COUNTERSIGN_DBA_TOKEN', 'COUNTERSIGN_PROBE_PASSWORD', 'SLACK_BOT_TOKEN', 'SLACK_APP_TOKEN'];
    for (const name of env) vi.stubEnv(name, 'x'.repeat(40));
    vi.stubEnv('COUNTERSIGN_AUDIT_ADMIN_URL', 'postgres://u:p@h/audit');
    const { tags, functions, limits } = await loadConfig(config, process.env);
    expect(tags.length).toBeGreaterThan(0);
    const { asked } = await command(['--config', config, '--upstream', 'postgres://h/shop', 'SELECT 1']);
    expect(asked).toEqual([
      ['postgres://h/shop', { searchPath: null, tags, functions, limits, probeMs: limits.probeMs }],
    ]);
    vi.unstubAllEnvs();
  });
});

describe('explain "SQL"', () => {
  it('says what, which rule and why, and hides nothing', async () => {
    const { stdout } = await command(['DROP TABLE "a\u202eb"']);
    expect(stdout).toContain('decision  hold\n');
    expect(stdout).toContain('rule      default:ddl\n');
    expect((await command(['SELECT * FROM "a\u202eb"'])).stdout).toContain('read a‹U+202E›b');
  });

  it('uses the database that it is given', async () => {
    const { stdout, asked } = await command([
      '--upstream',
      'postgres://h/shop',
      '--role',
      'r',
      '--search-path',
      'app, "Q,x"',
      'SELECT * FROM big',
    ]);
    expect(asked).toEqual([['postgres://h/shop', { role: 'r', searchPath: ['app', 'Q,x'] }]]);
    expect(stdout).toContain('class     export');
  });

  it('what the server rejects as well is denied; what it reads is held', async () => {
    const args = ['--upstream', 'postgres://h/shop', 'SELEC 1'];
    expect((await command(args, objection('scanner_yyerror'))).stdout).toContain('decision  deny');
    expect((await command(args, null)).stdout).toContain('decision  hold');
    // Several commands in one Parse: it was read.
    expect((await command(args, objection('exec_parse_message'))).stdout).toContain('decision  hold');
  });

  it('wants one string, or --jsonl', async () => {
    await expect(command([])).rejects.toThrow('--jsonl');
    await expect(command(['SELECT 1', '--jsonl'])).rejects.toThrow('--jsonl');
  });

  it('reads a search path as SET does', () => {
    expect(schemasOf('app, Public ,"Mixed ""x"""')).toEqual(['app', 'public', 'Mixed "x"']);
    expect(schemasOf('')).toEqual([]);
  });
});
