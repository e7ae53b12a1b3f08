import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { configJsonSchema } from '../../src/config/json-schema.ts';

it('the JSON Schema in fixtures/config is current (npx tsx scripts/write-config-schema.ts)', () => {
  const kept = JSON.parse(
    readFileSync(new URL('../../fixtures/config/countersign.schema.json', import.meta.url), 'utf8'),
  );
  expect(kept).toEqual(configJsonSchema());
  expect(Object.keys(kept.properties)).toEqual(
    expect.arrayContaining(['listen', 'upstream', 'agents', 'policy']),
  );
});
