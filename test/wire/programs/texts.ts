/** What random programs say, over the tables of `lanes.ts`. */
import { listingSql } from '../../../src/session/listing.ts';
import { functionCall, type Message, type Refused, type Text } from './message.ts';

export const NAMES = ['', 'a', 'b'] as const;

const UNREADABLE = 'SELEC 1';
const PLAIN = [
  'SELECT 1',
  'SELECT 1/0',
  'SELECT id / (id - id) FROM tiny',
  UNREADABLE,
  '',
  '-- nothing',
  'SELECT id FROM tiny ORDER BY id LIMIT 3',
  'SELECT $1::int',
  'INSERT INTO box VALUES (1)',
  'INSERT INTO box VALUES (2) RETURNING id',
  'UPDATE box SET id = id + 1 WHERE id = 1',
  'INSERT INTO child VALUES (99)',
  'SELECT count(*) FROM box',
  'BEGIN',
  'COMMIT',
  'ROLLBACK',
  'COMMIT AND CHAIN',
  'SAVEPOINT s',
  'ROLLBACK TO s',
  'RELEASE s',
  'DECLARE a CURSOR FOR SELECT id FROM tiny ORDER BY id LIMIT 3',
  'DECLARE b CURSOR WITH HOLD FOR SELECT id FROM tiny ORDER BY id LIMIT 3',
  'FETCH 1 FROM a',
  'MOVE 1 IN b',
  'CLOSE a',
  'CLOSE ALL',
  'PREPARE a AS SELECT 2',
  'PREPARE b (int) AS INSERT INTO box VALUES ($1) RETURNING id',
  'EXECUTE a',
  'EXECUTE b (7)',
  'DEALLOCATE a',
  'DEALLOCATE ALL',
  'DISCARD ALL',
  'SHOW datestyle',
  'SET datestyle = german',
  'SET LOCAL timezone = +3',
  'SET search_path = "$user"',
  'SET LOCAL search_path = "$user", pg_temp',
  'SELECT 1; SELECT 2',
  'SELECT 1; SELECT 1/0; SELECT 2',
  'BEGIN; INSERT INTO box VALUES (3)',
  'INSERT INTO box VALUES (4); COMMIT; SELECT 1/0',
  'ROLLBACK; SELECT id FROM tiny LIMIT 1',
  'SELECT * FROM missing',
  'SELECT 1 AS an_identifier_that_is_longer_than_sixty_three_bytes_and_so_is_cut',
] as const;

/**
 * Of an agent that has asked for nothing: the proxy exchanges the first, and what the client gets must be what the server
 * says to the second.
 */
export const LISTING: Refused = { refused: 'SHOW countersign.requests', genuine: listingSql([], true) };
const LISTINGS: readonly Refused[] = ['', 'SELECT 1; ', 'BEGIN; '].flatMap((before) =>
  ['', '; SELECT 1/0'].map((behind) => ({
    refused: `${before}${LISTING.refused}${behind}`,
    genuine: `${before}${LISTING.genuine}${behind}`,
  })),
);

/** Planned, and so called, at Bind. */
const NOISY = 'SELECT noisy()';

/** Held unless everything runs; after each, the proxy reads the catalog again. */
const OBSERVED = [
  'DO $$ BEGIN RAISE NOTICE $a$hello$a$; END $$',
  "DO $$ BEGIN EXECUTE 'PREPARE b AS SELECT 3'; END $$",
  'CREATE TEMP TABLE tmp (id int)',
  'SELECT * FROM tmp',
  'CALL nothing()',
] as const;

/** Rejected at Bind when sent as Parse; a Query of it fails too. The first pair has the same columns. */
const REFUSED: readonly Refused[] = [
  { refused: 'SELECT id + 0 AS id FROM forbidden', genuine: 'SELECT 1/0 AS id' },
  { refused: 'INSERT INTO forbidden VALUES (1)', genuine: 'INSERT INTO box SELECT 1/0' },
  { refused: 'UPDATE forbidden SET id = 2', genuine: 'UPDATE box SET id = 1/0' },
];

/** Rejected in a Query, whole: nothing before or after the refused statement runs, as after a mistake anywhere in it. */
const REFUSED_QUERIES: readonly Refused[] = [
  { refused: 'INSERT INTO box VALUES (5); SELECT id FROM forbidden', genuine: 'SELECT * FROM missing' },
  { refused: 'SELECT id FROM forbidden; COMMIT', genuine: 'SELECT * FROM missing; COMMIT' },
  { refused: 'PREPARE a AS SELECT id FROM forbidden', genuine: 'PREPARE a AS SELECT * FROM missing' },
  {
    refused: 'DECLARE a CURSOR FOR SELECT id FROM forbidden',
    genuine: 'DECLARE a CURSOR FOR SELECT 1/0',
  },
  { refused: 'COPY forbidden TO STDOUT', genuine: 'COPY missing TO STDOUT' },
];

/** Rejected already at Parse. */
const REFUSED_PARSES: readonly Refused[] = [
  { refused: "SET client_encoding = 'LATIN1'", genuine: 'SELECT * FROM missing' },
];

export type Texts = {
  /** For Parse. */
  readonly parse: readonly Text[];
  readonly query: readonly Text[];
  readonly copyIn: readonly Text[];
  /** COPY FROM STDIN with other statements, or another COPY, in the same string. */
  readonly copyInQuery: readonly Text[];
  readonly copyOut: readonly string[];
  readonly functions: readonly Message[];
  /** Parameters of a random Bind; a refused one with too many is denied before the server counts them. */
  readonly parameters: readonly number[];
  /** Fail when they are parsed, bound or executed. */
  readonly failing: readonly Text[];
  readonly refused: { readonly parse: readonly Refused[]; readonly query: readonly Refused[] };
};

const COPY_IN = [
  'COPY box FROM STDIN',
  'COPY box FROM STDIN',
  'COPY box FROM STDIN',
  'COPY guarded FROM STDIN',
];
const COPY_IN_QUERY = [
  'SELECT 1; COPY box FROM STDIN',
  'COPY box FROM STDIN; SELECT 1',
  'COPY box FROM STDIN; COPY box FROM STDIN',
  'SELECT 1/0; COPY box FROM STDIN',
];
const COPY_OUT = ['COPY tiny TO STDOUT', 'COPY (SELECT id / (id - 2) FROM tiny ORDER BY id) TO STDOUT'];
const FAILING = ['SELECT 1/0', 'SELECT id / (id - id) FROM tiny', 'SELECT nothing', 'SELECT * FROM missing'];

/** `uncertain`: in observe mode, with what may have changed the catalog; reading it again takes its time. */
export function textsFor(mode: 'observe' | 'enforce', uncertain = true): Texts {
  const enforced = mode === 'enforce';
  const refused = !enforced
    ? { parse: [], query: [] }
    : {
        parse: [...REFUSED, ...REFUSED, ...REFUSED_PARSES],
        query: [...REFUSED, ...REFUSED_QUERIES, ...REFUSED_PARSES],
      };
  const plain = uncertain ? PLAIN : PLAIN.filter((text) => text !== UNREADABLE);
  const observed = [NOISY, ...(uncertain ? OBSERVED : [])];
  return {
    parse: [...plain, LISTING, LISTING, ...(enforced ? refused.parse : observed)],
    query: [
      ...plain,
      ...LISTINGS,
      ...(enforced ? refused.query : [...observed, 'SELECT 1; COPY tiny TO STDOUT']),
    ],
    copyIn: [
      ...COPY_IN,
      enforced ? { refused: 'COPY forbidden FROM STDIN', genuine: COPY_MISSING } : 'COPY missing FROM STDIN',
    ],
    parameters: enforced ? [0] : [0, 0, 0, 1],
    functions: enforced ? [functionCall(1, 1610)] : [functionCall(1610), functionCall(1)],
    copyInQuery: COPY_IN_QUERY,
    copyOut: COPY_OUT,
    failing: enforced ? [...FAILING, ...refused.parse] : FAILING,
    refused,
  };
}

/** A Query of it fails before any data are asked for; so does its Bind, or Parse. */
const COPY_MISSING = 'INSERT INTO box SELECT 1/0';
