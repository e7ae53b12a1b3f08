import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import type { Jwks } from '../../src/audit/verify/trusted-keys.ts';
import { verifySnapshot } from '../../src/audit/verify/verify-database.ts';
import { approver, makeDevice, newDigest } from './passkey-maker.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, event, makeSigner } from './support.ts';

/** More of each kind than a sample holds (100; of passkeys 40). */
const MANY = 160;
const signer = makeSigner();
const other = makeSigner();
/** Says that it is the installation's key, and signs with another. */
const forger = { ...signer, sign: other.sign };
const ada = makeDevice();
const kept: Jwks = { keys: [signer.publicJwk, ada.of('ada')] };
const main = makeStream(signer);

let database: AuditDatabase;
let admin: pg.Client;

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A request and its approval at assurance 3. */
function approval(request: string, by = signer, signed = (digest: string) => ada.sign(digest)) {
  const digest = newDigest();
  const header = part({ alg: 'EdDSA', typ: 'countersign-receipt+jws', kid: signer.kid });
  const claims = { iss: 'countersign', request, digest, approvers: [approver('ada', signed(digest))] };
  const text = `${header}.${part(claims)}`;
  const receipt = `${text}.${by.sign(Buffer.from(text)).toString('base64url')}`;
  return [
    event('request_opened', { requestId: request, detail: { digest } }),
    event('request_approved', { requestId: request, receipt }),
  ];
}

beforeAll(async () => {
  database = await createAuditDatabase();
  admin = new pg.Client(database.url);
  await admin.connect();
  await admin.query(appendCall('audit', main.start()));
  for (let i = 0; i < MANY; i += 1) {
    await admin.query(appendCall('audit', makeStream(signer).start()));
    await admin.query(appendCall('audit', main.batch(approval(`req_${i}`))));
  }
});
afterAll(async () => {
  await admin?.end();
  await database?.dropAll();
});

async function bySql(full: boolean): Promise<string[]> {
  const { rows } = await admin.query(
    `SELECT stream, seq, "check" FROM audit.verify(keys => $1, "full" => $2) WHERE NOT ok AND seq IS NOT NULL`,
    [JSON.stringify(kept), full],
  );
  return rows.map(({ stream, seq, check }) => `${check} ${stream} ${seq}`);
}

async function byProgram(): Promise<string[]> {
  const { findings } = await verifySnapshot(admin, 'audit', kept);
  return findings.map(({ stream, seq, check }) => `${check} ${stream} ${seq}`);
}

async function undone(work: () => Promise<void>): Promise<void> {
  await admin.query('BEGIN');
  try {
    for (const table of ['entry', 'batch', 'stream'])
      await admin.query(`ALTER TABLE audit.${table} DISABLE TRIGGER ALL`);
    await work();
  } finally {
    await admin.query('ROLLBACK');
  }
}

/** A stream of its own for what cannot be taken back from `main`. */
async function anotherStream(by: typeof signer, entries: ReturnType<typeof approval> | null) {
  const made = makeStream(by);
  await admin.query(appendCall('audit', made.start()));
  if (entries !== null) await admin.query(appendCall('audit', made.batch(entries)));
  return made.stream;
}

/** What is forged, and the one finding that there is. Row numbers of `main`: a batch of two for each approval, after 2. */
const FORGED: readonly (readonly [string, () => Promise<string>])[] = [
  [
    'a batch’s signature',
    async () => {
      await admin.query(
        `UPDATE audit.batch SET signature = set_byte(signature, 9, get_byte(signature, 9) # 1)
          WHERE stream = $1 AND from_seq = 101`,
        [main.stream],
      );
      return `batch_signature ${main.stream} 101`;
    },
  ],
  [
    'a row with its hash, and all that names it',
    async () => {
      const last = 2 + 2 * MANY;
      const at = [main.stream, last];
      await admin.query(`UPDATE audit.entry SET people = '{ben}' WHERE stream = $1 AND seq = $2`, at);
      await admin.query(
        `UPDATE audit.entry e SET hash = audit.entry_hash(e) WHERE stream = $1 AND seq = $2`,
        at,
      );
      for (const [table, column, seq] of [
        ['batch', 'hash', 'to_seq'],
        ['stream', 'head_hash', 'head_seq'],
      ])
        await admin.query(
          `UPDATE audit.${table} t SET ${column} = e.hash FROM audit.entry e
            WHERE t.stream = $1 AND t.${seq} = $2 AND e.stream = t.stream AND e.seq = t.${seq}`,
          at,
        );
      return `batch_signature ${main.stream} ${last - 1}`;
    },
  ],
  ['a stream’s endorsement', async () => `endorsement ${await anotherStream(forger, null)} 1`],
  ['a receipt', async () => `receipt ${await anotherStream(signer, approval('req_forged', forger))} 4`],
  [
    'a passkey’s signature',
    async () => {
      const wrong = (digest: string) => ({
        ...ada.sign(digest),
        signature: ada.sign(newDigest())['signature'],
      });
      return `passkey ${await anotherStream(signer, approval('req_forged', signer, wrong))} 4`;
    },
  ],
];

describe('one forged signature among many', () => {
  it('is not there in an honest log', async () => {
    expect(await bySql(true)).toEqual([]);
    expect(await byProgram()).toEqual([]);
    const { rows } = await admin.query(
      `SELECT detail FROM audit.verify(keys => $1) WHERE "check" = 'batch_signature'`,
      [JSON.stringify(kept)],
    );
    expect(rows).toEqual([
      {
        detail: `100 of ${2 * MANY + 1} batches against their signatures; all of them with full => true`,
      },
    ]);
  });

  it.each(FORGED)(
    '%s: found by full and by the program, and by a sample only where it is in it',
    async (_what, forge) => {
      await undone(async () => {
        const finding = await forge();
        expect(await byProgram()).toEqual([finding]);
        expect(await bySql(true)).toEqual([finding]);
        // One in three samples misses it, at the least.
        const samples: string[][] = [];
        while (samples.length < 80 && !samples.some((found) => found.length === 0))
          samples.push(await bySql(false));
        expect(samples.at(-1)).toEqual([]);
        expect(samples.slice(0, -1)).toEqual(samples.slice(0, -1).map(() => [finding]));
      });
    },
    600_000,
  );
});

describe('the sample', () => {
  it('is another one each time, whatever the session’s seed is', async () => {
    await undone(async () => {
      await admin.query(
        'UPDATE audit.batch SET signature = set_byte(signature, 9, get_byte(signature, 9) # 1)',
      );
      const drawn = async () => {
        await admin.query('SELECT setseed(0.5)');
        return (await bySql(false)).filter((line) => line.startsWith('batch_signature')).sort();
      };
      const samples = [await drawn(), await drawn(), await drawn()];
      expect(samples.map((lines) => new Set(lines).size)).toEqual([100, 100, 100]);
      expect(new Set(samples.map((lines) => lines.join())).size).toBe(3);
    });
  });
});

describe('every signature', () => {
  const flip = `UPDATE audit.batch SET signature = set_byte(signature, 9, get_byte(signature, 9) # 1)
                 WHERE stream = $1 AND from_seq = 101`;

  it('is also that of a batch whose rows are gone', async () => {
    await undone(async () => {
      await admin.query(flip, [main.stream]);
      await admin.query('DELETE FROM audit.entry WHERE stream = $1 AND seq BETWEEN 91 AND 110', [
        main.stream,
      ]);
      const forged = `batch_signature ${main.stream} 101`;
      expect(await bySql(true)).toContain(forged);
      expect(await byProgram()).toContain(forged);
    });
  });

  it('is also one that is null', async () => {
    await undone(async () => {
      await admin.query('ALTER TABLE audit.batch ALTER signature DROP NOT NULL');
      await admin.query('UPDATE audit.batch SET signature = NULL WHERE stream = $1 AND from_seq = 101', [
        main.stream,
      ]);
      const forged = `batch_signature ${main.stream} 101`;
      expect(await bySql(true)).toContain(forged);
      expect(await bySql(false)).toContain(`batch ${main.stream} 101`);
      expect(await byProgram()).toContain(`batch ${main.stream} 101`);
    });
  });
});
