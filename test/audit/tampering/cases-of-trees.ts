import { NEW, OLD, STREAM_KEYS, STREAMS } from './base-log.ts';
import type { Expected, TamperingCase } from './cases.ts';
import {
  checkpoint,
  checkpointOf,
  entryOf,
  fixedKey,
  type Log,
  noteOf,
  ORIGIN,
  rechain,
  resign,
  streamOf,
} from './log-model.ts';

const { main, next } = STREAMS;
const OTHER = fixedKey('of somebody else');
/** Batches that the two checkpoints cover. */
const FIRST = 6;
const SECOND = 14;

/** The tree and its checkpoints; rolling back; and what only a checkpoint kept elsewhere shows. */
export function treeCases(): TamperingCase[] {
  return [...stored(), ...kept()];
}

function last(log: Log) {
  const found = log.checkpoints.at(-1);
  if (found === undefined) throw new Error('no checkpoint');
  return found;
}

function altered(name: string, change: (log: Log) => void, ...finds: Expected[]): TamperingCase {
  return { name, change, finds: finds.length === 0 ? [['checkpoint', null, SECOND]] : finds };
}

function stored(): TamperingCase[] {
  return [
    altered("a checkpoint's root edited", (log) => {
      last(log).root = Buffer.alloc(32, 1);
    }),
    altered("a checkpoint's root edited, in its note too", (log) => {
      const one = last(log);
      one.note = one.note.replace(one.root.toString('base64'), Buffer.alloc(32, 1).toString('base64'));
      one.root = Buffer.alloc(32, 1);
    }),
    altered('a checkpoint signed with another key', (log) => {
      last(log).note = noteOf(last(log).size, last(log).root, OTHER);
    }),
    altered('a checkpoint of another tree, signed with another key', (log) => {
      Object.assign(last(log), checkpointOf(log.leaves.slice(0, SECOND - 1), OTHER), {
        size: BigInt(SECOND),
      });
    }),
    altered(
      'a checkpoint of more batches than there are',
      (log) => {
        Object.assign(last(log), { size: 15n, note: noteOf(15n, last(log).root, NEW) });
      },
      ['checkpoint', null, 15],
    ),
    altered("a checkpoint's note forged: another size", (log) => {
      last(log).note = last(log).note.replace(`\n${SECOND}\n`, '\n13\n');
    }),
    altered("a checkpoint's note forged: another origin", (log) => {
      last(log).note = last(log).note.replace(`${ORIGIN}\n`, 'countersign/elsewhere\n');
    }),
    altered("a checkpoint's note forged: a line put in", (log) => {
      last(log).note = last(log).note.replace('\n\n', '\ntime 1\n\n');
    }),
    altered("a checkpoint's signature cut", (log) => {
      last(log).note = `${last(log).note.slice(0, -10)}\n`;
    }),
    altered("a checkpoint's note emptied", (log) => {
      last(log).note = '';
    }),
    altered(
      'a leaf edited',
      (log) => {
        const leaf = log.leaves[4];
        if (leaf) leaf.hash = Buffer.alloc(32, 2);
      },
      ['tree', 'requests', 3],
      ['checkpoint', null, FIRST],
      ['checkpoint', null, SECOND],
    ),
    altered(
      'a leaf in the middle removed',
      (log) => {
        log.leaves.splice(4, 1);
      },
      ['tree', 'requests', 4],
      ['checkpoint', null, FIRST],
    ),
    {
      ...altered(
        'two leaves exchanged',
        (log) => {
          const [a, b] = [log.leaves[3], log.leaves[4]];
          if (a && b) [a.index, b.index] = [b.index, a.index];
        },
        ['checkpoint', null, FIRST],
        ['checkpoint', null, SECOND],
      ),
      before: ['ALTER TABLE audit.leaf DROP CONSTRAINT leaf_stream_from_seq_key'],
    },
    altered(
      'the last leaf removed',
      (log) => {
        log.leaves.pop();
      },
      ['checkpoint', null, SECOND],
    ),
    altered(
      'a batch taken into the tree twice, under another number',
      (log) => {
        const copy = log.leaves[0];
        if (copy) log.leaves.push({ ...copy, index: BigInt(SECOND), fromSeq: 99n });
      },
      ['tree', 'main', 99],
    ),
  ];
}

/** The log as it was when the first checkpoint was made: a backup from then. */
function rolledBack(log: Log): void {
  const first = log.checkpoints[0];
  log.leaves = log.leaves.slice(0, FIRST);
  log.checkpoints = first === undefined ? [] : [first];
  cutTo(
    log,
    log.batches.filter(({ stream, fromSeq }) =>
      log.leaves.some((leaf) => leaf.stream === stream && leaf.fromSeq === fromSeq),
    ),
  );
}

/** Only these batches, and what they cover. */
function cutTo(log: Log, batches: Log['batches']): void {
  log.batches = batches;
  log.entries = log.entries.filter(({ row }) =>
    batches.some(({ stream, toSeq }) => stream === row.stream && row.seq <= toSeq),
  );
  log.streams = log.streams.filter(({ stream }) => batches.some((one) => one.stream === stream));
  for (const { stream } of log.streams) {
    const headSeq = batches
      .filter((one) => one.stream === stream)
      .reduce((a, b) => (a.toSeq > b.toSeq ? a : b)).toSeq;
    Object.assign(streamOf(log, stream), { headSeq, headHash: entryOf(log, stream, headSeq).hash });
  }
  log.keys = log.keys.filter(({ kid }) =>
    log.entries.some(({ row }) => row.kind === 'key' && row.detail?.includes(kid)),
  );
}

function kept(): TamperingCase[] {
  const only = { onlyWithCheckpoint: true, finds: [['checkpoint', null, SECOND]] } as const;
  return [
    { name: 'rolled back to a backup', change: rolledBack, ...only },
    {
      name: 'the newest checkpoint removed, with its leaves and what it covers',
      change: (log) => {
        rolledBack(log);
        log.checkpoints = [];
        log.leaves = [];
      },
      ...only,
    },
    {
      name: 'the last stream dropped, with everything that names it',
      change: (log) => {
        log.checkpoints = [];
        log.leaves = [];
        cutTo(
          log,
          log.batches.filter(
            ({ stream, fromSeq }) => stream !== next && !(stream === STREAMS.crashed && fromSeq === 4n),
          ),
        );
      },
      ...only,
    },
    {
      name: 'everything written anew with all keys',
      has: 'installation key',
      change: (log) => {
        entryOf(log, next, 4).row.agent = 'somebody';
        rechain(log, next, 4n);
        resign(log, next, STREAM_KEYS.next, 3n);
        log.leaves = [];
        log.checkpoints = [];
        checkpoint(log, OLD, FIRST);
        checkpoint(log, NEW, SECOND);
      },
      ...only,
    },
    {
      name: 'two checkpoints of one size that disagree: one log for each reader',
      has: 'installation key',
      change: (log) => {
        entryOf(log, main, 12).row.kind = 'session_end';
        rechain(log, main, 12n);
        resign(log, main, STREAM_KEYS.main, 12n);
        const first = entryOf(log, next, 1);
        first.row.detail = (first.row.detail ?? []).map((part, i, all) =>
          all[i - 1] === 'previous_hash' ? entryOf(log, main, 12).hash.toString('hex') : part,
        );
        rechain(log, next);
        resign(log, next, STREAM_KEYS.next);
        const { previous_hash: _, ...facts } = streamOf(log, next).facts;
        streamOf(log, next).facts = { ...facts, previous_hash: entryOf(log, main, 12).hash.toString('hex') };
        log.leaves = [];
        log.checkpoints = [];
        checkpoint(log, OLD, FIRST);
        checkpoint(log, NEW, SECOND);
      },
      ...only,
    },
  ];
}
