import type pg from 'pg';
import type { Meaning } from '../statement/answers.ts';
import { readQueryTrees } from './query-tree.ts';

/**
 * Asks the server's own analyser what the names in a statement mean: with debug_print_rewritten, Parse shows the query
 * tree after names and types were resolved and views, rules, defaults and row security were put in (manual, "Error
 * Reporting and Logging"). Nothing is planned and nothing runs.
 *
 * Why the side connection resolves as the session does. Names: by the same role, in the search_path that is given, without
 * temporary objects (with those, or after what may have changed the role, nobody asks). Types of parameters: as the client
 * declared them. Settings that change how a text is analysed or rewritten: client_encoding and standard_conforming_strings
 * are pinned in both; transform_null_equals is off here, so that `= NULL` shows its operator; row_security is on here, so
 * that policies show (a session with `off` has none of them, or an error); session_replication_role decides which rules
 * apply, all of which the catalog counts anyway, and needs a superuser. Settings such as DateStyle, array_nulls,
 * xmloption or backslash_quote change the value of a constant, or whether it is an error, but not which code is called.
 */

/** Bytes; a longer text is not asked about. */
const LONGEST_TEXT = 100_000;

const SHOW = `SELECT pg_catalog.set_config('transform_null_equals', 'off', false),
  pg_catalog.set_config('row_security', 'on', false), pg_catalog.set_config('debug_pretty_print', 'off', false),
  pg_catalog.set_config('client_min_messages', 'log', false), pg_catalog.set_config('debug_print_rewritten', 'on', false)`;
/** The first ends the printing, so that the second is not printed. */
const SHOW_NO_MORE = 'SET debug_print_rewritten = off; SET client_min_messages = notice';
/** Where the role may: the trees then do not go to the server's own log as well. */
const HUSH = 'SET log_min_messages = fatal';

/**
 * `parse` sends Parse and Sync of the text, and gives the server's objection or null. Null: it could not be said. The
 * connection is thrown away by the caller if this rejects.
 */
export async function askMeaning(
  client: pg.Client,
  sql: Buffer,
  parse: () => Promise<object | null>,
): Promise<Meaning | null> {
  if (sql.length > LONGEST_TEXT) return null;
  await hush(client);
  await client.query(SHOW);
  const shown: string[] = [];
  const note = (notice: unknown) => {
    const tree = treeIn(notice as Notice);
    if (tree !== null) shown.push(tree);
  };
  client.on('notice', note);
  let objection: object | null;
  try {
    objection = await parse();
  } finally {
    client.off('notice', note);
  }
  await client.query(SHOW_NO_MORE);
  const [tree, ...others] = shown;
  return objection !== null || tree === undefined || others.length > 0 ? null : readQueryTrees(tree);
}

type Notice = { readonly routine?: string; readonly message?: string; readonly detail?: string };

/** `routine` is set by the server alone: RAISE in a function cannot. */
function treeIn({ routine, message, detail }: Notice): string | null {
  if (routine !== 'elog_node_display' || detail === undefined) return null;
  return message?.startsWith('rewritten parse tree') === true ? detail : null;
}

const hushed = new WeakSet<pg.Client>();

/** Tried once on a connection; most roles may not. */
async function hush(client: pg.Client): Promise<void> {
  if (hushed.has(client)) return;
  hushed.add(client);
  await client.query(HUSH).catch((error: unknown) => {
    if ((error as { code?: unknown }).code !== INSUFFICIENT_PRIVILEGE) throw error;
  });
}

const INSUFFICIENT_PRIVILEGE = '42501';
