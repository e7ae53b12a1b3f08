import { endorsementBytes } from '../../../src/audit/chain/chain.ts';
import { at, event, LOST, NEW, OLD, STREAM_KEYS, STREAMS } from './base-log.ts';
import type { TamperingCase } from './cases.ts';
import {
  append,
  batchesOf,
  entryOf,
  fixedKey,
  type Log,
  rechain,
  resign,
  started,
  streamOf,
} from './log-model.ts';

const { main, requests, crashed, next } = STREAMS;
const OTHER = fixedKey('of somebody else');
const STRANGER = fixedKey('another installation');

/** Streams, batches' signatures, endorsements, the installation's keys. */
export function keyCases(): TamperingCase[] {
  return [...signatures(), ...streams(), ...endorsements(), ...registers()];
}

function signatures(): TamperingCase[] {
  return [
    {
      name: 'a signature altered by a bit',
      change: (log) => {
        const [, batch] = batchesOf(log, main);
        if (batch)
          batch.signature = Buffer.from(batch.signature.map((byte, i) => (i === 5 ? byte ^ 1 : byte)));
      },
      finds: [['batch_signature', 'main', 3]],
    },
    {
      name: 'a batch signed with a key that nothing names',
      change: (log) => resign(log, main, OTHER, 8n),
      finds: [['batch_signature', 'main', 8]],
    },
    {
      name: 'the signatures of two batches exchanged',
      change: (log) => {
        const [, a, b] = batchesOf(log, main);
        if (a && b) [a.signature, b.signature] = [b.signature, a.signature];
      },
      finds: [
        ['batch_signature', 'main', 3],
        ['batch_signature', 'main', 8],
      ],
    },
    {
      name: 'the ranges of two batches exchanged',
      change: (log) => {
        const [, a, b] = batchesOf(log, main);
        if (a && b) [a.toSeq, b.fromSeq] = [8n, 9n];
      },
      finds: [['batch_signature', 'main', 3]],
    },
    {
      name: 'everything signed with a key of their own, which becomes the stream’s',
      change: (log) => {
        entryOf(log, main, 4).row.agent = 'somebody';
        rechain(log, main, 4n);
        resign(log, main, OTHER);
        Object.assign(streamOf(log, main), { kid: OTHER.kid, publicJwk: OTHER.publicJwk });
      },
      finds: [
        ['head', 'main', 1],
        ['endorsement', 'main', 1],
      ],
    },
    {
      name: 'the same, in the first row, too',
      change: (log) => ownKey(log, OTHER, STRANGER.sign(endorsementBytes(main, OTHER.kid))),
      finds: [
        ['endorsement', 'main', 1],
        ['head', 'main', 12],
        ['tree', 'main', 1],
      ],
    },
  ];
}

/** The stream `main` is theirs: key, first row, chain, signatures. */
function ownKey(log: Log, key: typeof OTHER, endorsement: Buffer): void {
  const first = entryOf(log, main, 1);
  const replaced: Record<string, string> = {
    stream_kid: key.kid,
    stream_jwk: JSON.stringify(key.publicJwk),
    endorsement: endorsement.toString('hex'),
  };
  const detail = [...(first.row.detail ?? [])];
  for (let i = 0; i < detail.length; i += 2)
    detail[i + 1] = replaced[detail[i] ?? ''] ?? detail[i + 1] ?? null;
  first.row.detail = detail;
  Object.assign(streamOf(log, main), { kid: key.kid, publicJwk: key.publicJwk, endorsement });
  rechain(log, main);
  resign(log, main, key);
}

function dropped(log: Log, stream: string): void {
  log.entries = log.entries.filter(({ row }) => row.stream !== stream);
  log.batches = log.batches.filter((one) => one.stream !== stream);
  log.streams = log.streams.filter((one) => one.stream !== stream);
}

function streams(): TamperingCase[] {
  return [
    {
      name: 'a stream dropped that the next one names',
      change: (log) => dropped(log, main),
      finds: [
        ['head', 'main', 12],
        ['tree', 'main', 1],
      ],
    },
    {
      name: 'a stream dropped that no other names',
      change: (log) => dropped(log, requests),
      finds: [['tree', 'requests', 1]],
    },
    {
      name: 'the last stream dropped',
      change: (log) => dropped(log, next),
      finds: [
        ['tree', 'next', 1],
        ['batch_signature', 'crashed', 4],
      ],
    },
    {
      name: "a stream's registration removed",
      before: ['ALTER TABLE audit.batch DROP CONSTRAINT batch_stream_fkey'],
      change: (log) => {
        log.streams = log.streams.filter(({ stream }) => stream !== main);
      },
      finds: [['head', 'main', 1]],
    },
    {
      name: 'a stream emptied, its head set to nothing',
      change: (log) => {
        log.entries = log.entries.filter(({ row }) => row.stream !== requests);
        log.batches = log.batches.filter(({ stream }) => stream !== requests);
        Object.assign(streamOf(log, requests), { headSeq: 0n, headHash: Buffer.alloc(32) });
      },
      finds: [
        ['head', 'requests', 0],
        ['tree', 'requests', 1],
      ],
    },
    {
      name: "a stream's tail cut off, head and batches with it",
      change: (log) => {
        log.entries = log.entries.filter(({ row }) => row.stream !== main || row.seq < 12n);
        log.batches = log.batches.filter(({ stream, fromSeq }) => stream !== main || fromSeq !== 12n);
        Object.assign(streamOf(log, main), { headSeq: 11n, headHash: entryOf(log, main, 11).hash });
      },
      finds: [
        ['head', 'main', 12],
        ['tree', 'main', 12],
      ],
    },
    {
      name: 'a head moved back, rows left',
      change: (log) => {
        Object.assign(streamOf(log, main), { headSeq: 11n, headHash: entryOf(log, main, 11).hash });
      },
      finds: [['head', 'main', 11]],
    },
    {
      name: "a head's hash edited",
      change: (log) => {
        streamOf(log, main).headHash = Buffer.alloc(32, 3);
      },
      finds: [['head', 'main', 12]],
    },
    {
      name: 'a stream there twice, with another head',
      before: [
        'ALTER TABLE audit.batch DROP CONSTRAINT batch_stream_fkey',
        'ALTER TABLE audit.stream DROP CONSTRAINT stream_pkey',
      ],
      after: [
        `INSERT INTO audit.stream SELECT stream, kid, public_jwk, endorsed_by, endorsement, facts, started_at, 11, head_hash FROM audit.stream WHERE stream = '${main}'`,
      ],
      finds: [['head', 'main', 11]],
    },
    {
      name: 'a second run under an id that was used',
      change: (log) => {
        const again: Log = { ...log, entries: [], batches: [], streams: [] };
        append(again, main, started(main, OTHER, STRANGER, at('00:10:00', 2), { purpose: 'log' }), OTHER);
        log.entries.push(...again.entries);
      },
      finds: [['gap', 'main', 1]],
    },
    {
      name: "a stream's facts edited",
      change: (log) => {
        streamOf(log, main).facts = { purpose: 'log', host: 'elsewhere', pid: '100' };
      },
      finds: [['head', 'main', 1]],
    },
    {
      name: "a stream's beginning moved to another time",
      change: (log) => {
        streamOf(log, main).startedAt = at('12:00:00');
      },
      finds: [['head', 'main', 1]],
    },
    {
      name: "a stream's public key exchanged, its name kept",
      change: (log) => {
        streamOf(log, main).publicJwk = OTHER.publicJwk;
      },
      finds: [
        ['head', 'main', 1],
        ['batch_signature', 'main', 3],
      ],
    },
    {
      name: 'a recovery forged: another stream claims to have ended this one',
      has: 'stream key',
      change: (log) => {
        const detail = { by_stream: next, by_kid: STREAM_KEYS.next.kid, unknown_outcomes: '0' };
        append(log, main, [event('log_recovered', at('00:07:00', 2), { detail })], STREAM_KEYS.next);
        append(log, main, [event('log_stop', at('00:07:01', 2))], OTHER);
      },
      finds: [['batch_signature', 'main', 14]],
    },
    {
      name: 'a recovery removed, its signatures kept',
      has: 'stream key',
      change: (log) => {
        const last = entryOf(log, crashed, 5);
        last.row.kind = 'log_stop';
        rechain(log, crashed, 5n);
        resign(log, crashed, STREAM_KEYS.next, 4n);
      },
      finds: [
        ['batch_signature', 'crashed', 4],
        ['tree', 'crashed', 4],
      ],
    },
  ];
}

function endorsements(): TamperingCase[] {
  const endorsed = (change: (log: Log) => void, name: string): TamperingCase => ({
    name,
    change,
    finds: [['endorsement', 'main', 1]],
  });
  return [
    endorsed((log) => {
      streamOf(log, main).endorsement = Buffer.alloc(64);
    }, 'an endorsement forged'),
    endorsed((log) => {
      streamOf(log, main).endorsement = Buffer.alloc(0);
    }, 'an endorsement emptied'),
    endorsed((log) => {
      streamOf(log, main).endorsement = streamOf(log, next).endorsement;
    }, 'an endorsement taken from another stream'),
    endorsed((log) => {
      const stream = streamOf(log, main);
      stream.endorsedBy = STRANGER.kid;
      stream.endorsement = STRANGER.sign(endorsementBytes(main, stream.kid));
    }, "an endorsement of another installation's"),
    {
      name: 'a stream of another installation, whole in itself',
      has: 'stream key',
      change: (log) =>
        append(log, 'foreign', started('foreign', OTHER, STRANGER, at('00:08:00', 2), {}), OTHER),
      finds: [['endorsement', 'foreign', 1]],
    },
    {
      name: 'a stream endorsed with a key after it was revoked',
      has: 'installation key',
      change: (log) => append(log, 'late', started('late', OTHER, LOST, at('00:08:00', 2), {}), OTHER),
      finds: [['endorsement', 'late', 1]],
    },
  ];
}

function registers(): TamperingCase[] {
  return [
    {
      name: "a key's row exchanged for another key",
      change: (log) => {
        for (const key of log.keys) if (key.kid === OLD.kid) key.publicJwk = STRANGER.publicJwk;
      },
      finds: [['key', 'main', 2]],
    },
    {
      name: "a key's row put in, which no entry brought",
      change: (log) => {
        log.keys.push({
          kid: STRANGER.kid,
          publicJwk: STRANGER.publicJwk,
          purpose: 'installation',
          validFrom: at('23:58:00'),
        });
      },
      finds: [['key', null, 0]],
    },
    {
      name: "a key's row removed",
      change: (log) => {
        log.keys = log.keys.filter(({ kid }) => kid !== NEW.kid);
      },
      finds: [['key', 'next', 2]],
    },
    {
      name: 'a key made valid earlier',
      change: (log) => {
        for (const key of log.keys) if (key.kid === NEW.kid) key.validFrom = at('23:58:00');
      },
      finds: [['key', 'next', 2]],
    },
    {
      name: "a key's end and purpose edited",
      after: [
        `UPDATE audit.signing_key SET purpose = 'other', valid_to = '2026-03-02' WHERE kid = '${NEW.kid}'`,
      ],
      finds: [['key', 'next', 2]],
    },
  ];
}
