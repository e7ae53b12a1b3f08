/** Few things that programs do not do, each because no comparison could be made of it. */
import { describePortal, execute, flush, type Message, parse } from './message.ts';
import { LISTING } from './texts.ts';

export function careful(messages: readonly Message[]): readonly Message[] {
  return withoutFreedPortals(withoutMalformedFlush(withoutNested(messages)));
}

/**
 * Parse of SHOW countersign.requests is unnamed: SQL EXECUTE of it is refused, for its result is known only when it is bound.
 *
 * Parse of an EXECUTE or FETCH is unnamed, so that no statement executes itself: nobody can say what that does, and a
 * person would be asked. None executes a statement that is refused: the one in its place fails only at Execute.
 */
function withoutNested(messages: readonly Message[]): readonly Message[] {
  const refused = new Set<string>();
  return messages.map((message) => {
    if (message.kind !== 'P') return message;
    if (message.label.includes(LISTING.refused)) return { ...parse('', LISTING), wait: message.wait };
    if (message.label.includes('(plain: ')) refused.add(message.label.slice(2, 3));
    const text = /^P:[ab]? ((?:EXECUTE|FETCH|MOVE) .*)$/.exec(message.label)?.[1];
    if (text === undefined) return message;
    const executed = /^EXECUTE ([ab])/.exec(text)?.[1] ?? '';
    return { ...parse('', refused.has(executed) ? 'SELECT 1' : text), wait: message.wait };
  });
}

/** COPY reads over a malformed Flush; behind data that fail it is an error, and which it is nobody can tell in time. */
function withoutMalformedFlush(messages: readonly Message[]): readonly Message[] {
  const first = messages.findIndex(({ label }) => /COPY \w+ FROM/.test(label));
  return messages.map((message, i) =>
    message.kind === 'H!' && first !== -1 && i > first ? { ...flush(), wait: message.wait } : message,
  );
}

/**
 * PostgreSQL (18.4) reads freed memory, and may crash, where the unnamed portal of a Query that failed while it was
 * executed is executed in the failed transaction. Such messages name another portal instead.
 */
function withoutFreedPortals(messages: readonly Message[]): readonly Message[] {
  let failed = false;
  let bound = false;
  return messages.map((message) => {
    const { kind, label, wait } = message;
    if (kind === 'Q') failed ||= !NEVER_FAILS.test(label);
    if (kind === 'Q' || kind === 'S' || kind === 'F') bound = false;
    if (kind === 'B') bound ||= label.startsWith('B:<-');
    if (!failed || bound) return message;
    if (kind === 'E' && label.startsWith('E:/')) return { ...execute('b', Number(label.slice(3))), wait };
    return kind === 'DP' && label === 'DP:' ? { ...describePortal('b'), wait } : message;
  });
}
/** Or only because the transaction has failed already. */
const NEVER_FAILS = /^Q (?:BEGIN|COMMIT|ROLLBACK|SELECT 1|)$/;
