/** Node types that no statement contains, each with its reason. */
export const NOT_REACHED: Readonly<Record<string, string>> = {
  PartitionRangeDatum: 'made by the analysis of the bounds of a partition, which comes after the grammar',
};

const reasons: readonly (readonly [string, readonly string[]])[] = [
  [
    'the server has the tag, but gives the one of ALTER TABLE, CREATE TABLE, CREATE FUNCTION or SELECT',
    [
      'ALTER CAST',
      'ALTER CONSTRAINT',
      'ALTER TRANSFORM',
      'CLOSE',
      'CREATE CONSTRAINT',
      'CREATE ROUTINE',
      'DISCARD',
      'DROP CONSTRAINT',
      'EXECUTE',
      'SELECT FOR KEY SHARE',
      'SELECT FOR NO KEY UPDATE',
      'SELECT FOR SHARE',
      'SELECT FOR UPDATE',
      'SELECT INTO',
    ],
  ],
  [
    'refuses a transaction block: generated, judged and refused by the server',
    [
      'ALTER SYSTEM',
      'COMMIT PREPARED',
      'CREATE DATABASE',
      'CREATE TABLESPACE',
      'DISCARD ALL',
      'DROP DATABASE',
      'DROP TABLESPACE',
      'ROLLBACK PREPARED',
      'VACUUM',
    ],
  ],
  ['outlives the session that it is run in: generated and judged, not run', ['PREPARE TRANSACTION']],
  [
    'takes a superuser, who could reach files and programs of this machine: generated, judged, and refused',
    [
      'ALTER ACCESS METHOD',
      'ALTER EVENT TRIGGER',
      'ALTER EXTENSION',
      'ALTER FOREIGN DATA WRAPPER',
      'ALTER LANGUAGE',
      'ALTER TABLESPACE',
      'ALTER TEXT SEARCH PARSER',
      'ALTER TEXT SEARCH TEMPLATE',
      'CHECKPOINT',
      'CREATE ACCESS METHOD',
      'CREATE EVENT TRIGGER',
      'CREATE EXTENSION',
      'CREATE FOREIGN DATA WRAPPER',
      'CREATE LANGUAGE',
      'CREATE OPERATOR CLASS',
      'CREATE OPERATOR FAMILY',
      'CREATE TEXT SEARCH PARSER',
      'CREATE TEXT SEARCH TEMPLATE',
      'CREATE TRANSFORM',
      'LOAD',
    ],
  ],
  [
    'needs what is not here (another server, a provider of labels, a database of a known name, a foreign table)',
    [
      'ALTER DATABASE',
      'ALTER FOREIGN TABLE',
      'ALTER SUBSCRIPTION',
      'CREATE SUBSCRIPTION',
      'IMPORT FOREIGN SCHEMA',
      'SECURITY LABEL',
    ],
  ],
];

/** Command tags that the server never gives here, each with its reason. */
export const NOT_COMPLETED: Readonly<Record<string, string>> = Object.fromEntries(
  reasons.flatMap(([reason, tags]) => tags.map((tag) => [tag, reason])),
);
