import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Anchor,
  databaseAnchor,
  fileAnchor,
  lastNote,
  webhookAnchor,
} from '../../src/audit/checkpoints/anchors.ts';
import { parseCheckpoint, type SignedCheckpoint } from '../../src/audit/checkpoints/checkpoint.ts';
import { type CheckpointOptions, startCheckpoints } from '../../src/audit/checkpoints/checkpointer.ts';
import type { LogSigner } from '../../src/audit/port.ts';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { verifySnapshot } from '../../src/audit/verify/verify-database.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, intent, makeSigner, outcome, until } from './support.ts';

const signer = makeSigner();
const keys = { keys: [signer.publicJwk] };
const directory = mkdtempSync(join(tmpdir(), 'countersign-checkpoints-'));
const quiet = { info: () => {}, warn: () => {}, error: () => {} };

let database: AuditDatabase;
let writer: pg.Client;
let stream: ReturnType<typeof makeStream>;
let no = 0;

beforeEach(async () => {
  database = await createAuditDatabase();
  writer = new pg.Client(database.writerUrl);
  await writer.connect();
  stream = makeStream(signer);
  await writer.query(appendCall('audit', stream.start()));
});
afterEach(async () => {
  await writer.end();
  await database.dropAll();
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function append(batches: number): Promise<void> {
  for (let i = 0; i < batches; i += 1) {
    no += 1;
    await writer.query(appendCall('audit', stream.batch([intent(no), outcome(no)])));
  }
}

function options(more: Partial<CheckpointOptions> = {}): CheckpointOptions {
  return {
    url: database.writerUrl,
    schema: 'audit',
    origin: 'countersign/test',
    signer: () => signer,
    publicKeys: () => [publicOf(signer)],
    everyMs: 3_600_000,
    anchors: [],
    log: quiet,
    ...more,
  };
}

function publicOf({ publicJwk }: LogSigner): { x: string } {
  return { x: String(publicJwk['x']) };
}

async function taken(more: Partial<CheckpointOptions> = {}): Promise<SignedCheckpoint | null> {
  return (await startCheckpoints(options(more))).take();
}

/** What SQL and the program find wrong, one as the other. */
async function found(kept?: SignedCheckpoint, note?: string): Promise<string[]> {
  const { rows } = await database.query(
    `SELECT "check", seq::int, detail FROM audit.verify(keys => $1, checkpoint => $2, "full" => true)
      WHERE NOT ok AND seq IS NOT NULL`,
    [JSON.stringify(keys), note ?? null],
  );
  const bySql = rows.map((row) => `${row.check} ${row.seq}: ${row.detail}`).sort();
  const admin = new pg.Client(database.url);
  await admin.connect();
  await admin.query('BEGIN');
  const { findings } = await verifySnapshot(admin, 'audit', keys, kept);
  await admin.end();
  const byProgram = findings.map(({ check, seq, detail }) => `${check} ${seq}: ${detail}`).sort();
  expect(byProgram).toEqual(bySql);
  return bySql;
}

async function tamper(sql: string): Promise<void> {
  await database.query(
    ['leaf', 'checkpoint', 'batch', 'entry', 'stream', 'signing_key']
      .map((table) => `ALTER TABLE audit.${table} DISABLE TRIGGER ALL`)
      .join(';'),
  );
  await database.query(sql);
}

const noteOf = async (size: bigint): Promise<string> => {
  const { rows } = await database.query('SELECT note FROM audit.checkpoint WHERE size = $1', [String(size)]);
  return (rows[0] as { note: string }).note;
};

describe('checkpoints', () => {
  it('cover all batches, in one tree that grows', async () => {
    expect(await taken()).toMatchObject({ origin: 'countersign/test', size: 1n });
    expect(await taken()).toBeNull();
    await append(5);
    expect(await taken()).toMatchObject({ size: 6n });
    await append(1);
    const last = await taken();
    expect(last).toMatchObject({ size: 7n });
    expect(await found(last ?? undefined, await noteOf(7n))).toEqual([]);
    const first = parseCheckpoint(await noteOf(1n));
    expect(await found(first ?? undefined, await noteOf(1n))).toEqual([]);
  });

  it('of three processes at once make one tree', async () => {
    const three = await Promise.all([1, 2, 3].map(() => startCheckpoints(options())));
    for (let round = 0; round < 4; round += 1) {
      await append(2);
      await Promise.all(three.map((one) => one.take()));
    }
    const { rows } = await database.query(
      'SELECT count(*)::int AS leaves, max(index)::int AS last FROM audit.leaf',
    );
    expect(rows).toEqual([{ leaves: 9, last: 8 }]);
    expect(await found()).toEqual([]);
  });

  it('show what was cut off, whole with its heads, to who kept one', async () => {
    await append(4);
    const kept = await taken();
    await tamper(`DELETE FROM audit.checkpoint; DELETE FROM audit.leaf WHERE index >= 3;
      DELETE FROM audit.batch WHERE from_seq > 5; DELETE FROM audit.entry WHERE seq > 6;
      UPDATE audit.stream SET head_seq = 6, head_hash = (SELECT hash FROM audit.entry WHERE seq = 6)`);
    expect(await found()).toEqual([]);
    const note = kept === null ? '' : noteText(kept);
    expect(await found(kept ?? undefined, note)).toEqual([
      'checkpoint 5: cut off: the given checkpoint covers 5 batches, here are 3',
    ]);
  });

  it('show another history to who kept one', async () => {
    await append(2);
    const kept = await taken();
    const note = await noteOf(3n);
    // Everything made anew, with the installation's own key: as its thief could.
    await tamper(
      ['checkpoint', 'leaf', 'batch', 'entry', 'stream', 'signing_key']
        .map((table) => `DELETE FROM audit.${table}`)
        .join(';'),
    );
    stream = makeStream(signer);
    await writer.query(appendCall('audit', stream.start()));
    await append(2);
    await taken();
    expect(await found()).toEqual([]);
    expect(await found(kept ?? undefined, note)).toEqual([
      'checkpoint 3: another history: the first 3 batches are not those of the given checkpoint',
    ]);
  });

  it('are not taken from a database that was rolled back', async () => {
    const path = join(directory, 'rolled-back.jsonl');
    await append(2);
    await taken({ anchors: [fileAnchor(path)] });
    await tamper('DELETE FROM audit.checkpoint; DELETE FROM audit.leaf');
    await append(1);
    const next = await startCheckpoints(options({ anchors: [fileAnchor(path)] }));
    await expect(next.take()).rejects.toThrow(/rolled back or cut off/);
    // A file that somebody else wrote proves nothing.
    const other = makeSigner();
    const stranger = options({ signer: () => other, publicKeys: () => [publicOf(other)] });
    expect(await (await startCheckpoints({ ...stranger, anchors: [fileAnchor(path)] })).take()).toMatchObject(
      {
        size: 4n,
      },
    );
  });

  it('do not continue a tree that is not ours', async () => {
    await append(1);
    await taken();
    await append(1);
    const other = makeSigner();
    await expect(taken({ signer: () => other, publicKeys: () => [publicOf(other)] })).rejects.toThrow(
      /not signed with a key of this installation/,
    );
    await tamper(`UPDATE audit.checkpoint SET roots = ARRAY[decode(repeat('00', 32), 'hex')]`);
    await expect(taken()).rejects.toThrow(/not over that tree/);
  });

  it('go on under a new key of the installation', async () => {
    await taken();
    await append(1);
    const next = makeSigner();
    const rotated = { signer: () => next, publicKeys: () => [publicOf(signer), publicOf(next)] };
    expect(await taken(rotated)).toMatchObject({ size: 2n });
    expect(await found()).toEqual([
      'checkpoint 2: the checkpoint of 2 batches is not signed with a trusted key',
    ]);
    keys.keys.push(next.publicJwk);
    expect(await found()).toEqual([]);
    keys.keys.pop();
  });

  it.each<[string, string, readonly string[]]>([
    [
      'a batch exchanged',
      `UPDATE audit.batch SET signature = decode(repeat('00', 64), 'hex'), hash = sha256('x') WHERE from_seq = 3`,
      ['tree 3: the batch of leaf 1 was changed after it was taken into the tree'],
    ],
    [
      'a leaf exchanged',
      `UPDATE audit.leaf SET hash = sha256('x') WHERE index = 1`,
      [
        'checkpoint 3: the checkpoint of 3 batches has another root than their tree',
        'tree 3: the batch of leaf 1 was changed after it was taken into the tree',
      ],
    ],
    [
      'a leaf removed',
      'DELETE FROM audit.leaf WHERE index = 1',
      [
        'checkpoint 3: the checkpoint of 3 batches has another root than their tree',
        'tree 5: leaves 1 to 1 are missing',
      ],
    ],
    [
      'the last leaf removed',
      'DELETE FROM audit.leaf WHERE index = 2',
      ['checkpoint 3: cut off: a checkpoint covers 3 batches, here are 2'],
    ],
    [
      'a batch removed',
      'DELETE FROM audit.batch WHERE from_seq = 3',
      ['tree 3: the batch of leaf 1 is missing'],
    ],
    [
      "a checkpoint's root exchanged",
      `UPDATE audit.checkpoint SET root = sha256('x')`,
      ['checkpoint 3: the checkpoint of 3 batches has another root than their tree'],
    ],
    [
      "a checkpoint's note exchanged",
      `UPDATE audit.checkpoint SET note = replace(note, 'countersign/test', 'another/log')`,
      ['checkpoint 3: the checkpoint of 3 batches is not signed with a trusted key'],
    ],
    [
      "a checkpoint's note garbled",
      `UPDATE audit.checkpoint SET note = 'x'`,
      ['checkpoint 3: the checkpoint of 3 batches has another root than their tree'],
    ],
    [
      'two leaves exchanged',
      `UPDATE audit.leaf SET index = 99 WHERE index = 1; UPDATE audit.leaf SET index = 1 WHERE index = 2;
       UPDATE audit.leaf SET index = 2 WHERE index = 99`,
      ['checkpoint 3: the checkpoint of 3 batches has another root than their tree'],
    ],
  ])('show %s', async (_what, sql, wanted) => {
    await append(2);
    await taken();
    await tamper(sql);
    expect((await found()).filter((one) => /^(?:tree|checkpoint) /.test(one))).toEqual(wanted);
  });

  it('are made from batches alone, and continue what is there', async () => {
    await append(1);
    await taken();
    const add = (size: number, hash: Buffer) =>
      writer.query(`SELECT audit.add_checkpoint($1, $2, $3, $4, $5, $6, 'x')`, [
        ...[size, [stream.stream], [3], [hash], [hash], hash],
      ]);
    await expect(add(5, Buffer.alloc(32))).rejects.toMatchObject({ code: 'CSA05' });
    await expect(add(3, Buffer.alloc(32))).rejects.toMatchObject({ code: 'CSA06' });
    await expect(writer.query('SELECT * FROM audit.leaf')).rejects.toMatchObject({ code: '42501' });
    await expect(writer.query('DELETE FROM audit.checkpoint')).rejects.toMatchObject({ code: '42501' });
    await expect(database.query('DELETE FROM audit.checkpoint')).rejects.toMatchObject({ code: '42501' });
  });
});

describe('a log whose anchors know more', () => {
  const path = join(directory, 'replaced.jsonl');
  const anchored = (more: Partial<CheckpointOptions> = {}) =>
    startCheckpoints(options({ anchors: [fileAnchor(path)], ...more }));

  afterEach(() => rmSync(path, { force: true }));

  /** Another log in the place of this one, with checkpoints by the installation's own key: as its thief could. */
  async function replacedBy(batches: number): Promise<void> {
    await append(2);
    expect(await (await anchored()).take()).toMatchObject({ size: 3n });
    await tamper(
      ['checkpoint', 'leaf', 'batch', 'entry', 'stream', 'signing_key']
        .map((t) => `DELETE FROM audit.${t}`)
        .join(';'),
    );
    stream = makeStream(signer);
    await writer.query(appendCall('audit', stream.start()));
    await append(batches);
    expect(await taken()).toMatchObject({ size: BigInt(batches + 1) });
    expect(await found()).toEqual([]);
  }

  it.each([
    ['of the same size', 2],
    ['of a greater size', 7],
  ])('is noticed at the start when it was replaced by another %s', async (_what, batches) => {
    await replacedBy(batches);
    const notes: string[] = [];
    const next = await anchored({ log: { ...quiet, error: (facts: object) => notes.push(String(facts)) } });
    // Without being asked to take one.
    await until(() => next.trouble() !== null);
    expect(next.trouble()).toMatch(/has another history: its first 3 batches/);
    expect(notes).toHaveLength(1);
    await append(1);
    await expect(next.take()).rejects.toThrow(/another history/);
    const { rows } = await database.query('SELECT max(size)::int AS size FROM audit.checkpoint');
    expect(rows).toEqual([{ size: batches + 1 }]);
    // What it gives away is still the one that the anchor knows.
    expect(parseCheckpoint(next.newest() ?? '')).toMatchObject({ size: 3n });
  });

  it('goes on where it grew, whoever made the checkpoints since', async () => {
    await append(2);
    await (await anchored()).take();
    for (let round = 0; round < 3; round += 1) {
      await append(3);
      await taken();
    }
    const next = await anchored();
    expect(await next.take()).toBeNull();
    expect(next.trouble()).toBeNull();
    expect(parseCheckpoint(next.newest() ?? '')).toMatchObject({ size: 12n });
    await append(1);
    expect(await next.take()).toMatchObject({ size: 13n });
    expect(next.newest()).toBe(await noteOf(13n));
  });

  it.each([
    ['the known checkpoint is gone', 'DELETE FROM audit.checkpoint WHERE size = 3'],
    [
      'its roots were exchanged',
      `UPDATE audit.checkpoint SET roots = ARRAY[sha256('a'), sha256('b')] WHERE size = 3`,
    ],
    ['a leaf after it was exchanged', `UPDATE audit.leaf SET hash = sha256('x') WHERE index = 4`],
    ['a leaf after it is gone', 'DELETE FROM audit.leaf WHERE index = 4'],
    ['all leaves are gone', 'DELETE FROM audit.leaf'],
  ])('is refused when %s', async (_what, sql) => {
    await append(2);
    await (await anchored()).take();
    await append(3);
    await taken();
    await tamper(sql);
    await expect((await anchored()).take()).rejects.toThrow(/has another history: its first 3 batches/);
  });

  it('is compared with each of its anchors, also with one that answers later', async () => {
    const other = join(directory, 'other.jsonl');
    await append(2);
    await (await anchored()).take();
    let away = true;
    const file = fileAnchor(path);
    const late: Anchor = {
      ...file,
      newest: () => (away ? Promise.reject(new Error('away')) : file.newest()),
    };
    await tamper(
      ['checkpoint', 'leaf', 'batch', 'entry', 'stream', 'signing_key']
        .map((t) => `DELETE FROM audit.${t}`)
        .join(';'),
    );
    stream = makeStream(signer);
    await writer.query(appendCall('audit', stream.start()));
    await append(5);
    await (await startCheckpoints(options({ anchors: [fileAnchor(other)] }))).take();
    const next = await anchored({ anchors: [fileAnchor(other), late] });
    await append(1);
    expect(await next.take()).toMatchObject({ size: 7n });
    expect(next.trouble()).toMatch(/not compared with file .*replaced\.jsonl, which cannot be read/);
    away = false;
    await expect(next.take()).rejects.toThrow(/another history: its first 3 batches/);
    expect(next.trouble()).toMatch(/another history/);
  });

  it('is well again when its database is back, though nothing is new', async () => {
    await append(1);
    await taken();
    let url = database.writerUrl.replace('writer-secret', 'wrong');
    const next = await startCheckpoints({
      ...options(),
      get url() {
        return url;
      },
    });
    await until(() => next.trouble() !== null);
    url = database.writerUrl;
    expect(await next.take()).toBeNull();
    expect(next.trouble()).toBeNull();
  });
});

describe('anchors', () => {
  async function kept(anchor: Anchor): Promise<[SignedCheckpoint | null, string | null]> {
    const checkpoints = await startCheckpoints(options({ anchors: [anchor] }));
    const made = await checkpoints.take();
    return [made, checkpoints.trouble()];
  }

  it('a file gets a line for each, and its last whole line counts', async () => {
    const path = join(directory, 'anchor.jsonl');
    const [first] = await kept(fileAnchor(path));
    await append(1);
    const [second] = await kept(fileAnchor(path));
    const text = readFileSync(path, 'utf8');
    expect(text.split('\n')).toHaveLength(3);
    expect(parseCheckpoint(lastNote(text) ?? '')).toEqual(second);
    expect(parseCheckpoint(lastNote(text.slice(0, -20)) ?? '')).toEqual(first);
    expect(await fileAnchor(join(directory, 'none')).newest()).toBeNull();
  });

  it('another database gets a row for each', async () => {
    await database.query('CREATE TABLE countersign_checkpoint (note text PRIMARY KEY, at timestamptz)');
    const anchor = databaseAnchor(database.url, 'elsewhere');
    const [made, trouble] = await kept(anchor);
    expect(trouble).toBeNull();
    expect(parseCheckpoint((await anchor.newest()) ?? '')).toEqual(made);
  });

  it('a webhook gets the note, and one that fails is told of', async () => {
    const got: string[] = [];
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => {
        body += String(chunk);
      });
      request.on('end', () => {
        got.push(body);
        response.statusCode = got.length > 1 ? 500 : 204;
        response.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const anchor = webhookAnchor(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, 'there');
    try {
      const [made, trouble] = await kept(anchor);
      expect(trouble).toBeNull();
      expect(parseCheckpoint(got[0] ?? '')).toEqual(made);
      await append(1);
      const [next, problem] = await kept(anchor);
      expect(next).toMatchObject({ size: 2n });
      expect(problem).toBe('checkpoints do not reach webhook there');
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });
});

function noteText({ text, signatures }: SignedCheckpoint): string {
  const lines = signatures.map(({ name, keyId, signature }) => {
    const bytes = Buffer.concat([Buffer.from(keyId, 'hex'), signature]);
    return `— ${name} ${bytes.toString('base64')}\n`;
  });
  return `${text}\n${lines.join('')}`;
}
