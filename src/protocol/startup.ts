/** What a client may send before authentication (manual, "Start-up"). All of it is attacker-controlled. */

export const PROTOCOL_3_0 = 0x0003_0000;
export const PROTOCOL_3_2 = 0x0003_0002;
const CANCEL_REQUEST = 80877102;
const SSL_REQUEST = 80877103;
const GSSENC_REQUEST = 80877104;

export type StartupPacket =
  | { readonly kind: 'ssl' }
  | { readonly kind: 'gssenc' }
  | { readonly kind: 'cancel'; readonly processId: number; readonly key: Buffer }
  | {
      readonly kind: 'startup';
      /** As asked for: major * 65536 + minor. */
      readonly protocol: number;
      /** In the order sent, without `_pq_.` options. */
      readonly parameters: ReadonlyMap<string, string>;
      /** Names of `_pq_.` options: none is known, so all go into NegotiateProtocolVersion. */
      readonly protocolOptions: readonly string[];
    };

/** The client's first packet breaks the protocol; the text is Postgres' own where it has one. */
export class StartupError extends Error {
  override readonly name = 'StartupError';
  readonly code: string;
  constructor(message: string, code = '08P01') {
    super(message);
    this.code = code;
  }
}

/**
 * Decodes a whole start-up packet (int32 length, int32 code, body). Throws `StartupError` for an unknown protocol
 * (0A000), a broken layout, a duplicate key (Postgres takes the last, so what was checked might not be what counts)
 * and a cancel request of a wrong length.
 */
export function decodeStartup(packet: Buffer): StartupPacket {
  if (packet.length < 8) throw new StartupError('invalid length of startup packet');
  const code = packet.readUInt32BE(4);
  if (code === SSL_REQUEST || code === GSSENC_REQUEST) {
    if (packet.length !== 8) throw new StartupError('invalid length of startup packet');
    return { kind: code === SSL_REQUEST ? 'ssl' : 'gssenc' };
  }
  if (code === CANCEL_REQUEST) {
    // 3.0 has four bytes of key, 3.2 up to 256.
    if (packet.length < 16 || packet.length > 12 + 256)
      throw new StartupError('invalid length of cancel request');
    return { kind: 'cancel', processId: packet.readInt32BE(8), key: Buffer.from(packet.subarray(12)) };
  }
  if (code >>> 16 !== 3)
    throw new StartupError(
      `unsupported frontend protocol ${code >>> 16}.${code & 0xffff}: server supports 3.0 to 3.2`,
      '0A000',
    );
  return decodeParameters(packet, code);
}

function decodeParameters(packet: Buffer, protocol: number): StartupPacket {
  const parameters = new Map<string, string>();
  const protocolOptions: string[] = [];
  let at = 8;
  const next = (): string => {
    const end = packet.indexOf(0, at);
    if (end === -1) throw new StartupError('invalid startup packet layout: expected terminator as last byte');
    const text = packet.toString('utf8', at, end);
    at = end + 1;
    return text;
  };
  for (;;) {
    const name = next();
    if (name === '') break;
    const value = next();
    if (name.startsWith('_pq_.')) protocolOptions.push(name);
    else if (parameters.has(name)) throw new StartupError(`startup parameter "${name}" is given twice`);
    else parameters.set(name, value);
  }
  if (at !== packet.length)
    throw new StartupError('invalid startup packet layout: expected terminator as last byte');
  return { kind: 'startup', protocol, parameters, protocolOptions };
}
