// Writes the JSON Schema of the configuration file: npx tsx scripts/write-config-schema.ts
import { writeFileSync } from 'node:fs';
import { configJsonSchema } from '../src/config/json-schema.ts';

writeFileSync('fixtures/config/countersign.schema.json', `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
