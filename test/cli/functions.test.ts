import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { functionsCommand } from '../../src/cli/functions.ts';
import { parseFunctions } from '../../src/config/load.ts';
import { createDatabase, superuser, type TestDatabase, withClient } from '../support/postgres.ts';

const SCHEMA = `
CREATE TABLE items (id integer PRIMARY KEY, name text, updated_at timestamptz);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION name_of(wanted integer) RETURNS text LANGUAGE sql AS 'SELECT name FROM items WHERE id = wanted';
CREATE FUNCTION purge(before date) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DELETE FROM items'; END $$;
CREATE FUNCTION boss() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM items';
CREATE FUNCTION "Odd ""name" (text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN DELETE FROM items; RETURN $1; END $$;
CREATE FUNCTION unreached() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM items; RETURN NULL; END $$;
CREATE FUNCTION hidden() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN DELETE FROM items; RETURN 1; END $$;
REVOKE EXECUTE ON FUNCTION hidden() FROM PUBLIC;
`;

let database: TestDatabase;
let directory: string;
beforeAll(async () => {
  database = await createDatabase('functions');
  await database.query(SCHEMA);
  directory = mkdtempSync(join(tmpdir(), 'cs-functions-'));
});
afterAll(async () => {
  await database?.drop();
  rmSync(directory, { recursive: true, force: true });
});

async function command(...args: string[]): Promise<string> {
  let stdout = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  const program = new Command().exitOverride();
  functionsCommand(program);
  try {
    await program.parseAsync(['node', 'countersign', 'functions', '--upstream', database.url, ...args]);
  } finally {
    vi.restoreAllMocks();
  }
  return stdout;
}
const blockOf = (text: string, name: string) =>
  text.split('\n\n').find((block) => block.startsWith(`${name}\n`)) ?? '';

describe('countersign functions', () => {
  it('says what each function is seen to do, and how agents come to it', async () => {
    const shown = await command();
    expect(shown).toMatch(/^judged under search_path public\n/);
    expect(blockOf(shown, 'public.name_of(integer)')).toMatch(/seen +proved: reads\n +reached +EXECUTE/);
    expect(blockOf(shown, 'public.touch()')).toMatch(
      /seen +proved: reads\n +reached +trigger touch of public.items/,
    );
    expect(blockOf(shown, 'public.purge(date)')).toMatch(/seen +not proved: it runs SQL that is made up/);
    expect(blockOf(shown, 'public.boss()')).toMatch(
      /not proved: it is SECURITY DEFINER[\s\S]*beware +SECURITY DEFINER/,
    );
    expect(blockOf(shown, 'public."Odd ""name"(text)')).toMatch(/not proved: it runs DELETE/);
    expect(shown).not.toContain('unreached');
    expect(await command('--all')).toContain('public.unreached()');
  });

  it('names the roles of the agents where a configuration does', async () => {
    await withClient(superuser(database.name), (client) =>
      client.query('DO $$ BEGIN CREATE ROLE functions_agent; EXCEPTION WHEN duplicate_object THEN END $$'),
    );
    const config = join(directory, 'countersign.yaml');
    writeFileSync(
      config,
      `version: 1
upstream: { url: 'postgres://x@127.0.0.1:5432/x' }
audit: { url: 'postgres://w@127.0.0.1:5432/audit' }
agents:
  - name: agent
    auth: { scram: 'SCRAM-SHA-256$4096:m4tQgDlAZI8QC/CjzmEwLQ==$+Ym59+MyludteIuQciRaCbYhC1i2unngOVUZSY+/Ieg=:VdPUznkKnJAz8+y2i/Yb80FLR9O1znCQhBjXdoakbxw=' }
    owner: owner
    upstream: { user: functions_agent }
people:
  - { id: owner, email: owner@example.com }
  - { id: approver, email: approver@example.com }
functions: missing.yaml
`,
    );
    await expect(command('--config', config)).rejects.toThrow(/functions.*no such file/s);
    writeFileSync(join(directory, 'missing.yaml'), 'functions: []\n');
    const shown = await command('--config', config);
    expect(blockOf(shown, 'public.purge(date)')).toMatch(/reached +EXECUTE \(functions_agent\)/);
    expect(shown).not.toContain('public.hidden()');
  });

  it('writes a list that vouches for nothing by itself, and keeps what people said while it is true', async () => {
    const file = join(directory, 'functions.yaml');
    await command('--write', file);
    const list = parseFunctions(file, readFileSync(file, 'utf8'));
    expect(list.map((entry) => [entry.function, entry.does])).toEqual([
      ['public."Odd ""name"(text)', 'unknown'],
      ['public.boss()', 'unknown'],
      ['public.hidden()', 'unknown'],
      ['public.purge(date)', 'unknown'],
    ]);
    const text = readFileSync(file, 'utf8');
    const vouched = text.replace(
      /(function: public\.purge\(date\)\n.*\n.*does: )unknown\n(.*by: )""/,
      '$1writes\n$2dba',
    );
    expect(vouched).not.toBe(text);
    writeFileSync(file, vouched);
    const shown = await command('--write', file);
    expect(blockOf(shown, 'public.purge(date)')).toMatch(/listed +writes, by dba/);
    expect(blockOf(shown, 'public.boss()')).toMatch(/listed +unknown/);
    expect(readFileSync(file, 'utf8')).toBe(vouched);

    await database.query(
      "CREATE OR REPLACE FUNCTION purge(before date) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DROP TABLE items'; END $$",
    );
    const after = await command('--write', file);
    expect(blockOf(after, 'public.purge(date)')).toMatch(/listed +it has changed since dba listed it/);
    const rewritten = parseFunctions(file, readFileSync(file, 'utf8'));
    expect(rewritten.find((entry) => entry.function === 'public.purge(date)')?.does).toBe('unknown');

    await database.query('DROP FUNCTION purge(date)');
    expect(await command('--write', file)).toContain('listed, but not in the database: public.purge(date)');
    expect(readFileSync(file, 'utf8')).not.toContain('purge');
  });

  it('takes no entry that vouches without a name', () => {
    const entry = `functions:\n  - { function: 'a.b()', sha256: ${'ab'.repeat(32)}, does: reads }\n`;
    expect(() => parseFunctions('list.yaml', entry)).toThrow(/who says what it does/);
  });
});
