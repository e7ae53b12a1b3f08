import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { configJsonSchema, policyCasesJsonSchema, policyJsonSchema } from '../../src/config/json-schema.ts';

describe('the JSON Schemas in fixtures/config (npx tsx scripts/write-config-schema.ts)', () => {
  it.each([
    ['countersign.schema.json', configJsonSchema(), ['listen', 'upstream', 'agents', 'policy']],
    ['policy.schema.json', policyJsonSchema(), ['rules']],
    ['policy-cases.schema.json', policyCasesJsonSchema(), ['must_allow', 'must_hold', 'must_deny', 'agent']],
  ])('%s is current', (name, schema, keys) => {
    const kept = JSON.parse(readFileSync(new URL(`../../fixtures/config/${name}`, import.meta.url), 'utf8'));
    expect(kept).toEqual(schema);
    expect(Object.keys(kept.properties)).toEqual(expect.arrayContaining(keys));
  });
});
