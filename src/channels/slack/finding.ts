import { failureOf } from './api.ts';

/** One thing that was tried. `warning`: it works without, but less well. */
export type Finding = {
  readonly what: string;
  readonly result: 'good' | 'wrong' | 'warning';
  /** For `wrong` and `warning`: what is the matter, and what to do. */
  readonly detail: string;
};

export function good(what: string): Finding {
  return { what, result: 'good', detail: '' };
}

export function wrong(what: string, detail: string): Finding {
  return { what, result: 'wrong', detail };
}

export function warning(what: string, detail: string): Finding {
  return { what, result: 'warning', detail };
}

/** What a call came to: its value, or Slack's own word for what went wrong. `away`: Slack did not answer at all. */
export async function tried<T>(
  work: () => Promise<T>,
): Promise<{ readonly value: T } | { readonly failure: string; readonly away: boolean }> {
  try {
    return { value: await work() };
  } catch (error) {
    const failure = failureOf(error);
    const words = failure.kind === 'limited' ? 'rate limited, try later' : failure.why;
    return { failure: words, away: failure.kind === 'away' };
  }
}
