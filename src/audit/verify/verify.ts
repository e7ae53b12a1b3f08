import { type Content, columnsOf, type Row } from '../chain/canonical.ts';
import {
  type BatchFacts,
  batchBytes,
  type CheckSignature,
  contentHash,
  endorsementBytes,
  GENESIS_HASH,
  rowHash,
} from '../chain/chain.ts';
import type { Check, Finding } from './finding.ts';
import { detailOf, type Gone, type GoneRange, isUpkeep, NOTHING_GONE, type UpkeepRow } from './gone.ts';
import { type BroughtKey, broughtKey, parsed, sameRecord } from './key-check.ts';
import { passkeyProblem, type TrustedPasskey } from './passkey-check.ts';
import { jsonOf, receiptProblem } from './receipt-check.ts';
import type { RequestDigest } from './request-digests.ts';

export type StoredRow = {
  readonly row: Row;
  readonly content: Content | null;
  readonly prevHash: Buffer;
  readonly hash: Buffer;
};
/** A row's place in its chain. */
export type Linked = {
  readonly row: Pick<Row, 'seq'>;
  readonly prevHash: Buffer;
  readonly hash: Buffer;
};
export type StoredBatch = BatchFacts & { readonly kid: string; readonly signature: Buffer };
export type StoredStream = {
  readonly stream: string;
  readonly kid: string;
  readonly endorsedBy: string;
  readonly endorsement: Buffer;
  readonly headSeq: bigint;
  readonly headHash: Buffer;
  /** What the register says beside, which the first row must say too; left out: not looked at. */
  readonly registered?: {
    readonly publicJwk: unknown;
    readonly facts: unknown;
    /** Microseconds since 1970 UTC. */
    readonly startedAt: bigint;
  };
};

export type Keys = {
  /** Keys of the installation, which the verifier trusts. */
  readonly trusted: CheckSignature;
  /** Whether a trusted key was revoked at that time (µs since 1970 UTC); left out: none ever was. */
  readonly revoked?: (kid: string, at: bigint) => boolean;
  /** People's passkeys among them, by thumbprint; left out: there are none. */
  readonly passkeys?: (kid: string) => TrustedPasskey | null;
  /** Keys of streams: from the log itself, good only if endorsed by a trusted one. */
  readonly ofStreams: CheckSignature;
  /** Whether that key belongs to a stream whose endorsement was checked. */
  readonly endorsed: (kid: string) => boolean;
};

/** The end of a stream that another stream's entry names. */
export type NamedEnd = {
  readonly by: string;
  readonly stream: string;
  readonly seq: bigint;
  readonly hash: string;
};

/** Whether the installation's key says that this is the stream's key. */
export function checkEndorsement(stream: StoredStream, keys: Pick<Keys, 'trusted'>): Finding | null {
  const bytes = endorsementBytes(stream.stream, stream.kid);
  const ok = keys.trusted(stream.endorsedBy, bytes, stream.endorsement);
  if (ok === true) return null;
  const detail =
    ok === null
      ? `the stream's key is endorsed by ${stream.endorsedBy}, which is not among the trusted keys`
      : "the endorsement of the stream's key is not the installation's signature";
  return { stream: stream.stream, seq: 1n, check: 'endorsement', ok: false, detail };
}

/**
 * Checks one stream. Rows and batches are handed over in order, a batch before the rows that it covers; then `end`.
 * Everything that is handed over is attacker-controlled: whoever can change the database can change all of it.
 */
export class StreamVerifier {
  readonly findings: Finding[] = [];
  readonly namedEnds: NamedEnd[] = [];
  /** Entries of retention and redaction that were among the rows. */
  readonly upkeep: UpkeepRow[] = [];
  /** Of requests, as their openings and receipts name them; as many as those. */
  readonly digests: RequestDigest[] = [];
  /** Public keys that rows of this stream bring. */
  readonly broughtKeys: BroughtKey[] = [];
  readonly #stream: StoredStream;
  readonly #keys: Keys;
  #seq = 0n;
  #hash: Buffer = GENESIS_HASH;
  #batches: StoredBatch[] = [];
  #batchedTo = 0n;
  #batchedHash: Buffer = GENESIS_HASH;
  /** What retention dropped and was not passed yet, in order. */
  readonly #dropped: GoneRange[];
  readonly #redacted: ReadonlySet<bigint>;
  /** The first of the rows just passed as dropped; null: the row before is there. */
  #passedFrom: bigint | null = null;
  /** Keys of other streams that signed batches here, with the first row that each did. */
  readonly #foreign = new Map<string, bigint>();
  readonly #recoverers = new Set<string>();
  /** Where rows are gone, the batches alone say that nothing is missing between them. */
  readonly #batchesAlone: boolean;

  /** `gone`: what entries of the log account for; those entries are rows like any other, and are checked as such. */
  constructor(stream: StoredStream, keys: Keys, gone: Gone = NOTHING_GONE) {
    this.#stream = stream;
    this.#keys = keys;
    this.#dropped = [...gone.dropped];
    this.#batchesAlone = gone.dropped.length > 0;
    this.#redacted = gone.redacted;
  }

  batch(batch: StoredBatch): void {
    this.#checkSigned(batch);
    this.#batches.push(batch);
  }

  /** A batch whose rows are not handed over, whoever has them: its signature alone says where it begins and ends. */
  unseen(batch: StoredBatch): void {
    this.#checkSigned(batch);
    const { fromSeq, toSeq, prevHash, hash } = batch;
    this.#passDropped(toSeq);
    if (this.#seq < fromSeq) {
      const first = { row: { seq: fromSeq }, prevHash, hash };
      this.#checkOrder(first);
      this.#passUnrowed(first);
    }
    this.#passedFrom = null;
    this.#clipDropped(batch);
    this.#seq = toSeq;
    this.#hash = hash;
  }

  #checkSigned(batch: StoredBatch): void {
    if (batch.fromSeq !== this.#batchedTo + 1n) {
      this.#found(batch.fromSeq, 'batch', 'a batch before this one is missing');
    } else if (this.#batchesAlone && !batch.prevHash.equals(this.#batchedHash)) {
      this.#found(batch.fromSeq, 'batch', 'the batch does not begin where the one before it ends');
    }
    this.#batchedTo = batch.toSeq;
    this.#batchedHash = batch.hash;
    if (batch.kid !== this.#stream.kid && !this.#foreign.has(batch.kid))
      this.#foreign.set(batch.kid, batch.fromSeq);
    const ok = this.#keys.ofStreams(batch.kid, batchBytes(batch), batch.signature);
    if (ok === true) return;
    const why =
      ok === null
        ? `signed with a key that nothing here names: ${batch.kid}`
        : 'the signature is not over these rows';
    this.#found(batch.fromSeq, 'batch_signature', `rows ${batch.fromSeq} to ${batch.toSeq}: ${why}`);
  }

  row(stored: StoredRow): void {
    const { row } = stored;
    this.#passDropped(row.seq - 1n);
    this.#checkOrder(stored);
    this.#checkHash(stored);
    const erased = stored.content === null && row.content !== null;
    if (!contentMatches(stored) && !(erased && this.#redacted.has(row.seq))) {
      this.#found(row.seq, 'content', "the statement's text, digest or parameters were changed or removed");
    }
    if (stored.content !== null) this.#checkRedacted(row.seq);
    this.#checkBatch(stored);
    this.#checkReceipt(row);
    this.#readFacts(row);
    this.#seq = row.seq;
    this.#hash = stored.hash;
  }

  /**
   * A row of this stream, of a statement, whose hash and commitment were computed already and are right: what is left is
   * its place in the chain.
   */
  sound(linked: Linked): void {
    // The first row says whose the stream is; this one does not.
    if (linked.row.seq === 1n)
      this.#found(1n, 'head', "the stream's key or facts are not those of its first row");
    this.#passDropped(linked.row.seq - 1n);
    this.#checkOrder(linked);
    this.#checkRedacted(linked.row.seq);
    this.#checkBatch(linked);
    this.#seq = linked.row.seq;
    this.#hash = linked.hash;
  }

  /** `head`: where what was handed over ends; left out: at the stream's head. */
  end(head: { readonly seq: bigint; readonly hash: Buffer } | null = null): void {
    const { stream } = this.#stream;
    const headSeq = head?.seq ?? this.#stream.headSeq;
    const headHash = head?.hash ?? this.#stream.headHash;
    this.#passDropped(headSeq);
    for (const { fromSeq, toSeq } of this.#dropped)
      this.#found(
        fromSeq,
        'retention',
        `rows ${fromSeq} to ${toSeq}: an entry says that they were dropped, and that does not fit what is there`,
      );
    if (headSeq < 1n) this.#found(headSeq, 'head', 'the stream has a head but no rows');
    if (this.#seq < headSeq)
      this.#found(headSeq, 'head', `cut off: the last row is ${this.#seq}, the head says ${headSeq}`);
    else if (this.#seq > headSeq) this.#found(headSeq, 'head', `rows after the head, up to ${this.#seq}`);
    else if (!this.#hash.equals(headHash))
      this.#found(headSeq, 'head', 'the last row is another one than the head names');
    for (const batch of this.#batches)
      this.#found(batch.toSeq, 'batch', `row ${batch.toSeq} was signed and is not there`);
    if (this.#batchedTo < this.#seq) this.#found(this.#seq, 'batch', 'rows at the end are not signed');
    for (const [kid, seq] of this.#foreign) {
      if (this.#recoverers.has(kid) && this.#keys.endorsed(kid)) continue;
      this.#found(
        seq,
        'batch_signature',
        `signed with the key of another stream, which did not recover ${stream}: ${kid}`,
      );
    }
  }

  /** Goes on over what was dropped, as far as it joins the row before: up to `last` at most. */
  #passDropped(last: bigint): void {
    for (let range = this.#dropped[0]; range !== undefined; range = this.#dropped[0]) {
      if (range.toSeq > last || range.fromSeq !== this.#seq + 1n || !range.prevHash.equals(this.#hash))
        return;
      this.#passBatches(range);
      this.#seq = range.toSeq;
      this.#hash = range.hash;
      this.#passedFrom ??= range.fromSeq;
      this.#dropped.shift();
    }
  }

  /** Batches that end where rows are gone; where one begins or ends with the range, the hashes must be the same. */
  #passBatches(range: GoneRange): void {
    const { fromSeq, toSeq, prevHash, hash } = range;
    for (let batch = this.#batches[0]; batch !== undefined; batch = this.#batches[0]) {
      if (batch.fromSeq === fromSeq && !batch.prevHash.equals(prevHash)) this.#anotherHash(range);
      if (batch.toSeq > toSeq) return;
      if (batch.toSeq === toSeq && !batch.hash.equals(hash)) this.#anotherHash(range);
      this.#batches.shift();
    }
  }

  /** Of what was dropped, that which comes after a batch whose rows are not handed over. */
  #clipDropped({ toSeq, hash }: StoredBatch): void {
    for (
      let range = this.#dropped[0];
      range !== undefined && range.fromSeq <= toSeq;
      range = this.#dropped[0]
    ) {
      this.#dropped.shift();
      if (range.toSeq === toSeq && !range.hash.equals(hash)) this.#anotherHash(range);
      if (range.toSeq <= toSeq) continue;
      this.#dropped.unshift({ fromSeq: toSeq + 1n, toSeq: range.toSeq, prevHash: hash, hash: range.hash });
      return;
    }
  }

  #anotherHash({ fromSeq, toSeq }: GoneRange): void {
    this.#found(
      fromSeq,
      'retention',
      `rows ${fromSeq} to ${toSeq}: an entry says that they were dropped, with another hash than was signed`,
    );
  }

  #checkRedacted(seq: bigint): void {
    if (this.#redacted.has(seq))
      this.#found(seq, 'redaction', 'an entry says that this row was redacted, and it was not');
  }

  #checkOrder({ row, prevHash }: Linked): void {
    const next = this.#seq + 1n;
    const passedFrom = this.#passedFrom;
    this.#passedFrom = null;
    if (row.seq === this.#seq) this.#found(row.seq, 'gap', 'the sequence number is there twice');
    else if (row.seq !== next) this.#found(row.seq, 'gap', `rows ${next} to ${row.seq - 1n} are missing`);
    else if (prevHash.equals(this.#hash)) return;
    else if (passedFrom !== null)
      this.#found(row.seq, 'gap', `rows ${passedFrom} to ${row.seq - 1n} are missing`);
    else {
      this.#found(
        row.seq,
        'link',
        'the row before this one was changed, moved or replaced: its hash is not the one named here',
      );
    }
  }

  #checkHash({ row, prevHash, hash }: StoredRow): void {
    if (columnsOf(row.version) === null) {
      const detail = `schema version ${row.version} is not known to this program: use a newer one`;
      this.findings.push({ stream: row.stream, seq: row.seq, check: 'row_hash', ok: null, detail });
    } else if (!rowHash(prevHash, row).equals(hash)) {
      this.#found(row.seq, 'row_hash', 'the row was changed: its hash is not that of its columns');
    }
  }

  #checkBatch(linked: Linked): void {
    const { row, prevHash, hash } = linked;
    this.#passUnrowed(linked);
    const batch = this.#batches[0];
    if (batch === undefined) return;
    if (row.seq === batch.fromSeq && !prevHash.equals(batch.prevHash)) {
      this.#found(row.seq, 'batch', 'the batch does not begin where its first row does');
    }
    if (row.seq !== batch.toSeq) return;
    if (!hash.equals(batch.hash))
      this.#found(row.seq, 'batch', `row ${row.seq} is not the one that was signed`);
    this.#batches.shift();
  }

  /** Batches before a row whose own last rows did not come. */
  #passUnrowed({ row }: Linked): void {
    for (
      let batch = this.#batches[0];
      batch !== undefined && batch.toSeq < row.seq;
      batch = this.#batches[0]
    ) {
      this.#found(batch.toSeq, 'batch', `row ${batch.toSeq} was signed and is not there`);
      this.#batches.shift();
    }
  }

  #checkReceipt({ seq, at, kind, receipt, request_id }: Row): void {
    if (receipt === null && (kind === 'request_approved' || kind === 'released'))
      this.#found(seq, 'receipt', 'an approval without a receipt');
    if (receipt === null || kind === 'intent' || kind === 'outcome') return;
    const { trusted, revoked, passkeys } = this.#keys;
    const revokedThen = (kid: string) => revoked?.(kid, at) === true;
    const problem = receiptProblem(receipt, request_id, trusted, revokedThen);
    if (problem !== null) this.#found(seq, 'receipt', problem);
    const unproved = passkeyProblem(receipt, (kid) => passkeys?.(kid) ?? null, revokedThen);
    if (unproved !== null) this.#found(seq, 'passkey', unproved);
    const digest = jsonOf(receipt.split('.')[1] ?? '')?.['digest'];
    this.#names(seq, 'receipt', request_id, typeof digest === 'string' ? digest : null);
  }

  #readFacts(row: Row): void {
    if (row.seq === 1n) this.#checkStart(row);
    if (isUpkeep(row.kind)) this.upkeep.push(row);
    if (row.kind === 'request_opened')
      this.#names(row.seq, 'opening', row.request_id, detailOf(row)['digest'] ?? null);
    const key = row.kind === 'key' ? broughtKey(row, detailOf(row)) : null;
    if (key !== null) this.broughtKeys.push(key);
    if (row.kind !== 'log_start' && row.kind !== 'log_recovered') return;
    const { by_kid } = detailOf(row);
    if (row.kind === 'log_recovered' && by_kid !== undefined) this.#recoverers.add(by_kid);
    const end = namedEnd(row);
    if (end !== null) this.namedEnds.push(end);
  }

  #checkStart(row: Row): void {
    const { stream_kid, stream_jwk, endorsed_by, endorsement, ...facts } = detailOf(row);
    const { kid, endorsedBy, registered } = this.#stream;
    const same =
      stream_kid === kid &&
      endorsed_by === endorsedBy &&
      endorsement === this.#stream.endorsement.toString('hex') &&
      (registered === undefined ||
        (registered.startedAt === row.at &&
          sameRecord(parsed(stream_jwk ?? ''), registered.publicJwk) &&
          sameRecord(facts, registered.facts)));
    if (row.kind === 'log_start' && same) return;
    this.#found(1n, 'head', "the stream's key or facts are not those of its first row");
  }

  #names(seq: bigint, by: RequestDigest['by'], request: string | null, digest: string | null): void {
    this.digests.push({ stream: this.#stream.stream, seq, by, request, digest });
  }

  #found(seq: bigint, check: Check, detail: string): void {
    this.findings.push({ stream: this.#stream.stream, seq, check, ok: false, detail });
  }
}

/** The end of another stream that a start or a recovery names; null: it names none. Attacker-controlled. */
export function namedEnd(row: Row): NamedEnd | null {
  if (row.kind !== 'log_start' && row.kind !== 'log_recovered') return null;
  const { previous_stream, previous_seq, previous_hash } = detailOf(row);
  if (previous_stream === undefined || previous_seq === undefined || previous_hash === undefined) return null;
  if (!/^\d{1,19}$/.test(previous_seq)) return null;
  return { by: row.stream, stream: previous_stream, seq: BigInt(previous_seq), hash: previous_hash };
}

/** Whether text, digest and parameters are those that the row committed to. */
function contentMatches({ row, content }: StoredRow): boolean {
  if (content === null) return row.content === null;
  return row.content?.equals(contentHash(content)) ?? false;
}
