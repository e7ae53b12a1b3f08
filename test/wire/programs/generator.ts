/**
 * Random programs: scenarios that go deep (errors and what is skipped after them, COPY, suspended portals, failed
 * transactions, refusals), with random messages before, between and after their own.
 */
import fc from 'fast-check';
import { careful } from './careful.ts';
import {
  bind,
  closePortal,
  closeStatement,
  copyData,
  copyDone,
  copyFail,
  describePortal,
  describeStatement,
  execute,
  flush,
  type Message,
  parse,
  query,
  raw,
  sync,
} from './message.ts';
import { NAMES, type Texts } from './texts.ts';

/** How a program ends, before its connection is made ready for the next. */
export type Ending =
  /** COPY that still waits for data is failed first. */
  | 'kind'
  /** It is not: then the server closes the connection. */
  | 'rude'
  /** The client says goodbye. */
  | 'terminate';
export type Program = { readonly messages: readonly Message[]; readonly ending: Ending };

/** As it is sent; `~` marks where the client waits. */
export function showProgramOf({ messages, ending }: Program): readonly string[] {
  return [...messages.map(({ label, wait }) => (wait ? `${label} ~` : label)), `(${ending})`];
}

export function programs(texts: Texts): fc.Arbitrary<Program> {
  const scenario = fc.oneof(
    { weight: 5, arbitrary: skipped(texts) },
    { weight: 8, arbitrary: copied(texts) },
    { weight: 5, arbitrary: suspended(texts) },
    { weight: 5, arbitrary: failedTransaction(texts) },
    { weight: 2, arbitrary: savepoints(texts) },
    {
      weight: 2,
      arbitrary: fc.array(anyMessage(texts), { minLength: 1, maxLength: 4 }).map((all) => all.flat()),
    },
    ...(texts.refused.parse.length > 0 ? [{ weight: 5, arbitrary: refusals(texts) }] : []),
  );
  return fc
    .tuple(
      fc.array(scenario, { minLength: 2, maxLength: 4 }),
      fc.oneof(
        { weight: 16, arbitrary: fc.constant<Ending>('kind') },
        { weight: 2, arbitrary: fc.constant<Ending>('rude') },
        { weight: 1, arbitrary: fc.constant<Ending>('terminate') },
      ),
      // Most programs are sent whole; the others wait here and there.
      fc.oneof(fc.constant(0), fc.nat({ max: 0xffffff })),
    )
    .map(([parts, ending, waits]) => ({
      messages: careful(parts.flat()).map((one, i) => ({ ...one, wait: ((waits >> (i % 24)) & 1) === 1 })),
      ending,
    }));
}

type Messages = fc.Arbitrary<readonly Message[]>;

const name = fc.constantFrom(...NAMES);
const named = fc.constantFrom('a', 'b');
const rows = fc.constantFrom(0, 0, 1);

function anyMessage(texts: Texts): Messages {
  const one = (weight: number, arbitrary: fc.Arbitrary<Message>) => ({
    weight,
    arbitrary: arbitrary.map((message): readonly Message[] => [message]),
  });
  return fc.oneof(
    one(
      4,
      fc.tuple(name, fc.constantFrom(...texts.parse)).map(([n, text]) => parse(n, text)),
    ),
    one(
      5,
      fc
        .tuple(name, name, fc.constantFrom(...texts.parameters), fc.boolean())
        .map(([p, s, n, b]) => bind(p, s, n, b)),
    ),
    one(
      5,
      fc.tuple(name, rows).map(([portal, n]) => execute(portal, n)),
    ),
    one(1, name.map(describeStatement)),
    one(1, name.map(describePortal)),
    one(1, name.map(closeStatement)),
    one(1, name.map(closePortal)),
    one(4, fc.constant(sync())),
    one(1, fc.constant(flush())),
    one(6, fc.constantFrom(...texts.query).map(query)),
    one(1, fc.constantFrom(...BROKEN)),
    one(1, fc.constantFrom(...texts.functions)),
    one(1, fc.constantFrom(copyData('9\n'), copyDone(), copyFail())),
    { weight: 4, arbitrary: statement(texts) },
  );
}

/** What no client should send; the server reads it whole and says 08P01. */
const BROKEN = [
  raw('P', Buffer.from('a\0SELECT 1'), 'without an end'),
  raw('B', Buffer.from('\0\0\0'), 'cut short'),
  raw('E', Buffer.from('\0'), 'cut short'),
  raw('DS', Buffer.from('X\0'), 'of nothing'),
  raw('C', Buffer.from('X\0'), 'of nothing'),
  raw('H!', Buffer.from('x'), 'with a body'),
  raw('Q', Buffer.from('SELECT 1\0SELECT 2\0'), 'with two ends'),
];

/** A few random messages, mostly none. */
function between(texts: Texts): Messages {
  return fc
    .array(anyMessage(texts), { maxLength: 2, size: 'max' })
    .chain((all) => fc.constantFrom<readonly Message[]>([], [], all.flat()));
}

/** Parse, Bind, Execute of one text, with or without descriptions. */
function statement(
  texts: Texts,
  text: fc.Arbitrary<Texts['parse'][number]> = fc.constantFrom(...texts.parse),
): Messages {
  return fc
    .tuple(text, name, name, fc.boolean(), fc.boolean(), rows)
    .map(([sql, s, p, describedStatement, describedPortal, limit]) => [
      parse(s, sql),
      ...(describedStatement ? [describeStatement(s)] : []),
      bind(p, s, sql === 'SELECT $1::int' ? 1 : 0),
      ...(describedPortal ? [describePortal(p)] : []),
      execute(p, limit),
    ]);
}

function joined(...parts: readonly Messages[]): Messages {
  return fc.tuple(...parts).map((all) => all.flat());
}
const says = (...messages: readonly Message[]): Messages => fc.constant(messages);
/** One of the lists. */
const either = (...lists: readonly (readonly Message[])[]): Messages => fc.constantFrom(...lists);

/** Something fails in a group, and what follows up to Sync is not done. */
function skipped(texts: Texts): Messages {
  const failing = fc.oneof(
    statement(texts, fc.constantFrom(...texts.failing)),
    name.map((n): readonly Message[] => [bind(n, 'nowhere')]),
    name.map((n): readonly Message[] => [execute(`no ${n}`)]),
    name.map((n): readonly Message[] => [describeStatement(`no ${n}`)]),
    fc.constantFrom(...BROKEN).map((one): readonly Message[] => [one]),
  );
  const lost = fc.array(anyMessage(texts), { minLength: 1, maxLength: 3 }).map((all) => all.flat());
  return joined(between(texts), failing, lost, says(sync()));
}

/** COPY data and their end, if they have one. */
function copyBody(): Messages {
  return fc
    .tuple(
      fc.array(fc.constantFrom('d', 'd', 'S', 'H', 'bad'), { maxLength: 4 }),
      fc.constantFrom('c', 'c', 'c', 'f', ''),
    )
    .map(([body, end]) =>
      [...body, end].flatMap((one): readonly Message[] => {
        if (one === 'd') return [copyData('7\n')];
        if (one === 'bad') return [copyData('seven\n')];
        if (one === 'S') return [sync()];
        if (one === 'H') return [flush()];
        if (one === 'f') return [copyFail()];
        return one === 'c' ? [copyDone()] : [];
      }),
    );
}

function copied(texts: Texts): Messages {
  const inText = fc.constantFrom(...texts.copyIn);
  const extended = fc
    .tuple(statement(texts, inText), fc.boolean(), copyBody())
    .map(([start, synced, body]) => [...start, ...(synced ? [sync()] : []), ...body, sync()]);
  const simple = fc
    .tuple(fc.constantFrom(...texts.copyIn, ...texts.copyInQuery), copyBody())
    .map(([text, body]) => [query(text), ...body]);
  const out = fc.constantFrom(...texts.copyOut);
  return joined(
    either([], [sync()], [sync(), query('ROLLBACK')], [sync(), query('ROLLBACK')]),
    between(texts),
    fc.oneof(
      { weight: 3, arbitrary: simple },
      { weight: 3, arbitrary: extended },
      { weight: 1, arbitrary: out.map((text): readonly Message[] => [query(text)]) },
      { weight: 1, arbitrary: joined(statement(texts, out), says(sync())) },
    ),
    between(texts),
  );
}

/** A portal that gives its rows in portions, with other things going on in between. */
function suspended(texts: Texts): Messages {
  return fc
    .tuple(
      either([], [query('BEGIN')]),
      fc.constantFrom(
        'SELECT id FROM tiny ORDER BY id LIMIT 3',
        'INSERT INTO box VALUES (1), (2) RETURNING id',
      ),
      fc.tuple(name, name),
      between(texts),
      either([sync()], [flush(), sync()], [closePortal('a'), sync()], []),
    )
    .chain(([begin, text, [s, p], other, end]) =>
      fc
        .array(
          fc.constantFrom<readonly Message[]>([execute(p, 1)], [execute(p)], [describePortal(p)], other),
          {
            maxLength: 3,
          },
        )
        .map((more) => [...begin, parse(s, text), bind(p, s), execute(p, 1), ...more.flat(), ...end]),
    );
}

/** A transaction in which something has failed, and what is tried in it. */
function failedTransaction(texts: Texts): Messages {
  return joined(
    either([query('BEGIN')], [query('BEGIN')], [parse('', 'BEGIN'), bind('', ''), execute(''), sync()]),
    between(texts),
    fc.oneof(
      fc.constantFrom(...texts.failing).map((text): readonly Message[] => [query(text)]),
      joined(statement(texts, fc.constantFrom(...texts.failing)), says(sync())),
    ),
    fc.array(anyMessage(texts), { maxLength: 3 }).map((all) => all.flat()),
    either([], [sync()], [sync(), query('ROLLBACK')], [sync(), query('COMMIT')]),
  );
}

/** Portals and names on both sides of a savepoint that is gone back to. */
function savepoints(texts: Texts): Messages {
  return fc
    .tuple(
      named,
      name,
      statement(texts, fc.constantFrom(...texts.failing)),
      between(texts),
      fc.tuple(name, name),
      fc.boolean(),
    )
    .map(([before, late, failing, other, [again, last], simple]) => {
      const run = (text: string) =>
        simple
          ? [query(text)]
          : [parse('b', text), bind('b', 'b'), execute('b'), closeStatement('b'), sync()];
      return [
        query('BEGIN'),
        parse('a', 'SELECT id FROM tiny ORDER BY id LIMIT 3'),
        bind(before, 'a'),
        execute(before, 1),
        ...run('SAVEPOINT s'),
        bind(late, 'a'),
        execute(late, 1),
        ...failing,
        sync(),
        ...other,
        ...run('ROLLBACK TO s'),
        execute(again, 1),
        sync(),
        execute(last, 1),
        sync(),
      ];
    });
}

/** A refused message in each position: alone, in a group, around names that it would have changed. */
function refusals(texts: Texts): Messages {
  const refused = fc.constantFrom(...texts.refused.parse);
  return joined(
    between(texts),
    fc.oneof(
      fc.constantFrom(...texts.refused.query).map((text): readonly Message[] => [query(text)]),
      statement(texts, refused),
      fc
        .tuple(statement(texts), statement(texts, refused), statement(texts))
        .map((all) => [...all.flat(), sync()]),
      fc.tuple(name, refused).map(([n, text]) => [parse(n, text), sync(), bind('', n), execute(''), sync()]),
    ),
    between(texts),
  );
}
