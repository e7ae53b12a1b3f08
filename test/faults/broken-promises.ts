/**
 * Programs each of which breaks one promise, as a slip in the code would. Whatever compares the server's log with ours
 * must notice every one of them, or it proves nothing where it finds nothing.
 */
import pg from 'pg';
import { Journal } from '../../src/audit/journal/journal.ts';
import { Wire } from '../../src/proxy/wire.ts';
import type { Effect } from '../../src/session/effect.ts';
import { Session } from '../../src/session/session.ts';

/** Each alters the parts of this process before they run. */
export const BROKEN = {
  'the intent is recorded behind the statement': intentsBehind,
  'a result leaves before its record is written': writesNoIntent,
  'a statement is sent twice': sendsTwice,
  'an approval is not used up': () => saysOtherwise(CONSUMES, 'SET attached_by = NULL, '),
  'a statement runs before its approval is used up': () => commitsLate(CONSUMES),
  'an approver is told before the answer is stored': () => commitsLate('INSERT INTO countersign.verdict'),
  'what a dead process left is called executed': () => closesOpen('executed'),
  'what a dead process left gets no outcome': () => closesOpen(null),
} satisfies Readonly<Record<string, () => void>>;

export type BrokenPromise = keyof typeof BROKEN;

const CONSUMES = "SET state = 'consumed', consumed_by = $2, attached_by = NULL,";
/** Longer than a killed process lives. */
const LATE_MS = 5_000;

function intentsBehind(): void {
  const { takeEffects } = Session.prototype;
  const kept = new WeakMap<Session, Effect[]>();
  const isIntent = (effect: Effect) => effect.kind === 'record' && effect.entry.kind === 'intent';
  Session.prototype.takeEffects = function () {
    const effects = takeEffects.call(this);
    const before = kept.get(this) ?? [];
    kept.set(this, effects.filter(isIntent));
    return [...before, ...effects.filter((effect) => !isIntent(effect))];
  };
}

function writesNoIntent(): void {
  const { append, write } = Journal.prototype;
  const held = new WeakSet<Journal>();
  Journal.prototype.append = function (entry) {
    if (entry.kind === 'intent') held.add(this);
    return append.call(this, entry);
  };
  Journal.prototype.write = function () {
    if (!held.has(this)) write.call(this);
  };
}

function sendsTwice(): void {
  const { write } = Wire.prototype;
  Wire.prototype.write = function (bytes) {
    write.call(this, bytes.includes('INSERT INTO marks') ? Buffer.concat([bytes, bytes]) : bytes);
  };
}

/** To the store of requests, in place of those words. */
function saysOtherwise(words: string, instead: string): void {
  const { query } = pg.Client.prototype;
  queriesBecome(function (...args) {
    const [text, ...rest] = args;
    const said = typeof text === 'string' ? text.replace(words, instead) : text;
    return Reflect.apply(query, this, [said, ...rest]);
  });
}

/** The transaction that says those words counts as committed before it is. */
function commitsLate(words: string): void {
  const { query } = pg.Client.prototype;
  const open = new WeakSet<pg.Client>();
  const late = new WeakMap<pg.Client, Promise<unknown>>();
  queriesBecome(function (...args) {
    const say = () => Reflect.apply(query, this, args);
    const [text] = args;
    if (typeof text !== 'string') return say();
    if (text.includes(words)) open.add(this);
    if (!text.endsWith('COMMIT') || !open.delete(this)) return late.get(this)?.then(say) ?? say();
    late.set(this, new Promise((done) => setTimeout(done, LATE_MS)).then(say));
    return Promise.resolve({ rows: [] });
  });
}

function queriesBecome(query: (this: pg.Client, ...args: readonly unknown[]) => unknown): void {
  Object.assign(pg.Client.prototype, { query });
}

/** What recovery closes, for it alone says `unknown` of statements that another process ran. */
function closesOpen(outcome: 'executed' | null): void {
  const { append } = Journal.prototype;
  Journal.prototype.append = function (entry) {
    if (entry.kind !== 'outcome' || entry.outcome !== 'unknown') return append.call(this, entry);
    return outcome === null ? this.seq : append.call(this, { ...entry, outcome });
  };
}
