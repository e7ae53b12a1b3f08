import { z } from 'zod';
import { policyCasesSchema } from './policy-cases.ts';
import { configSchema, policyFileSchema } from './schema.ts';

/** JSON Schema (2020-12) of the configuration file, for editors. */
export function configJsonSchema(): object {
  return { title: 'Countersign configuration', ...z.toJSONSchema(configSchema, { io: 'input' }) };
}

/** The same for a policy that is kept in a file of its own. */
export function policyJsonSchema(): object {
  return { title: 'Countersign policy', ...z.toJSONSchema(policyFileSchema, { io: 'input' }) };
}

/** The same for the file of `countersign policy test`. */
export function policyCasesJsonSchema(): object {
  return { title: 'Countersign policy cases', ...z.toJSONSchema(policyCasesSchema, { io: 'input' }) };
}
