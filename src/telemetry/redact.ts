/** What takes a secret's place. */
const REDACTED = '[redacted]';

const SECRET_KEY =
  /passw(or)?d|secret|authorization|cookie|verifier|credential|privatekey|assertion|^(api|bot|app|access|refresh|approver|bearer)?_?token$|^api_?key$|^pw$/i;

/** How deep values are looked into; deeper ones are cut, so that nothing gets by underneath. */
const DEPTH = 6;

/** A copy of a log record's fields in which values under secret-looking keys are replaced, at any depth. */
export function redactFields(fields: Record<string, unknown>): Record<string, unknown> {
  return walk(fields, 0) as Record<string, unknown>;
}

function walk(value: unknown, depth: number): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  // Errors go through pino's own serializer, bytes are never text for a log.
  if (value instanceof Error || value instanceof Date) return value;
  if (ArrayBuffer.isView(value)) return `<${value.byteLength} bytes>`;
  if (depth >= DEPTH) return '[cut]';
  if (Array.isArray(value)) return value.map((inner) => walk(inner, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      SECRET_KEY.test(key) && inner !== null && inner !== undefined ? REDACTED : walk(inner, depth + 1),
    ]),
  );
}

/** Shapes that are secrets wherever they stand, also in the middle of a library's message. */
const SECRET_TEXT: readonly (readonly [RegExp, string])[] = [
  // scheme://user:password@host. Greedy to the last @ before a blank, quote or slash: a password may hold an @.
  [/\b([a-z][a-z0-9+.-]*:\/\/[^\s:/@"'\\]*:)[^\s"'/\\]*@/gi, `$1${REDACTED}@`],
  [/([?&](?:password|token|sslpassword)=)[^\s&"'\\]+/gi, `$1${REDACTED}`],
  [/\b(password\s*=\s*)(?:'[^']*'|[^\s"';,\\]+)/gi, `$1${REDACTED}`],
  [/\bSCRAM-SHA-256\$\d+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+/g, REDACTED],
  [/\bx(?:ox[a-z]|app)-[A-Za-z0-9-]+/g, REDACTED],
  [/\b(Bearer\s+)[A-Za-z0-9._~+/=-]+/gi, `$1${REDACTED}`],
];

/** Text without the passwords and tokens that can be told by their form. */
export function scrub(text: string): string {
  return SECRET_TEXT.reduce((scrubbed, [pattern, instead]) => scrubbed.replace(pattern, instead), text);
}
