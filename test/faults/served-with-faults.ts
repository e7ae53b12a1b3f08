/**
 * `countersign serve` that kills itself at a point: started in the program's place, it wraps the program's own parts
 * before they run. A line on stdin says where and at which statement: `{"point": …, "marker": …}`. With
 * `--broken=<promise>` as the last argument it is a program that breaks that promise.
 */
import { createInterface } from 'node:readline';
import { Journal } from '../../src/audit/journal/journal.ts';
import { runCli } from '../../src/cli/program.ts';
import { Wire } from '../../src/proxy/wire.ts';
import { Session } from '../../src/session/session.ts';
import { BROKEN, type BrokenPromise } from './broken-promises.ts';
import type { InsidePoint } from './points.ts';

const BREAKS = '--broken=';
const args = process.argv.filter((arg) => !arg.startsWith(BREAKS));
const [broken] = process.argv.filter((arg) => arg.startsWith(BREAKS));
if (broken !== undefined) BROKEN[broken.slice(BREAKS.length) as BrokenPromise]();

type Armed = { readonly point: InsidePoint; readonly marker: string };

let armed: Armed | null = null;
const upstreams = new WeakSet<Wire>();
/** The marked statements: where their intents and outcomes are in the journal. */
let journal: Journal | null = null;
let lastIntent = 0n;
let lastOutcome = 0n;
const statements = new Set<string>();
/** The session's own connection, once the marked statement has left on it. */
let forwardedOn: Wire | null = null;
let answered = false;

createInterface({ input: process.stdin }).on('line', (line) => {
  armed = JSON.parse(line) as Armed;
  process.stdout.write(`armed ${armed.marker}\n`);
});

/** Does not return where this is the point. */
function passing(point: InsidePoint): void {
  if (armed?.point === point) process.kill(process.pid, 'SIGKILL');
}

const isMarked = (text: string | Buffer): boolean => armed !== null && text.includes(armed.marker);

const { frontend, takeEffects } = Session.prototype;
Session.prototype.frontend = function (type, frame, now) {
  if (isMarked(frame)) passing('received');
  frontend.call(this, type, frame, now);
};
Session.prototype.takeEffects = function () {
  const effects = takeEffects.call(this);
  for (const effect of effects)
    if (effect.kind === 'record' && effect.entry.kind === 'intent' && isMarked(effect.entry.sql))
      passing('analysed');
  return effects;
};

const { append, write, sync } = Journal.prototype;
Journal.prototype.append = function (entry) {
  const seq = append.call(this, entry);
  if (entry.kind === 'intent' && isMarked(entry.sql)) {
    journal = this;
    lastIntent = seq;
    statements.add(`${entry.statementNo}/${entry.session.sessionId}`);
    passing('intent in memory');
  } else if (entry.kind === 'outcome' && statements.has(`${entry.statementNo}/${entry.session.sessionId}`)) {
    lastOutcome = seq;
    passing('outcome in memory');
  }
  return seq;
};
Journal.prototype.write = function () {
  write.call(this);
  if (this !== journal) return;
  if (this.writtenSeq >= lastIntent) passing('intent written');
  if (lastOutcome > 0n && this.writtenSeq >= lastOutcome) passing('outcome written');
};
Journal.prototype.sync = async function () {
  await sync.call(this);
  if (this !== journal) return;
  if (this.syncedSeq >= lastIntent) passing('intent synced');
  if (lastOutcome > 0n && this.syncedSeq >= lastOutcome) passing('outcome synced');
};

const { connect } = Wire;
Wire.connect = async (options) => {
  const wire = await connect.call(Wire, options);
  upstreams.add(wire);
  return wire;
};
const writeWire = Wire.prototype.write;
const { chunkRead } = Wire.prototype;
Wire.prototype.write = function (bytes) {
  const forwards = upstreams.has(this) && isMarked(bytes);
  if (forwards) passing('before forward');
  const replies = answered && !upstreams.has(this);
  if (replies) passing('before reply');
  writeWire.call(this, bytes);
  if (replies) passing('after reply');
  if (!forwards) return;
  forwardedOn = this;
  passing('after forward');
};
Wire.prototype.chunkRead = function (buffer, length) {
  if (this === forwardedOn) {
    answered = true;
    passing('first reply byte');
  }
  chunkRead.call(this, buffer, length);
};

process.exitCode = await runCli(args);
