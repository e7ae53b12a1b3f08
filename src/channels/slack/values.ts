import { z } from 'zod';

/** Names that Slack hands back to us in a payload. Changing one orphans the buttons of cards already posted. */
export const ACTION = {
  approve: 'countersign_approve',
  approveAll: 'countersign_approve_all',
  deny: 'countersign_deny',
  details: 'countersign_details',
  /** A link to the request's page. */
  page: 'countersign_page',
} as const;

export const DENY_FORM = 'countersign_deny_form';
export const DETAILS_VIEW = 'countersign_details_view';
export const REASON_BLOCK = 'reason';
export const REASON_INPUT = 'text';

/**
 * Which question a button or a form is about: the request, the digest of what its card showed, and, for an answer to all
 * that are shown as one with it, their ids; none: it is about this one.
 */
export type Subject = {
  readonly requestId: string;
  readonly digest: string;
  readonly alike: readonly string[];
};

/** As many ids as fit into a button's value. */
export const ALIKE_ANSWERED = 50;

const requestId = z.string().regex(/^req_[0-9A-Za-z]{20,26}$/);
const subjectShape = z.strictObject({
  r: requestId,
  d: z.string().min(1).max(128),
  a: z.array(requestId).min(1).max(ALIKE_ANSWERED).optional(),
});
type SubjectShape = z.infer<typeof subjectShape>;

function packed({ requestId: r, digest: d, alike }: Subject): SubjectShape {
  return alike.length === 0 ? { r, d } : { r, d, a: [...alike] };
}

function unpacked({ r, d, a }: SubjectShape): Subject {
  return { requestId: r, digest: d, alike: a ?? [] };
}

/** A button's value; Slack allows 2,000 characters, this has about 120, and 1,800 with fifty ids. */
export function subjectValue(subject: Subject): string {
  return JSON.stringify(packed(subject));
}

/** Null for anything that `subjectValue` did not make. Attacker-controlled as far as Slack is. */
export function readSubject(value: string): Subject | null {
  const read = subjectShape.safeParse(parseJson(value));
  return read.success ? unpacked(read.data) : null;
}

/** A form remembers where its card is, so that a refusal can be shown there. Slack allows 3,000 characters. */
export type FormOrigin = Subject & { readonly channel: string };

const originShape = z.strictObject({ ...subjectShape.shape, c: z.string().max(40) });

export function originValue(origin: FormOrigin): string {
  return JSON.stringify({ ...packed(origin), c: origin.channel });
}

export function readOrigin(value: string): FormOrigin | null {
  const read = originShape.safeParse(parseJson(value));
  return read.success ? { ...unpacked(read.data), channel: read.data.c } : null;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
