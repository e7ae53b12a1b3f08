import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  EMPTY_TREE,
  isFrontier,
  leafHash,
  nodeHash,
  rootOf,
  withLeaves,
} from '../../src/audit/chain/tree.ts';

/** The definition of RFC 6962, section 2.1, word for word. */
function definition(leaves: readonly Buffer[]): Buffer {
  const [first] = leaves;
  if (first === undefined) return createHash('sha256').digest();
  if (leaves.length === 1) return first;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return nodeHash(definition(leaves.slice(0, k)), definition(leaves.slice(k)));
}

/** The inputs of Certificate Transparency's own tests, and the roots of the first 1 to 8 of them. */
const INPUTS = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

describe('the Merkle tree', () => {
  it('has the roots of Certificate Transparency', () => {
    const leaves = INPUTS.map((input) => leafHash(Buffer.from(input, 'hex')));
    ROOTS.forEach((root, i) => {
      expect(rootOf(withLeaves(EMPTY_TREE, leaves.slice(0, i + 1))).toString('hex')).toBe(root);
    });
    expect(rootOf(EMPTY_TREE).toString('hex')).toBe(createHash('sha256').digest('hex'));
  });

  it('is what the definition says, in whatever portions leaves come', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { maxLength: 8 }), (portions) => {
        let tree = EMPTY_TREE;
        const all: Buffer[] = [];
        for (const portion of portions) {
          const leaves = Array.from({ length: portion }, (_, i) =>
            leafHash(Buffer.from(`${all.length + i}`)),
          );
          tree = withLeaves(tree, leaves);
          all.push(...leaves);
          expect(isFrontier(tree)).toBe(true);
          expect(tree.size).toBe(BigInt(all.length));
          expect(rootOf(tree)).toEqual(definition(all));
        }
      }),
    );
  });

  it('tells a frontier from what is none', () => {
    const { roots } = withLeaves(EMPTY_TREE, [
      leafHash(Buffer.of(1)),
      leafHash(Buffer.of(2)),
      leafHash(Buffer.of(3)),
    ]);
    expect(isFrontier({ size: 3n, roots })).toBe(true);
    expect(isFrontier({ size: 4n, roots })).toBe(false);
    expect(isFrontier({ size: 3n, roots: [Buffer.alloc(31), Buffer.alloc(32)] })).toBe(false);
  });
});
