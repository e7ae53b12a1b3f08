import type { Analysis } from '../../src/statement/analysis.ts';
import type { Catalog } from '../../src/statement/catalog.ts';

/** A mistake that analysis could make, put over what it really says; the fuzz has to see it. */
export type Planted = {
  readonly name: string;
  readonly catalog?: (catalog: Catalog) => Catalog;
  readonly analysis?: (analysis: Analysis) => Analysis;
};

export const PLANTED: readonly Planted[] = [];
