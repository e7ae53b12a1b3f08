import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringLiterals } from '../../src/statement/literals.ts';
import { redactSql, showParameter, showSql } from '../../src/statement/visible.ts';
import { analysed } from './support.ts';

function shown(sql: string): string {
  const analysis = analysed(sql);
  return showSql(
    Buffer.from(sql),
    analysis.statements.flatMap(({ secrets }) => secrets),
  );
}

describe('secrets', () => {
  it.each([
    ["ALTER ROLE r PASSWORD 'hunter2'"],
    ["ALTER USER r WITH LOGIN ENCRYPTED PASSWORD 'hunter2' VALID UNTIL '2030-01-01'"],
    ["CREATE ROLE r PASSWORD E'hunter2\\'x'"],
    ['CREATE ROLE r PASSWORD $x$hunter2$x$'],
    ["CREATE ROLE r PASSWORD U&'hunter2\\0021'"],
    ["CREATE ROLE r PASSWORD /* 'not this' */ 'hunter2'"],
    ["SELECT 'é'; CREATE USER r PASSWORD 'hunter2'; SELECT 2"],
    ["CREATE ROLE r PASSWORD 'hun'\n'ter2 hunter2'"],
    ["CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (user 'u', password 'hunter2')"],
    ["ALTER USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (SET password 'hunter2')"],
    ["CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'h', password 'hunter2')"],
    ["ALTER SERVER s OPTIONS (ADD password 'hunter2')"],
    ["CREATE SUBSCRIPTION s CONNECTION 'host=h password=hunter2' PUBLICATION p"],
    ["ALTER SUBSCRIPTION s CONNECTION 'host=h password=hunter2'"],
    ["SELECT * FROM dblink('host=h password=hunter2', 'SELECT 1') AS t(a int)"],
    ["SELECT dblink_connect('name', 'host=h password=hunter2')"],
    ["SELECT dblink_exec('postgres://u:hunter2@h/d', 'DELETE FROM t')"],
    ["SELECT dblink_connect('host=h ' || 'password=hunter2')"],
    ["ALTER SYSTEM SET primary_conninfo = 'host=h password=hunter2'"],
    // Not parsed: by the words around.
    ["ALTER ROLE r PASWORD PASSWORD 'hunter2' nonsense"],
    ["CREATE ROLE r PASSWORD 'hunter2' 'hunter2'"],
    ["CREATE ROLE r PASSWORD 'hunter2"],
    ["ALTER ROLE r PASWORD 'hunter2'"],
    ["ALTER USER r IDENTIFIED BY 'hunter2'"],
    ['ALTER USER r IDENTIFIED BY hunter2'],
    ['ALTER ROLE r WITH PASSWORD "hunter2"'],
    ['CREATE USER r WITH PASSWORD hunter2'],
    // Put together of parts, or given as a parameter.
    ["SELECT dblink_connect('name', 'host=h password=' || 'hunter2')"],
    // In code.
    ["DO $$ BEGIN CREATE ROLE r LOGIN PASSWORD 'hunter2'; END $$"],
    [
      "DO $x$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'r') THEN /* ; */ CREATE USER \"r;\" PASSWORD E'hunter2'; END IF; END $x$",
    ],
    ["DO $$ BEGIN EXECUTE 'ALTER ROLE r PASSWORD ''hunter2'' VALID UNTIL ''infinity'''; END $$"],
    ["CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ ALTER ROLE r PASSWORD 'hunter2' $$"],
    [
      "DO $$ BEGIN create role r with login connection limit 3 valid until '2030-01-01' password 'hunter2'; END $$",
    ],
    ["DO 'BEGIN ALTER ROLE r PASSWORD ''hunter2''; END'"],
    ["CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (table_name 'x', password 'hunter2')"],
    ["IMPORT FOREIGN SCHEMA s FROM SERVER s INTO p OPTIONS (password 'hunter2')"],
    ["ALTER FOREIGN DATA WRAPPER w OPTIONS (SET password 'hunter2')"],
  ])('%s', (sql) => {
    expect(shown(sql)).not.toContain('hunter2');
    expect(shown(sql)).toMatch(/‹secret, \d+ bytes›/);
    expect(JSON.stringify(analysed(sql).reasons)).not.toContain('hunter2');
    expect(JSON.stringify(analysed(sql).syntaxError)).not.toContain('hunter2');
  });

  it.each([
    // Whatever is not certain to be a password could be code, and is shown.
    "DO $$ BEGIN EXECUTE /* CREATE ROLE r PASSWORD */ 'DROP TABLE hunter2'; END $$",
    "DO $$ BEGIN EXECUTE -- CREATE ROLE r PASSWORD\n 'DROP TABLE hunter2'; END $$",
    `DO $$ BEGIN EXECUTE "create user x".password 'DROP TABLE hunter2'; END $$`,
    "DO $$ BEGIN ALTER ROLE r NOLOGIN; EXECUTE password 'DROP TABLE hunter2'; END $$",
    "DO $$ BEGIN PERFORM 'alter role r password '; EXECUTE 'DROP TABLE hunter2'; END $$",
    "DO $$ BEGIN EXECUTE (SELECT p FROM (SELECT alter role, password 'DROP TABLE hunter2' p FROM t) x); END $$",
    "DO $$ BEGIN EXECUTE (SELECT alter role UNION SELECT password 'DROP TABLE hunter2'); END $$",
    "DO $$ BEGIN EXECUTE '-- ALTER ROLE r PASSWORD ''\nDROP TABLE hunter2; --'''; END $$",
    "DO $$ BEGIN EXECUTE '/* ALTER ROLE r PASSWORD '' */ DROP TABLE hunter2; /* '' */'; END $$",
    "DO $$ BEGIN EXECUTE 'SELECT $a$ ALTER ROLE r PASSWORD ''$a$; DROP TABLE hunter2; --'''; END $$",
    "DO $$ BEGIN EXECUTE 'SELECT ''x''; ALTER ROLE r NOLOGIN; DROP TABLE hunter2'; END $$",
    "CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (table_name 'hunter2')",
    // Read by another language's rules, the literal is code.
    'DO LANGUAGE plpython3u $$\n# create role r password \'\nplpy.execute("DROP TABLE hunter2")\n# \'\n$$',
    "CREATE FUNCTION f() RETURNS void LANGUAGE plperlu AS $$ # create role r password '\n hunter2(); # '\n $$",
    // A value that is not run as it is.
    "DO $$ BEGIN EXECUTE substr('create role r password ''DROP TABLE hunter2''', 25, 18); END $$",
    "DO $$ DECLARE t text := 'create role r password ''DROP TABLE hunter2'''; BEGIN EXECUTE substr(t, 25, 18); END $$",
    "CREATE FUNCTION f(t text DEFAULT 'create role r password ''DROP TABLE hunter2''') RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE substr(t, 25, 18); END $$",
    "CREATE FUNCTION f(t text DEFAULT $a$create role r password 'DROP TABLE hunter2'$a$) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE substr(t, 25, 18); END $$",
    // Where standard_conforming_strings is off, literals end elsewhere.
    "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql SET standard_conforming_strings = off AS $$ BEGIN PERFORM 'a\\' create role r password '; DROP TABLE hunter2; --'; END $$",
    "DO $$ BEGIN SET standard_conforming_strings = off; PERFORM 'a\\' create role r password ', hunter2(), \\''; END $$",
    // Of a connection string, only what is put together by ||, concat or format is certain to be part of it.
    "SELECT dblink_connect('name', 'host=h ' || query_to_xml('DELETE FROM hunter2', true, true, ''))",
  ])('shows %s', (sql) => {
    expect(shown(sql)).toContain('hunter2');
  });

  it('of a parameter that is one, the log has no value', () => {
    const [statement] = analysed('SELECT dblink_connect($1)').statements;
    expect(statement?.secrets).toEqual([[22, 24]]);
  });

  it('what is no secret is shown, also beside one', () => {
    expect(shown("ALTER ROLE r PASSWORD 'x' VALID UNTIL 'tomorrow'")).toBe(
      "ALTER ROLE r PASSWORD ‹secret, 3 bytes› VALID UNTIL 'tomorrow'",
    );
    expect(shown("SELECT dblink_exec('host=h', 'DELETE FROM t')")).toContain("'DELETE FROM t'");
    expect(shown('ALTER ROLE r PASSWORD NULL')).toBe('ALTER ROLE r PASSWORD NULL');
    expect(shown("SELECT 'password'")).toBe("SELECT 'password'");
  });

  it('records leave them out as well', () => {
    const sql = Buffer.from("SELECT 'é'; ALTER ROLE r PASSWORD 'hunter2' ");
    const [, role] = analysed(sql.toString()).statements;
    expect(redactSql(sql, role?.start ?? 0, role?.end ?? 0, role?.secrets ?? [])).toBe(
      'ALTER ROLE r PASSWORD ‹secret, 9 bytes› ',
    );
  });

  it('finds literals as Postgres does', () => {
    const literals = (sql: string) =>
      stringLiterals(Buffer.from(sql), 0, Buffer.byteLength(sql)).map(([a, b]) =>
        Buffer.from(sql).toString('utf8', a, b),
      );
    expect(
      literals(`SELECT 'a''b', "it's", E'c\\'d' -- 'no'\n, $$e'f$$, a$b$, $1 /* 'no /* */ ' */, B'01', n'x'`),
    ).toEqual(["'a''b'", "E'c\\'d'", "$$e'f$$", "B'01'", "n'x'"]);
  });
});

describe('showSql', () => {
  it.each([
    ['a\u202eb', 'a‹U+202E›b'],
    ['a\u200bb', 'a‹U+200B›b'],
    ['\ufeffSELECT', '‹U+FEFF›SELECT'],
    ['a\r\u0007\u001b[2J', 'a‹U+000D›‹U+0007›‹U+001B›[2J'],
    ['a\tb\nc', 'a\tb\nc'],
    ['a\u00a0b', 'a‹U+00A0›b'],
    ['x\u{e0041}', 'x‹U+E0041›'],
    ['‹secret, 5 bytes›', '‹U+2039›secret, 5 bytes‹U+203A›'],
    ['Ünïcode 日本 🙂', 'Ünïcode 日本 🙂'],
  ])('%j', (sql, expected) => {
    expect(showSql(Buffer.from(sql), [])).toBe(expected);
  });

  it('shows bytes that are no UTF-8', () => {
    expect(showSql(Buffer.from([0x61, 0xff, 0xc3, 0x62]), [])).toBe('a‹0xFF›‹0xC3›b');
    expect(showSql(Buffer.from('a\ufffdb'), [])).toBe('a\ufffdb');
  });

  it('merges ranges that overlap, and takes any', () => {
    expect(
      showSql(Buffer.from('0123456789'), [
        [5, 8],
        [2, 6],
      ]),
    ).toBe('01‹secret, 6 bytes›89');
  });

  it('never shows a byte of a secret, nor drops one of the rest', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', 'é', "'", '\u202e', '🙂') }),
        fc.nat(20),
        fc.nat(20),
        (text, from, length) => {
          const sql = Buffer.from(text);
          const [start, end] = [Math.min(from, sql.length), Math.min(from + length, sql.length)];
          const secret = Buffer.alloc(end - start, 0x53);
          const bytes = Buffer.concat([sql.subarray(0, start), secret, sql.subarray(end)]);
          const result = showSql(bytes, [[start, end]]);
          expect(result.replace(/‹secret, \d+ bytes›/, '')).not.toContain('S');
        },
      ),
    );
  });
});

describe('showParameter', () => {
  it.each([
    [null, 0, 25, 'NULL'],
    [Buffer.from('a\u202e'), 0, 25, "'a‹U+202E›'"],
    [Buffer.from([0, 0, 0, 7]), 1, 23, '7'],
    [Buffer.from([1]), 1, 16, 'true'],
    [Buffer.from('x'), 1, 25, "'x'"],
    [Buffer.from([0xde, 0xad]), 1, 17, '\\xdead'],
  ] as const)('%j format %i type %i', (value, format, type, expected) => {
    expect(showParameter(value, format, type)).toBe(expected);
  });
});
