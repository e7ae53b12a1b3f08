import { z } from 'zod';
import { configSchema } from './schema.ts';

/** JSON Schema (2020-12) of the configuration file, for editors. */
export function configJsonSchema(): object {
  return { title: 'Countersign configuration', ...z.toJSONSchema(configSchema, { io: 'input' }) };
}
