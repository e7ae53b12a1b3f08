import { serialize } from 'pg-protocol';

/** Frontend messages by the manual's letters. */
export const Q = (text: string) => serialize.query(text);
export const P = (text: string, name = '') => serialize.parse({ name, text, types: [] });
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
