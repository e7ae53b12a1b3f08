import { serialize } from 'pg-protocol';
import { encodeFrame } from '../../../src/protocol/backend.ts';

/** Frontend messages by the manual's letters. */
export const Q = (text: string) => serialize.query(text);
/** By hand: the serializer warns of names that Postgres cuts. */
export const P = (text: string, name = '') => encodeFrame(0x50, Buffer.from(`${name}\0${text}\0\0\0`));
export const B = (statement = '', portal = '') => serialize.bind({ statement, portal, values: [] });
export const E = (portal = '', rows = 0) => serialize.execute({ portal, rows });
export const describeStatement = (name = '') => serialize.describe({ type: 'S', name });
export const describePortal = (name = '') => serialize.describe({ type: 'P', name });
export const closeStatement = (name = '') => serialize.close({ type: 'S', name });
export const closePortal = (name = '') => serialize.close({ type: 'P', name });
export const S = serialize.sync();
export const H = serialize.flush();
export const d = (text: string) => serialize.copyData(Buffer.from(text));
export const c = serialize.copyDone();
export const f = serialize.copyFail('given up');
export const run = (text: string) => [P(text), B(), E()];
