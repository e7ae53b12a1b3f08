// Writes signatures at the edges of what is one, as Project Wycheproof collects them: npx tsx scripts/write-signature-vectors.ts
import { writeFileSync } from 'node:fs';
import { ed25519Vectors } from './signature-vectors/ed25519-vectors.ts';
import { p256Vectors } from './signature-vectors/p256-vectors.ts';
import type { Vector } from './signature-vectors/vector.ts';

const ABOUT =
  'Signatures at the edges of what is one, and whether they are good. Made by scripts/write-signature-vectors.ts, always the same; a test compares each with SQL and with OpenSSL (Node). Hex.';

function write(name: string, about: string, vectors: readonly Vector[]): void {
  const lines = vectors.map((vector) => `    ${JSON.stringify(vector)}`);
  const head = `{\n  "about": ${JSON.stringify(`${ABOUT} ${about}`)},\n  "vectors": [\n`;
  writeFileSync(`fixtures/audit/${name}`, `${head}${lines.join(',\n')}\n  ]\n}\n`);
}

write(
  'p256-vectors.json',
  'ECDSA over P-256 with SHA-256: the key as SEC 1 has it, the signature in DER.',
  p256Vectors(),
);
write('ed25519-vectors.json', 'Ed25519 (RFC 8032).', ed25519Vectors());
