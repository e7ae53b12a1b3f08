import { z } from 'zod';

/** Names that Slack hands back to us in a payload. Changing one orphans the buttons of cards already posted. */
export const ACTION = {
  approve: 'countersign_approve',
  deny: 'countersign_deny',
  details: 'countersign_details',
} as const;

export const DENY_FORM = 'countersign_deny_form';
export const REASON_BLOCK = 'reason';
export const REASON_INPUT = 'text';

/** Which question a button or a form is about: the request, and the digest of what its card showed. */
export type Subject = { readonly requestId: string; readonly digest: string };

const subjectShape = z.strictObject({
  r: z.string().regex(/^req_[0-9A-Za-z]{20,26}$/),
  d: z.string().min(1).max(128),
});

/** A button's value; Slack allows 2,000 characters, this has about 120. */
export function subjectValue(subject: Subject): string {
  return JSON.stringify({ r: subject.requestId, d: subject.digest });
}

/** Null for anything that `subjectValue` did not make. Attacker-controlled as far as Slack is. */
export function readSubject(value: string): Subject | null {
  const read = subjectShape.safeParse(parseJson(value));
  return read.success ? { requestId: read.data.r, digest: read.data.d } : null;
}

/** A form remembers where its card is, so that a refusal can be shown there. Slack allows 3,000 characters. */
export type FormOrigin = Subject & { readonly channel: string };

const originShape = z.strictObject({ ...subjectShape.shape, c: z.string().max(40) });

export function originValue(origin: FormOrigin): string {
  return JSON.stringify({ r: origin.requestId, d: origin.digest, c: origin.channel });
}

export function readOrigin(value: string): FormOrigin | null {
  const read = originShape.safeParse(parseJson(value));
  return read.success ? { requestId: read.data.r, digest: read.data.d, channel: read.data.c } : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
