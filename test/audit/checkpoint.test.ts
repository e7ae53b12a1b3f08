import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  checkpointText,
  keyIdOf,
  parseCheckpoint,
  signedNote,
} from '../../src/audit/checkpoints/checkpoint.ts';

const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
const head = { origin: 'countersign/test', size: 7n, root: Buffer.alloc(32, 5) };
const text = checkpointText(head);
const note = signedNote(text, head.origin, raw, sign(null, Buffer.from(text), privateKey));

/** The example of Go's golang.org/x/mod/sumdb/note. */
const GO_KEY = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const GO_TEXT =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const GO_LINE =
  '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=';

describe('a checkpoint', () => {
  it('is a note as Go signs them', () => {
    const [name = '', id, encoded = ''] = GO_KEY.split('+');
    const key = Buffer.from(encoded, 'base64').subarray(1);
    expect(keyIdOf(name, key)).toBe(id);
    const signature = Buffer.from(GO_LINE.split(' ')[2] ?? '', 'base64').subarray(4);
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: key.toString('base64url') };
    expect(verify(null, Buffer.from(GO_TEXT), createPublicKey({ key: jwk, format: 'jwk' }), signature)).toBe(
      true,
    );
    expect(signedNote(GO_TEXT, name, key, signature)).toBe(`${GO_TEXT}\n${GO_LINE}\n`);
  });

  it('is read back, with what its signature is over', () => {
    const read = parseCheckpoint(note);
    expect(read).toMatchObject({ ...head, text });
    expect(read?.signatures).toHaveLength(1);
    const [signature] = read?.signatures ?? [];
    expect(signature).toMatchObject({ name: head.origin, keyId: keyIdOf(head.origin, raw) });
    expect(verify(null, Buffer.from(text), publicKey, signature?.signature ?? Buffer.alloc(0))).toBe(true);
  });

  it('may have lines of others, and signatures of witnesses', () => {
    const more = `${text}timestamp 1234\n\n${note.split('\n\n')[1]}— witness.example/w AAAAAQID\n`;
    expect(parseCheckpoint(more)).toMatchObject({ size: 7n, text: `${text}timestamp 1234\n` });
    expect(parseCheckpoint(more)?.signatures.map(({ name }) => name)).toEqual([
      head.origin,
      'witness.example/w',
    ]);
  });

  it('may be one that nobody here made', () => {
    const other =
      'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n';
    expect(parseCheckpoint(other)).toMatchObject({ origin: 'example.com/behind-the-sofa', size: 20852163n });
  });

  it.each<[string, string]>([
    ['nothing', ''],
    ['no signature', `${text}\n`],
    ['no blank line', note.replace('\n\n', '\n')],
    ['no end of line', note.slice(0, -1)],
    ['a size with a zero before it', note.replace('\n7\n', '\n07\n')],
    ['a negative size', note.replace('\n7\n', '\n-7\n')],
    ['a root of 31 bytes', note.replace(head.root.toString('base64'), Buffer.alloc(31).toString('base64'))],
    ['a root with spare bits', note.replace('U=\n', 'V=\n')],
    ['another dash', note.replace('—', '-')],
    ['a signature that is not base64', note.replace(/ \S+\n$/, ' ***\n')],
    ['a signature of the key id alone', note.replace(/ \S+\n$/, ' AAAAAA==\n')],
    ['an origin with a blank', note.replace('countersign/test\n7', 'counter sign\n7')],
    ['a carriage return', note.replace('\n7\n', '\r\n7\n')],
    ['too long', `${'a'.repeat(20_000)}${note}`],
  ])('is none: %s', (_what, text) => {
    expect(text).not.toBe(note);
    expect(parseCheckpoint(text)).toBeNull();
  });

  it('has an origin that can stand in a note', () => {
    for (const origin of ['', 'a b', 'a+b', 'a\nb', 'x'.repeat(201)])
      expect(() => checkpointText({ ...head, origin })).toThrow(RangeError);
  });
});
