/** Bind parameters as the log has them: all of it, or so much as the rule that decides lets be written down. */
import { createHash } from 'node:crypto';
import type { Decision } from '../policy/decision.ts';
import type { ParameterRecording } from '../policy/rule.ts';
import type { SessionState } from './state.ts';
import type { Subject } from './subject.ts';

/**
 * What goes into the entry, and so into the journal and the audit database: nothing else of them is written there. An
 * open request has the values all the same, because people decide on them. Null: no bind parameters.
 */
export function recordedParameters(
  state: SessionState,
  subject: Subject,
  decision: Decision,
): readonly (string | null)[] | null {
  const values = subject.parameters?.map(({ shown }) => shown) ?? null;
  if (values === null || values.length === 0) return values;
  switch (recordingOf(state, subject, decision)) {
    case 'full':
      return values;
    case 'digest':
      return [`‹${counted(values)}, sha256 ${parametersDigest(values)}›`];
    case 'none':
      return [`‹${counted(values)}, not recorded›`];
  }
}

/**
 * Hex SHA-256 over each value as it would be recorded (a literal: 'text', NULL): an int32 length, big-endian, and its
 * bytes in UTF-8. It tells equal from different and proves a guess, so what has few possible values can be guessed.
 */
export function parametersDigest(values: readonly (string | null)[]): string {
  const hash = createHash('sha256');
  for (const value of values) {
    const bytes = Buffer.from(value ?? '');
    const length = Buffer.alloc(4);
    length.writeInt32BE(value === null ? -1 : bytes.length);
    hash.update(length).update(bytes);
  }
  return hash.digest('hex');
}

/** A decision that the program made beside policy (a budget's, a floor's) says nothing of it: the policy's does. */
function recordingOf(state: SessionState, subject: Subject, decision: Decision): ParameterRecording {
  const { setup, now } = state;
  const beside =
    decision.rule === 'mistake' || (decision.rule.includes(':') && !decision.rule.startsWith('default:'));
  const said = decision.parameters ?? (beside ? setup.decide(subject.analysis, now).parameters : undefined);
  return said ?? setup.parameters ?? 'full';
}

const counted = (values: readonly unknown[]) =>
  values.length === 1 ? '1 parameter' : `${values.length} parameters`;
