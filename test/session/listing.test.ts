import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { OwnRequest } from '../../src/approval/port.ts';
import { needOf } from '../../src/budget/budget.ts';
import { decodeQuery } from '../../src/protocol/frontend.ts';
import { asksForRequests, listingQuery, listingSql, positionBefore } from '../../src/session/listing.ts';
import { analysed } from '../statement/support.ts';
import { superuser } from '../support/postgres.ts';
import { B, F, RELEASE, TestSession } from './harness.ts';

const REQUEST: OwnRequest = {
  id: 'req_0123456789012345678901',
  state: 'open',
  sql: 'DROP TABLE t',
  parameters: null,
  database: 'shop',
  class: 'ddl',
  rule: 'default:ddl',
  reasons: ['drops a table'],
  createdAt: new Date('2026-01-31T12:00:00.123Z'),
  expiresAt: new Date('2026-01-31T13:00:00.000Z'),
  url: 'http://localhost/requests/req_0123456789012345678901',
  waiting: false,
};

let client: pg.Client;
beforeAll(async () => {
  client = new pg.Client(superuser());
  await client.connect();
});
afterAll(() => client.end());

describe('the texts that ask for it', () => {
  it.each([
    'SHOW countersign.requests',
    'show COUNTERSIGN.Requests;',
    'show "countersign"."requests"',
    'show "Countersign.Requests"',
    '/* why */ SHOW -- now\n countersign . /* it */ requests -- end',
    'SELECT 1; SHOW countersign.requests; SELECT 2',
    'SHOW U&"countersign"."req\u0075ests"',
  ])('%s', (sql) => expect(asksForRequests(analysed(sql))).toBe(true));

  it.each([
    'SHOW countersign.request',
    'SHOW requests',
    "SELECT 'SHOW countersign.requests'",
    "SELECT current_setting('countersign.requests')",
    "SET countersign.requests = 'x'",
    'SHOW ALL',
    '-- SHOW countersign.requests',
    'SHOW countersign.requests x',
  ])('not %s', (sql) => expect(asksForRequests(analysed(sql))).toBe(false));
});

it('counts against no budget: an agent that has used its own up can still ask; other settings of that form do', () => {
  const need = (sql: string) =>
    analysed(sql).statements.map((one) => needOf(one, { rows: 10, bytes: 1_000 }) !== null);
  expect(need('SHOW countersign.requests')).toEqual([false]);
  expect(need("SHOW countersign.other; SELECT current_setting('countersign.requests')")).toEqual([
    true,
    true,
  ]);
});

describe('the SELECT in its place', () => {
  it('gives the server every text back as it was, whatever the settings', async () => {
    const hostile = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc
        .array(
          fc.constantFrom("'", '"', '\\', "\\'", '$$', '--', '/*', ';', "E'", '\n', '‹U+0000›', '😀', 'é'),
        )
        .map((parts) => parts.join('')),
    );
    for (const conforming of ['on', 'off']) {
      await client.query(`SET standard_conforming_strings = ${conforming}`);
      await fc.assert(
        fc.asyncProperty(fc.array(hostile, { maxLength: 4 }), async (texts) => {
          // What is stored has no NUL: it is shown as ‹U+0000›.
          const stored = texts.map((text) => text.replaceAll('\0', ''));
          const sql = listingSql(
            stored.map((text) => ({ ...REQUEST, sql: text, reasons: [text], database: text })),
            false,
          );
          const { rows } = await client.query(sql);
          expect(rows.map(({ statement }) => statement)).toEqual(stored);
          expect(rows.map(({ database }) => database)).toEqual(stored);
        }),
        { numRuns: 30 },
      );
    }
    await client.query('RESET standard_conforming_strings');
  }, 180_000);

  it('has times as times, and says what to do next', async () => {
    const { rows, fields } = await client.query(
      listingSql([REQUEST, { ...REQUEST, state: 'approved', parameters: "$1 = 'x'" }], false),
    );
    expect(fields.map(({ name }) => name).join(' ')).toBe(
      'id state statement parameters database why created expires url next',
    );
    expect(rows[0]).toMatchObject({
      id: REQUEST.id,
      created: REQUEST.createdAt,
      why: 'ddl: drops a table (rule default:ddl)',
      parameters: null,
      next: expect.stringContaining('Send exactly the same statement again to wait'),
    });
    expect(rows[1]).toMatchObject({
      state: 'approved',
      parameters: "$1 = 'x'",
      next: expect.stringContaining('runs at once'),
    });
  });

  it('is plain ASCII for a database whose encoding has few characters', async () => {
    const { rows } = await client.query(listingSql([{ ...REQUEST, sql: 'é😀' }], true));
    expect(rows[0]?.statement).toBe('<U+00E9><U+1F600>');
  });

  it('means the same under a hostile search_path', async () => {
    await client.query(`CREATE SCHEMA trap; CREATE DOMAIN trap.text AS int; CREATE DOMAIN trap.json AS int;
      CREATE FUNCTION trap.decode(text, text) RETURNS bytea LANGUAGE sql AS 'SELECT 1/0::numeric; SELECT null::bytea';
      SET search_path = trap, pg_catalog`);
    try {
      expect((await client.query(listingSql([REQUEST], false))).rows[0]?.id).toBe(REQUEST.id);
    } finally {
      await client.query('RESET search_path; DROP SCHEMA trap CASCADE');
    }
  });
});

describe('a Query with it among other statements', () => {
  const around = fc.constantFrom(
    'SELECT 1',
    "SELECT 'é'",
    '/* c */ SELECT 2 -- x\n',
    '',
    ' \n',
    "SELECT E'\\';'",
    'SELECT 1/0',
  );
  const show = fc.constantFrom(
    'SHOW countersign.requests',
    ' /* é */ show "countersign".requests -- e\n',
    'SHOW countersign.requests/**/',
  );

  it('leaves every other byte as it was, and no more or fewer statements', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(around, show), { minLength: 1, maxLength: 6 }), (parts) => {
        const text = Buffer.from(parts.join(';'));
        const before = analysed(text.toString());
        if (before.syntaxError !== null || !asksForRequests(before)) return;
        const select = listingSql([REQUEST], false);
        const { frame } = listingQuery(text, before, select);
        const sent = decodeQuery(frame).toString();
        const after = analysed(sent);
        expect(after.statements.map(({ command }) => command)).toEqual(
          before.statements.map(({ command, settings }) =>
            command === 'SHOW' && settings.length === 1 ? 'SELECT' : command,
          ),
        );
        const kept = before.statements.filter(({ command }) => command !== 'SHOW');
        const same = after.statements.filter((_, i) => before.statements[i]?.command !== 'SHOW');
        expect(same.map(({ start, end }) => Buffer.from(sent).toString('utf8', start, end))).toEqual(
          kept.map(({ start, end }) => text.toString('utf8', start, end)),
        );
      }),
      { numRuns: 150 },
    );
  });

  it.each([
    'SHOW countersign.requests; SELECT é',
    "SELECT 'é'; SHOW countersign.requests; SELECT 'é', missing; SHOW countersign.requests",
    'SHOW countersign.requests; SHOW countersign.requests; SELECT 1, missing',
    'SELECT missing; SHOW countersign.requests',
  ])('an error names the place in what the client sent: %s', async (sql) => {
    const select = listingSql([REQUEST], false);
    const { frame, moved } = listingQuery(Buffer.from(sql), analysed(sql), select);
    const error = await client.query(decodeQuery(frame).toString()).then(
      () => null,
      (failure: pg.DatabaseError) => failure,
    );
    const position = positionBefore(moved, Number(error?.position));
    expect([...sql][position - 1]).toBe(sql.includes('missing') ? 'm' : 'é');
  });
});

describe('the machine', () => {
  const show = F.query('SHOW countersign.requests');

  it('looks them up when everything before is answered, and only then sends', () => {
    const s = new TestSession().f(F.query('read 1'), show);
    expect(s.sent()).toEqual(['Q read 1', 'H']);
    expect(s.kinds()).toEqual([]);
    s.b(B.complete('SELECT 1'), B.ready());
    expect(s.session.phase).toBe('listing');
    expect(s.effect('list')).toEqual({ kind: 'list', agent: 'agent', onBehalfOf: null });
    s.on({ kind: 'listed', requests: [REQUEST] });
    expect(s.sent()).toEqual([`Q ${listingSql([REQUEST], false)}`]);
    s.b(B.rowDescription(), B.dataRow(), B.complete('SELECT 1'), B.ready());
    expect(s.outcomes()).toEqual(['1 executed', '2 executed']);
    const last = s.entries.findLast(({ kind }) => kind === 'intent');
    expect(last).toMatchObject({ sql: 'SHOW countersign.requests', decision: 'allow', class: 'read' });
  });

  it('is prepared once and looked up at each Bind', () => {
    const s = new TestSession().f(F.parse('SHOW countersign.requests', 'a'), F.sync());
    expect(s.sent()).toEqual([`P:a ${listingSql([], true)}`, 'S']);
    s.b(B.parseComplete(), B.ready());
    for (const requests of [[REQUEST], []]) {
      s.f(F.bind('a'), F.execute(), F.sync());
      s.on({ kind: 'listed', requests });
      expect(s.sent()).toEqual(['C', `P:\u0001cs ${listingSql(requests, false)}`, 'B', 'E', 'S', 'C', 'H']);
      s.b(B.closeComplete(), B.parseComplete(), B.bindComplete(), B.complete('SELECT 1'), B.ready());
      s.b(B.closeComplete());
    }
    // Of our own messages the client hears nothing.
    expect(s.client.join(' ')).not.toContain('3');
    expect(s.session.idle).toBe(true);
  });

  it('is exchanged in mode observe, too, behind what was not understood and has ended', () => {
    const s = new TestSession({ mode: 'observe' });
    s.f(F.query('mistake x'), F.close('b'), F.parse('SHOW countersign.requests', 'a'), F.sync());
    // The Close is under way when the server has said all about settings.
    s.b(B.error('42601'), B.ready(), B.closeComplete()).on({ kind: 'refreshed' });
    expect(s.sent().filter((one) => one.startsWith('P:a'))).toEqual([`P:a ${listingSql([], true)}`]);
  });

  it('is exchanged in mode observe, too, where settings are not what they are pinned to, if it reads the same under all', () => {
    for (const [text, exchanged] of [
      ['SHOW countersign.requests', true],
      ['SHOW "countersign"."requests"', false],
      ['SHOW \u8868countersign.requests', false],
      ["SELECT '\\'; SHOW countersign.requests", false],
    ] as const) {
      const s = new TestSession({ mode: 'observe', unpinned: ['client_encoding'] });
      s.f(F.parse(text, 'a'), F.sync());
      expect([text, s.sent()[0]]).toEqual([text, exchanged ? `P:a ${listingSql([], true)}` : `P:a ${text}`]);
    }
  });

  it('cannot be run by the name of its prepared statement, where it would be empty', () => {
    const s = new TestSession().f(F.parse('SHOW countersign.requests', 'a'), F.sync());
    s.b(B.parseComplete(), B.ready());
    s.sent();
    s.f(F.query('execute a'));
    expect(s.sent()[0]).toMatch(/^Q SELECT "cs:/);
  });

  it('says so when they cannot be looked up, and records it', () => {
    const s = new TestSession().f(show).on({ kind: 'listed', requests: null });
    expect(s.sent()[0]).toMatch(/^Q SELECT "cs:/);
    expect(s.outcomes()).toEqual(['1 failed']);
  });

  it.each(['cancel', 'clientGone'] as const)('%s while they are looked up', (kind) => {
    const s = new TestSession().f(show).on({ kind });
    if (kind === 'cancel') expect(s.on({ kind: 'listed', requests: [] }).sent()[0]).toMatch(/"cs:/);
    else expect(s.on({ kind: 'listed', requests: [] }).sent()).toEqual([]);
  });

  it('is held as a whole where another statement of its string is, and looked up again when it is released', () => {
    const s = new TestSession().f(F.query('SHOW countersign.requests;ddl t'));
    s.on({ kind: 'listed', requests: [REQUEST] }).opened();
    s.on({ kind: 'answered', state: 'approved', ended: null });
    expect(s.session.phase).toBe('listing');
    s.on({ kind: 'listed', requests: [] }).on({ kind: 'released', release: RELEASE });
    expect(s.sent().join()).toContain('Q SELECT * FROM pg_catalog.json_to_recordset');
  });
});
