import { NODE_FIELDS } from '../../src/statement/grammar.generated.ts';
import { SHAPES } from '../../src/statement/grammar.ts';
import type { ParseResult } from '../../src/statement/parse-result.ts';

/** Which node types of the grammar were seen in what was parsed. */
export class Coverage {
  readonly nodes = new Set<string>();

  see(parse: ParseResult): void {
    if (parse.kind === 'error') return;
    for (const { node } of parse.statements) this.#wrapped(node);
  }

  missing(): string[] {
    return Object.keys(NODE_FIELDS).filter((type) => !this.nodes.has(type));
  }

  #wrapped(value: unknown): void {
    if (Array.isArray(value)) for (const item of value) this.#wrapped(item);
    else if (typeof value === 'object' && value !== null)
      for (const [type, body] of Object.entries(value)) this.#body(type, body);
  }

  #body(type: string, body: unknown): void {
    const shape = SHAPES.get(type);
    if (shape === undefined || typeof body !== 'object' || body === null) return;
    this.nodes.add(type);
    for (const [key, value] of Object.entries(body)) {
      const field = shape.get(key);
      if (field?.kind === 'node' || field?.kind === 'list') this.#wrapped(value);
      else if (field?.kind === 'struct') this.#body(field.type, value);
    }
  }
}
