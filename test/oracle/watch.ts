import type pg from 'pg';

/**
 * What the server did, seen without our analysis: counters of rows written in every table and system catalog, calls of
 * users' functions, values of sequences, and the settings that say who acts and how text is read.
 */

/**
 * Makes `watch.before()`, `watch.look(all settings)` and `watch.settings()` in the database; to be called by whoever can
 * see all of it (a superuser). Counters start at zero in each transaction: `before` asks for what was counted until
 * then to be handed over, which the server does between two transactions.
 */
export async function installWatch(client: pg.ClientBase): Promise<void> {
  const oids = async (sql: string): Promise<string> => {
    const result = await client.query<[string]>({ text: sql, rowMode: 'array' });
    return result.rows[0]?.[0] ?? '{}';
  };
  const tables = await oids(
    `SELECT array_agg(oid ORDER BY oid)::text FROM pg_class WHERE relkind IN ('r', 'm') AND relpersistence <> 't'
       AND relnamespace <> 'information_schema'::regnamespace`,
  );
  const functions = await oids('SELECT array_agg(oid ORDER BY oid)::text FROM pg_proc WHERE oid >= 16384');
  const sequences = await oids("SELECT array_agg(oid ORDER BY oid)::text FROM pg_class WHERE relkind = 'S'");
  await client.query(functionsOf(tables, functions, sequences));
}

const SETTINGS = [
  'role',
  'session_authorization',
  'session_replication_role',
  'client_encoding',
  'standard_conforming_strings',
  'search_path',
  'lo_compat_privileges',
  'createrole_self_grant',
] as const;

function functionsOf(tables: string, functions: string, sequences: string): string {
  const settings = SETTINGS.map((name) => `'${name}=', pg_catalog.current_setting('${name}')`).join(
    `, ';', `,
  );
  const lasting = `
    (SELECT pg_catalog.string_agg(pg_catalog.concat('q', o, ':', pg_catalog.pg_sequence_last_value(o)), E'\\n')
       FROM pg_catalog.unnest('${sequences}'::pg_catalog.oid[]) o), E'\\n',
    's', ${settings}`;
  // search_path is on the short list, and is another one for each statement.
  const allSettings = `(SELECT pg_catalog.string_agg(pg_catalog.concat('g', name, '=', setting), E'\\n')
       FROM pg_catalog.pg_show_all_settings() WHERE name <> 'search_path')`;
  const begin = 'LANGUAGE plpgsql SECURITY DEFINER AS $look$ BEGIN';
  return `
CREATE SCHEMA watch;
GRANT USAGE ON SCHEMA watch TO PUBLIC;
CREATE FUNCTION watch.before() RETURNS text ${begin}
  PERFORM pg_catalog.pg_stat_force_next_flush();
  RETURN pg_catalog.concat(${lasting});
END $look$;
CREATE FUNCTION watch.settings() RETURNS text ${begin} RETURN ${allSettings}; END $look$;
CREATE FUNCTION watch.look(whole boolean) RETURNS text ${begin}
  RETURN (SELECT pg_catalog.concat(
    -- Whoever writes a row has a transaction id.
    CASE WHEN pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL THEN
     (SELECT pg_catalog.string_agg(pg_catalog.concat('t', o, ':', i, ':', u, ':', d), E'\\n') FROM (
        SELECT o, pg_catalog.pg_stat_get_xact_tuples_inserted(o) i, pg_catalog.pg_stat_get_xact_tuples_updated(o) u,
               pg_catalog.pg_stat_get_xact_tuples_deleted(o) d
          FROM pg_catalog.unnest('${tables}'::pg_catalog.oid[]) o OFFSET 0) x WHERE i > 0 OR u > 0 OR d > 0) END, E'\\n',
    (SELECT pg_catalog.string_agg(pg_catalog.concat('f', o, ':', c), E'\\n') FROM (
        SELECT o, pg_catalog.pg_stat_get_xact_function_calls(o) c
          FROM pg_catalog.unnest('${functions}'::pg_catalog.oid[]) o OFFSET 0) x WHERE c > 0), E'\\n',
    ${lasting}, E'\\n',
    (SELECT pg_catalog.string_agg(pg_catalog.concat('p', name), E'\\n') FROM pg_catalog.pg_prepared_statement()), E'\\n',
    (SELECT pg_catalog.string_agg(pg_catalog.concat('c', name), E'\\n') FROM pg_catalog.pg_cursor() WHERE name <> ''), E'\\n',
    CASE WHEN whole THEN ${allSettings} END));
END $look$;`;
}

/** Rows that were inserted, updated and deleted in a relation, or calls of a function (in the first place). */
export type Counts = readonly [number, number, number];

/** What differs between two looks. */
export type Change = {
  readonly tables: ReadonlyMap<number, Counts>;
  readonly functions: ReadonlyMap<number, number>;
  readonly sequences: readonly number[];
  /** Settings of the short list that changed, and of all where all were asked for. */
  readonly settings: ReadonlyMap<string, string>;
  readonly prepared: readonly string[];
  readonly cursors: readonly string[];
};

export const NO_CHANGE: Change = {
  tables: new Map(),
  functions: new Map(),
  sequences: [],
  settings: new Map(),
  prepared: [],
  cursors: [],
};

/** `before` as `watch.before` (with `watch.settings` where all were asked for), `after` as `watch.look` gave it. */
export function changeBetween(before: string, after: string): Change {
  const old = new Set(before.split('\n'));
  const tables = new Map<number, Counts>();
  const functions = new Map<number, number>();
  const sequences: number[] = [];
  const settings = new Map<string, string>();
  const prepared: string[] = [];
  const cursors: string[] = [];
  for (const line of after.split('\n')) {
    if (line === '' || old.has(line)) continue;
    const kind = line[0];
    const rest = line.slice(1);
    const [oid = 0, a = 0, b = 0, c = 0] = rest.split(':').map(Number);
    if (kind === 't') tables.set(oid, [a, b, c]);
    else if (kind === 'f') functions.set(oid, a);
    else if (kind === 'q') sequences.push(oid);
    else if (kind === 'p') prepared.push(rest);
    else if (kind === 'c') cursors.push(rest);
    else if (kind === 's') shortList(before, rest, settings);
    else if (kind === 'g') addSetting(settings, rest);
  }
  return { tables, functions, sequences, settings, prepared, cursors };
}

function shortList(before: string, now: string, settings: Map<string, string>): void {
  const then = new Set((/^s(.*)$/m.exec(before)?.[1] ?? '').split(';'));
  for (const setting of now.split(';')) if (!then.has(setting)) addSetting(settings, setting);
}

function addSetting(settings: Map<string, string>, setting: string): void {
  const at = setting.indexOf('=');
  settings.set(setting.slice(0, at), setting.slice(at + 1));
}
