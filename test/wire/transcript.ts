/**
 * Transcripts: conversations as files. A line is `F` and a frontend message, `B` and what Postgres answers, `A` and
 * SQL that another session runs, or `#` and a comment. `F <wait>` stops until Postgres has said all that follows in
 * `B` lines; so does the end. `B <closed>` is the end of the connection by the server.
 */
import { encodeFrontend } from './frontend-text.ts';

/** What is sent between two waits. */
export type Segment = {
  /** SQL of another session, run before the frames are sent. */
  readonly another: readonly string[];
  readonly frames: readonly Buffer[];
  /** The `B` lines, without their letter. */
  readonly expected: readonly string[];
};

export type Transcript = {
  readonly segments: readonly Segment[];
  /** `# policy: …` says why a policy would not let all of it pass; null: it does. */
  readonly held: string | null;
  /** `# differs: …` says what of the replies cannot be the same through the proxy, and why; null: all is. */
  readonly differs: string | null;
};

export const CLOSED = '<closed>';
const WAIT = '<wait>';

/** Throws where a line is none, or a message follows replies without a wait before them. */
export function parseTranscript(text: string): Transcript {
  const segments: Segment[] = [];
  let current = open();
  const said = (word: string) => new RegExp(`^# ${word}: (.*)$`, 'm').exec(text)?.[1] ?? null;
  for (const [number, line] of text.split('\n').entries()) {
    const kind = line.slice(0, 2);
    const rest = line.slice(2);
    const where = `line ${number + 1}: ${line}`;
    if (line.trim() === '' || line.startsWith('#')) continue;
    if (kind === 'B ') {
      current.expected.push(rest);
      continue;
    }
    if (kind !== 'F ' && kind !== 'A ') throw new Error(`neither F, B, A nor comment: ${where}`);
    if (current.waited || current.expected.length > 0) {
      if (!current.waited) throw new Error(`F <wait> is missing before the replies above ${where}`);
      segments.push(current);
      current = open();
    }
    if (kind === 'A ') current.another.push(rest);
    else if (rest === WAIT) current.waited = true;
    else current.frames.push(encodeFrontend(rest));
  }
  return { segments: [...segments, current], held: said('policy'), differs: said('differs') };
}

/** The same file with these replies in place of its own, one list a segment. */
export function withReplies(text: string, replies: readonly (readonly string[])[]): string {
  const lines: string[] = [];
  let next = 0;
  const answer = () => lines.push(...(replies[next++] ?? []).map((reply) => `B ${reply}`));
  for (const line of text.trimEnd().split('\n')) {
    if (line.startsWith('B ')) continue;
    lines.push(line);
    if (line === `F ${WAIT}`) answer();
  }
  answer();
  return `${lines.join('\n')}\n`;
}

function open() {
  return { another: [] as string[], frames: [] as Buffer[], expected: [] as string[], waited: false };
}
