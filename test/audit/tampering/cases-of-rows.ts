import { at, intent, outcome, STREAM_KEYS, STREAMS } from './base-log.ts';
import type { Expected, TamperingCase } from './cases.ts';
import { append, entryOf, type Log, type ModelEntry, rechain, resign, streamOf } from './log-model.ts';

const { main, crashed } = STREAMS;
const edited = (seq: number, change: (entry: ModelEntry) => void) => (log: Log) =>
  change(entryOf(log, main, seq));
const row = (name: string, seq: number, change: (entry: ModelEntry) => void): TamperingCase => ({
  name,
  change: edited(seq, change),
  finds: [['row_hash', 'main', seq]],
});
const content = (name: string, change: (entry: ModelEntry) => void): TamperingCase => ({
  name,
  change: edited(6, change),
  finds: [['content', 'main', 6]],
});
const NIGHT = ['2026-03-01 23:58:14+00', '2026-03-02 00:00:07+00'] as const;

/** Rows and their order: edit, delete, reorder, insert, truncate, re-chain. */
export function rowCases(): TamperingCase[] {
  return [...edits(), ...missing(), ...added(), ...rebuilt()];
}

function edits(): TamperingCase[] {
  return [
    row('a text edited', 4, (e) => {
      e.row.agent = 'somebody';
    }),
    row('a text emptied, where there was none', 3, (e) => {
      e.row.agent = '';
    }),
    row('a text removed', 9, (e) => {
      e.row.tag = null;
    }),
    row('an integer edited', 9, (e) => {
      e.row.rows = 2n;
    }),
    row('a boolean edited', 4, (e) => {
      e.row.tls = false;
    }),
    row('the time edited by a microsecond', 5, (e) => {
      e.row.at += 1n;
    }),
    row('the version edited', 4, (e) => {
      e.row.version = 2n;
    }),
    row('an element moved from one list to another', 4, (e) => {
      Object.assign(e.row, {
        reasons: [...(e.row.reasons ?? []), ...(e.row.relations ?? [])],
        relations: [],
      });
    }),
    row('a list split otherwise', 4, (e) => {
      e.row.reasons = ['reads', ' by key'];
    }),
    row('a person added to an approval', 9, (e) => {
      e.row.people = ['reviewer', 'owner'];
    }),
    row('a detail edited', 2, (e) => {
      e.row.detail = [...(e.row.detail ?? []), 'more', 'x'];
    }),
    row('a commitment exchanged', 4, (e) => {
      e.row.content = Buffer.alloc(32, 1);
    }),
    {
      ...row('a decision edited, in a range of time', 10, (e) => {
        e.row.decision = 'allow';
      }),
      within: ['2026-03-02 00:00:06+00', '2026-03-02 00:00:06+00'],
      outside: ['2026-03-02 00:00:07+00', '2026-03-02 00:00:20+00'],
    },
    content("a statement's text edited", (e) => {
      if (e.content) e.content.sql = 'SELECT 1';
    }),
    content("a statement's digest edited", (e) => {
      if (e.content) e.content.sql_sha256 = Buffer.alloc(32, 1);
    }),
    content('a parameter edited: nothing where there was null', (e) => {
      if (e.content) e.content.parameters = ['a', '', ''];
    }),
    content('a salt edited', (e) => {
      if (e.content) e.content.salt = Buffer.alloc(16, 1);
    }),
    content('text, digest, parameters and salt erased', (e) => {
      e.content = null;
    }),
    {
      name: 'text put beside a row that committed to none',
      after: [`UPDATE audit.entry SET sql = 'SELECT 1' WHERE stream = '${main}' AND seq = 5`],
      finds: [['content', 'main', 5]],
    },
    {
      name: 'a field edited and its hash computed anew',
      change: (log) => {
        const entry = entryOf(log, main, 4);
        entry.row.agent = 'somebody';
        const { prevHash } = entryOf(log, main, 5);
        rechain(log, main, 4n);
        // Only this row: what comes after names the hash it had.
        for (const later of log.entries.filter((one) => one.row.stream === main && one.row.seq > 4n))
          if (later.row.seq === 5n) later.prevHash = prevHash;
      },
      finds: [['link', 'main', 5]],
    },
    {
      name: 'the hash alone edited',
      change: edited(8, (e) => {
        e.hash = Buffer.alloc(32, 7);
      }),
      finds: [
        ['row_hash', 'main', 8],
        ['link', 'main', 9],
      ],
    },
    {
      name: 'the hash before edited',
      change: edited(8, (e) => {
        e.prevHash = Buffer.alloc(32, 7);
      }),
      finds: [
        ['row_hash', 'main', 8],
        ['link', 'main', 8],
      ],
    },
  ];
}

function without(keep: (entry: ModelEntry) => boolean) {
  return (log: Log): void => {
    log.entries = log.entries.filter(keep);
  };
}

const inMain = (test: (seq: bigint) => boolean) => (entry: ModelEntry) =>
  !(entry.row.stream === main && test(entry.row.seq));

function missing(): TamperingCase[] {
  const head: Expected = ['head', 'main', 12];
  return [
    {
      name: 'a row deleted',
      change: without(inMain((seq) => seq === 9n)),
      finds: [['gap', 'main', 10]],
      within: NIGHT,
    },
    {
      name: 'the first row deleted',
      change: without(inMain((seq) => seq === 1n)),
      finds: [['gap', 'main', 2]],
    },
    {
      name: 'the first batch deleted, with its signature',
      change: (log) => {
        without(inMain((seq) => seq <= 2n))(log);
        log.batches = log.batches.filter(({ stream, fromSeq }) => stream !== main || fromSeq !== 1n);
      },
      finds: [
        ['gap', 'main', 3],
        ['batch', 'main', 3],
        ['tree', 'main', 1],
      ],
    },
    {
      name: 'the last row deleted',
      change: without(inMain((seq) => seq === 12n)),
      finds: [head],
      inFolder: [['range', 'main', 12]],
    },
    {
      name: 'a batch in the middle deleted, with its signature',
      change: (log) => {
        without(inMain((seq) => seq >= 3n && seq <= 7n))(log);
        log.batches = log.batches.filter(({ stream, fromSeq }) => stream !== main || fromSeq !== 3n);
      },
      finds: [
        ['gap', 'main', 8],
        ['batch', 'main', 8],
        ['tree', 'main', 3],
      ],
    },
    {
      name: 'rows deleted whose signature stays',
      change: without(inMain((seq) => seq >= 3n && seq <= 7n)),
      finds: [
        ['gap', 'main', 8],
        ['batch', 'main', 7],
      ],
      inFolder: [['range', 'main', 3]],
    },
    {
      name: "a batch's signature deleted",
      change: (log) => {
        log.batches = log.batches.filter(({ stream, fromSeq }) => stream !== main || fromSeq !== 8n);
      },
      finds: [
        ['batch', 'main', 12],
        ['tree', 'main', 8],
      ],
    },
    {
      name: 'a whole day dropped',
      after: ['DROP TABLE audit.entry_20260302'],
      finds: [head, ['batch', 'main', 11], ['head', 'next', 8]],
      inFolder: [
        ['batch', 'main', 11],
        ['range', 'next', 1],
      ],
    },
    {
      name: 'a whole day taken out of the log, but kept as a table',
      after: ['ALTER TABLE audit.entry DETACH PARTITION audit.entry_20260301'],
      finds: [
        ['gap', 'main', 9],
        ['gap', 'crashed', 3],
      ],
      inFolder: [
        ['gap', 'main', 9],
        ['range', 'crashed', 1],
      ],
    },
    {
      name: 'everything truncated',
      after: [
        "DO $$ DECLARE day regclass; BEGIN FOR day IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'audit.entry'::regclass LOOP EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', day); END LOOP; END $$",
        'TRUNCATE audit.entry',
      ],
      finds: [head, ['head', 'requests', 10], ['head', 'crashed', 5], ['head', 'next', 8]],
      inFolder: [
        ['range', 'main', 1],
        ['range', 'requests', 1],
        ['range', 'crashed', 1],
        ['range', 'next', 1],
      ],
    },
    {
      name: 'a row deleted and those after it moved up',
      change: (log) => {
        without(inMain((seq) => seq === 9n))(log);
        for (const { row } of log.entries) if (row.stream === main && row.seq > 9n) row.seq -= 1n;
      },
      finds: [['row_hash', 'main', 9], ['link', 'main', 9], head],
      inFolder: [
        ['row_hash', 'main', 9],
        ['link', 'main', 9],
        ['range', 'main', 12],
      ],
    },
  ];
}

function added(): TamperingCase[] {
  return [
    {
      name: 'two rows exchanged',
      change: (log) => {
        const [a, b] = [entryOf(log, main, 4), entryOf(log, main, 6)];
        [a.row.seq, b.row.seq] = [b.row.seq, a.row.seq];
      },
      finds: [
        ['row_hash', 'main', 4],
        ['row_hash', 'main', 6],
      ],
    },
    {
      name: 'a forged row after the last, chained to it',
      change: (log) => {
        append(log, main, [outcome(9, at('00:06:00', 2))], STREAM_KEYS.next);
        log.batches.pop();
        Object.assign(streamOf(log, main), { headSeq: 12n, headHash: entryOf(log, main, 12).hash });
      },
      finds: [['head', 'main', 12]],
    },
    {
      name: 'a row there twice, at another time',
      change: (log) => {
        const copy = entryOf(log, main, 12);
        log.entries.push({ ...copy, row: { ...copy.row, at: copy.row.at + 1n } });
      },
      finds: [['gap', 'main', 12]],
    },
    {
      name: 'a row before the first',
      change: (log) => {
        const copy = entryOf(log, main, 2);
        log.entries.push({ ...copy, row: { ...copy.row, seq: 0n } });
      },
      before: ['ALTER TABLE audit.entry DROP CONSTRAINT entry_seq_check'],
      finds: [
        ['row_hash', 'main', 0],
        ['gap', 'main', 0],
      ],
    },
    {
      name: 'a row copied from another stream',
      change: (log) => {
        const copy = entryOf(log, crashed, 3);
        log.entries.push({ ...copy, row: { ...copy.row, stream: main, seq: 13n } });
      },
      finds: [
        ['row_hash', 'main', 13],
        ['link', 'main', 13],
        ['head', 'main', 12],
      ],
    },
    {
      name: 'rows of a stream that nothing registered',
      change: (log) => {
        const copy = entryOf(log, main, 1);
        log.entries.push({ ...copy, row: { ...copy.row, stream: 'made up' } });
      },
      finds: [['head', 'made up', 1]],
    },
  ];
}

/** Row 4 says another agent, and everything after it fits. */
function rewritten(log: Log): void {
  entryOf(log, main, 4).row.agent = 'somebody';
  rechain(log, main, 4n);
}

function rebuilt(): TamperingCase[] {
  const named: Expected = ['head', 'main', 12];
  return [
    {
      name: 'a field edited and the chain computed anew, head and batches too',
      change: rewritten,
      finds: [['batch_signature', 'main', 3], ['batch_signature', 'main', 8], ['tree', 'main', 3], named],
    },
    {
      name: 'the same, signed with the key of another stream, which recovered none of it',
      has: 'stream key',
      change: (log) => {
        rewritten(log);
        resign(log, main, STREAM_KEYS.next, 3n);
      },
      finds: [['batch_signature', 'main', 3], ['tree', 'main', 3], named],
    },
    {
      name: "the same, signed with the stream's own key",
      has: 'stream key',
      change: (log) => {
        rewritten(log);
        resign(log, main, STREAM_KEYS.main, 3n);
      },
      finds: [['tree', 'main', 3], ['tree', 'main', 8], named],
    },
    {
      name: 'a statement put in between and the chain computed anew',
      change: (log) => {
        for (const { row } of log.entries) if (row.stream === main && row.seq >= 6n) row.seq += 1n;
        const extra = { entries: [], batches: [], streams: [], keys: [], leaves: [], checkpoints: [] } as Log;
        append(extra, main, [intent(0, at('23:58:12'))], STREAM_KEYS.next);
        const [forged] = extra.entries;
        if (forged === undefined) throw new Error('no row was made');
        forged.row.seq = 6n;
        log.entries.push(forged);
        for (const batch of log.batches.filter(({ stream }) => stream === main)) {
          if (batch.fromSeq >= 6n) batch.fromSeq += 1n;
          if (batch.toSeq >= 6n) batch.toSeq += 1n;
        }
        rechain(log, main);
      },
      finds: [['batch_signature', 'main', 3], named],
    },
  ];
}
