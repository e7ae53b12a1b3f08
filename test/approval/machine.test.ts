import { describe, expect, it } from 'vitest';
import {
  isLive,
  REQUEST_STATES,
  type RequestEvent,
  statesBefore,
  TRANSITIONS,
  transition,
} from '../../src/approval/machine.ts';

const EVENTS: readonly RequestEvent[] = [
  'quorum',
  'denial',
  'expiry',
  'withdrawal',
  'release',
  'executed',
  'failed',
  'loss',
];

/** DESIGN.md, section 10, written down a second time: `.` same, `!` refused, else the first letters of the new state. */
const SPECIFICATION = `
             quorum denial expiry withdrawal release executed failed loss
  open       appr   deni   expi   with       !       !        !      !
  approved   .      !      expi   with       cons    !        !      !
  denied     !      .      .      .          !       !        !      !
  expired    !      !      .      .          !       !        !      !
  withdrawn  !      !      .      .          !       !        !      !
  consumed   .      !      .      .          !       exec     fail   unkn
  executed   .      !      .      .          !       .        .      .
  failed     .      !      .      .          !       .        .      .
  unknown    .      !      .      .          !       .        .      .
`;

describe('the state machine', () => {
  const [head = '', ...lines] = SPECIFICATION.trim().split('\n');
  const events = head.trim().split(/ +/);
  const cells = lines.flatMap((line) => {
    const [state, ...values] = line.trim().split(/ +/);
    return values.map((value, column) => [state, events[column], value] as const);
  });

  it.each(cells)('%s + %s', (state, event, value) => {
    const from = REQUEST_STATES.find((name) => name === state);
    const by = EVENTS.find((name) => name === event);
    if (from === undefined || by === undefined) throw new Error(`no such cell: ${state} ${event}`);
    const next = transition(from, by);
    expect(value === '.' ? 'same' : value === '!' ? 'refused' : value).toBe(
      value.length === 1 ? next : next.slice(0, 4),
    );
  });

  it('is specified in every cell', () => {
    expect(cells).toHaveLength(REQUEST_STATES.length * EVENTS.length);
    expect(Object.keys(TRANSITIONS).sort()).toEqual([...REQUEST_STATES].sort());
  });

  it('is left only by way of its live states and `consumed`, and released from one state alone', () => {
    for (const state of REQUEST_STATES) {
      const leaves = EVENTS.some((event) => !['same', 'refused'].includes(transition(state, event)));
      expect(leaves).toBe(isLive(state) || state === 'consumed');
    }
    expect(statesBefore('release')).toEqual(['approved']);
    expect(statesBefore('expiry')).toEqual(['open', 'approved']);
  });
});
