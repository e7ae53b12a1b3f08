/** Showing attacker-controlled text to people: whole, and so that nothing in it can hide. */

type Ranges = readonly (readonly [number, number])[];

/** Longest shown form of one parameter, characters; a longer one says how much is missing. */
const PARAMETER_CHARACTERS = 10_000;

/**
 * The whole text for an approver: control, bidirectional, zero-width and other invisible characters as `‹U+202E›`,
 * the bytes of `secrets` (`[start, end)`, as the analysis gives them) as `‹secret, N bytes›`, invalid UTF-8 as
 * `‹0xFF›`. Line feed and tab stay.
 */
export function showSql(sql: Buffer, secrets: Ranges): string {
  return render(sql, 0, sql.length, secrets, visible);
}

/** Text that is no statement, for one line: as `showSql`, with line feeds and tabs made visible, too. */
export function showText(text: string): string {
  return visible(Buffer.from(text, 'utf8')).replace(/[\n\t]/g, (character) => mark(character.charCodeAt(0)));
}

/** The text between two byte offsets as it is, but without the secrets; for records, which are not rendered. */
export function redactSql(sql: Buffer, start: number, end: number, secrets: Ranges): string {
  if (secrets.length === 0) return sql.toString('utf8', start, end);
  return render(sql, start, end, secrets, (bytes) => bytes.toString('utf8'));
}

/**
 * A bind parameter for people. `value` null: SQL NULL. Text (format 0) is shown as text; binary (1) as a number where
 * the type is an integer or boolean, as text where it is one, else as hexadecimal.
 */
export function showParameter(value: Buffer | null, format: 0 | 1, typeOid: number): string {
  if (value === null) return 'NULL';
  if (format === 0) return shortened(`'${visible(value)}'`, value.length);
  const number = binaryNumber(value, typeOid);
  if (number !== null) return number;
  if (TEXT_OIDS.has(typeOid)) return shortened(`'${visible(value)}'`, value.length);
  return shortened(`\\x${value.subarray(0, PARAMETER_CHARACTERS).toString('hex')}`, value.length);
}

/** text, varchar, bpchar, name, json, unknown, xml */
const TEXT_OIDS = new Set([25, 1043, 1042, 19, 114, 705, 142]);

function binaryNumber(value: Buffer, typeOid: number): string | null {
  if (typeOid === 16 && value.length === 1) return value[0] === 0 ? 'false' : 'true';
  if (typeOid === 21 && value.length === 2) return String(value.readInt16BE());
  if ((typeOid === 23 || typeOid === 26) && value.length === 4) return String(value.readInt32BE());
  if (typeOid === 20 && value.length === 8) return String(value.readBigInt64BE());
  if (typeOid === 700 && value.length === 4) return String(value.readFloatBE());
  if (typeOid === 701 && value.length === 8) return String(value.readDoubleBE());
  return null;
}

function shortened(shown: string, bytes: number): string {
  return shown.length <= PARAMETER_CHARACTERS
    ? shown
    : `${shown.slice(0, PARAMETER_CHARACTERS)}‹cut here, ${bytes} bytes in all›`;
}

function render(
  sql: Buffer,
  start: number,
  end: number,
  secrets: Ranges,
  show: (bytes: Buffer) => string,
): string {
  let shown = '';
  let at = start;
  for (const [from, to] of merged(secrets)) {
    if (to <= at || from >= end) continue;
    const first = Math.max(from, at);
    shown += show(sql.subarray(at, first));
    const last = Math.min(to, end);
    shown += `‹secret, ${last - first} bytes›`;
    at = last;
  }
  return shown + show(sql.subarray(at, end));
}

function merged(ranges: Ranges): [number, number][] {
  const found: [number, number][] = [];
  for (const [from, to] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = found.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else found.push([from, to]);
  }
  return found;
}

/**
 * Everything that has no shape of its own or changes how its neighbours are drawn: controls, format characters (bidi,
 * zero-width, tags), separators other than the blank, surrogates, private use, unassigned, variation selectors,
 * combining grapheme joiner, Hangul and Braille blanks, the marks of this very notation.
 */
const HIDDEN = new RegExp(
  [
    '[\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}\\p{Cs}\\p{Co}\\p{Cn}‹›]',
    '[\\u00a0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000]',
    '[\\u034f\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u2800\\u3164\\uffa0]',
    '[\\ufe00-\\ufe0f\\u{e0100}-\\u{e01ef}]',
  ].join('|'),
  'gu',
);

function visible(bytes: Buffer): string {
  return decode(bytes).replace(HIDDEN, (character) => {
    if (character === '\n' || character === '\t') return character;
    return mark(character.codePointAt(0) ?? 0);
  });
}

function mark(codePoint: number): string {
  return codePoint >= BYTE_MARK && codePoint < BYTE_MARK + 256
    ? `‹0x${(codePoint - BYTE_MARK).toString(16).toUpperCase().padStart(2, '0')}›`
    : `‹U+${codePoint.toString(16).toUpperCase().padStart(4, '0')}›`;
}

/** Bytes that are no UTF-8 are carried as these private characters. */
const BYTE_MARK = 0x10_ff00;

function decode(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (!text.includes('\ufffd')) return text;
  // Slow and exact: a replacement character would hide which bytes they were.
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let shown = '';
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes[at] ?? 0);
    try {
      shown += decoder.decode(bytes.subarray(at, at + length));
      at += length;
    } catch {
      shown += String.fromCodePoint(BYTE_MARK + (bytes[at] ?? 0));
      at += 1;
    }
  }
  return shown;
}

function sequenceLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}
