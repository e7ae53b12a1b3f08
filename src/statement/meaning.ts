import type { Doubt, Meaning } from './answers.ts';
import { builtinFunction, JUDGED_BY_ARGUMENTS } from './builtins.ts';
import { type Context, raiseIfRun } from './context.ts';

/**
 * Names that could mean a user's function, operator, cast or type are held by name, until the server has said which it
 * takes them for (DESIGN.md, section 7). With its answer, what is really called counts instead.
 */

/** FirstNormalObjectId: what users make has this OID or a higher one. */
const FIRST_USER_OID = 16_384;

/** What the server took the names of this statement for; null: it was not asked, or did not say. */
export function meaningOf(context: Context): Meaning | null {
  return context.catalog === null ? null : (context.answer?.meaning ?? null);
}

/** Raises `opaque` for a name alone, so that the server's answer may lower it again. */
export function raiseByName(context: Context, reason: string): void {
  noteName(context);
  raiseIfRun(context, 'opaque', reason);
}

/** A user's object could be meant; what was approved under a name is bound to the object that it meant. */
export function noteName(context: Context): void {
  context.facts.namesInDoubt = true;
}

/**
 * Whether the server is to be asked. Only about plain queries (`plain`) in a known path without temporary objects; not about
 * secrets, because the answer may show in the server's log.
 */
export function doubtAboutNames(context: Context, plain: boolean): Doubt | null {
  const { facts, path, tempPossible, catalog } = context;
  if (!plain || !facts.namesInDoubt || meaningOf(context) !== null) return null;
  if (catalog === null || path === null || tempPossible || facts.secrets.length > 0) return null;
  return { names: true, size: facts.doubt?.size ?? false, searchPath: path };
}

/** Judges what the server says is called, in place of what the names could have meant. */
export function applyMeaning(context: Context, meaning: Meaning): void {
  const { facts, catalog } = context;
  if (catalog === null) return;
  const meant = catalog.meant(meaning);
  for (const effect of meant.effects) facts.raise('opaque', effect);
  for (const name of meant.builtins) judgeUnnamed(context, name);
  facts.calls = meant.calls;
  if (meant.calls.length > 0) facts.runsUserCode = true;
  // Text and tree must be about the same; the side connection may see another database than the catalog did.
  for (const { oid, schema, name } of facts.relations)
    if (oid !== null && oid >= FIRST_USER_OID && !meaning.relations.has(oid))
      facts.raise('opaque', `the server takes ${schema}.${name} for another relation`);
}

/** A built-in function, which the text may not name (a cast, a view): what depends on arguments was seen there or not. */
function judgeUnnamed(context: Context, name: string): void {
  const { facts } = context;
  const builtin = builtinFunction(name);
  if (builtin === undefined) facts.raise('opaque', `${name} is a built-in function that nobody has judged`);
  else if (builtin.effect !== null) facts.raise(builtin.effect.class, `${name} ${builtin.effect.reason}`);
  else if (JUDGED_BY_ARGUMENTS.has(name) && !facts.argumentsJudged.has(name))
    facts.raise('opaque', `${name} is called with arguments that are not known`);
}
