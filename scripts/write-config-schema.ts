// Writes the JSON Schemas of the files that people write: npx tsx scripts/write-config-schema.ts
import { writeFileSync } from 'node:fs';
import { configJsonSchema, policyCasesJsonSchema, policyJsonSchema } from '../src/config/json-schema.ts';

const SCHEMAS = {
  'countersign.schema.json': configJsonSchema(),
  'policy.schema.json': policyJsonSchema(),
  'policy-cases.schema.json': policyCasesJsonSchema(),
};
for (const [name, schema] of Object.entries(SCHEMAS))
  writeFileSync(`fixtures/config/${name}`, `${JSON.stringify(schema, null, 2)}\n`);
