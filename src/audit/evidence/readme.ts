import type { EvidenceManifest } from './manifest.ts';
import type { EvidenceView } from './views.ts';

/** The folder's own explanation, for an auditor who has never heard of Countersign. `comments`: of the views, by name. */
export function evidenceReadme(
  manifest: EvidenceManifest,
  views: readonly EvidenceView[],
  comments: ReadonlyMap<string, string>,
): string {
  const { verification: found } = manifest;
  const verdict = found.altered ? 'ALTERED' : found.whole ? 'whole' : 'not checked completely';
  return `# Evidence of what AI agents asked of the database

Countersign stands between AI agents and a PostgreSQL database. Every statement that an agent sends goes through it: a
policy lets it pass, refuses it, or holds it until people have approved it. All of that is written to an audit log before the
statement runs, and what came of it afterwards. This folder is a part of that log, made so that you can check it without
the database, without the network, and without trusting whoever gave it to you.

| | |
|---|---|
| period | from ${manifest.from} up to, and not with, ${manifest.to} |
| made by | ${manifest.program}, from one snapshot of the log, taken at ${manifest.snapshot_at} by its database's clock |
| the whole log in that snapshot | **${verdict}**: ${found.rows} entries in ${found.streams} streams, every hash and signature |
${found.keysFromLog ? KEYS_FROM_LOG : ''}${emptiness(manifest)}${failures(manifest)}
## The files in views/

The words: an *agent* is a program; its *owner* is the person who answers for it; *on_behalf_of* is the person whom it was
serving. A statement has a *class* (read, write, export, ddl, privilege, admin and so on) and a *decision*: allow, deny, or
hold, by the named *rule* of the *policy*. A held statement is a *request* that waits for people; a *receipt* is their signed
approval of exactly one statement with its parameters; it is *released* when it goes to the database. *outcome* is what the
database answered: executed, failed; or denied, expired, withdrawn; unknown where nobody can know, because the process died
in between; empty while it runs.

| file | rows | SOC 2 | what it is |
|---|---|---|---|
${views.map((view) => viewLine(view, manifest, comments.get(view.view) ?? '')).join('\n')}

Beside each CSV stands the SQL that made it; columns are those of the view. \`agents.csv\` counts since the log began, for agents
of the period; \`signing_keys.csv\`, \`log_access.csv\` and \`integrity.csv\` are of the moment of the snapshot; everything else is
of the period. Times are UTC.

Rows older than the retention period may have been dropped from the log, and texts erased from it: \`retentions.csv\`,
\`redactions.csv\` and \`gaps.csv\` (gap: dropped) say which, by whom and why. What is missing without such an entry is found by
the check below.

### Opening them

CSV is that of RFC 4180 in UTF-8, with commas and CRLF. An empty cell is NULL, \`""\` is empty text. Cells can have line ends
in them. **The texts come from agents and from whoever writes what they read.** A text that a spreadsheet would take for a
formula (it begins with = + - @, also after blanks) has an apostrophe before it, and so has one that begins with an apostrophe:
taking one off gives the text. A spreadsheet still guesses at dates and long numbers and cuts cells after 32,767 characters:
import the file with all columns as text rather than opening it, and take the exact text from log/entries.jsonl.

## Check it

1. \`sha256sum -c SHA256SUMS\`: no file was changed since. Whoever can change a file can change its sum, too: what holds
   the folder is the sum of SHA256SUMS itself, which was printed when it was made, if you wrote it down then.
2. \`countersign verify --evidence . --keys KEYS [--checkpoint FILE]\` needs no network and no database. KEYS are the
   installation's public keys, a JWK set that you got from elsewhere (its /.well-known/jwks.json, or a copy of before); FILE
   is a checkpoint that was kept elsewhere. keys.json and checkpoint.txt in here are only as good as this folder. Exit code 0:
   whole; 1: altered; 2: something could not be checked. It
   - computes every hash of log/entries.jsonl again, and checks that no entry of the period is missing between those that
     are there, or that a signed entry accounts for it;
   - checks every signature: of the batches of entries, of the receipts, of the approvers' passkeys in them, of the
     checkpoints; with keys that were valid and not revoked at that time;
   - checks that each receipt is for the request that was opened with its digest, that the register of public keys is what
     entries of the log brought, and that all batches are in the tree which the checkpoints sign;
   - holds views/statements.csv against the entries, row by row. **The other CSVs are held by their sums alone**: count and
     compare them with statements.csv, or make them again from the database with the SQL beside them.
3. verification/ has what was found in the database when the folder was made: countersign.jsonl is the program's (a finding a
   line, the last line is the summary; no line before it: nothing was found), sql.csv that of the schema's own function
   verify() (a row for each check; ok is f where something was altered).

## The files in log/

entries.jsonl: what the hashes are computed from, a line an entry. Entries come in *streams*, one or two for each run of the
proxy, numbered without gaps, each with the hash of the one before, and are signed in *batches*. Here are the batches of the
period; in each stream the entries next to it on either side, which show that the period ends there; and, of whatever time,
those that account for others: starts and recoveries of streams, public keys, retention and redaction, the opening of requests
that were approved in the period, and outcomes of its statements. streams.jsonl, batches.jsonl, leaves.jsonl (the tree of
batches), checkpoints.jsonl (its signed roots) and signing_keys.jsonl are those of the whole log. Integers and times
(microseconds since 1970 UTC) are decimal text, bytes are hexadecimal, what is NULL is left out.

## What this cannot show

What was not in the log when the folder was made: statements that did not go through Countersign (the database's own log shows
whether there were any), and entries that somebody who owns the audit database *and* the signing keys cut off or wrote anew
after the last checkpoint that was kept elsewhere. Compare with one that you kept.
`;
}

const KEYS_FROM_LOG = `
The public keys came from the log itself: whoever could change it could change them, too. Check with keys from elsewhere.
`;

/** Comments end with the criteria that the view serves, or have them after their first sentence. */
const CRITERIA = /\s*\(SOC 2 ([^)]*)\)/;

function viewLine({ name }: EvidenceView, manifest: EvidenceManifest, comment: string): string {
  const file = `views/${name}.csv`;
  const rows = manifest.files.find((one) => one.file === file)?.rows ?? 'could not be read';
  return `| ${file} | ${rows} | ${CRITERIA.exec(comment)?.[1] ?? ''} | ${cell(comment.replace(CRITERIA, ''))} |`;
}

function emptiness({ must_be_empty: counts }: EvidenceManifest): string {
  const lines = Object.entries(counts).map(([name, rows]) => {
    const state =
      rows === null
        ? '**could not be read**, and must be empty'
        : rows === 0
          ? 'empty, as it must be'
          : `**${rows} rows**, and it must be empty`;
    return `- views/${name}.csv: ${state}`;
  });
  return `\n${lines.join('\n')}\n`;
}

function failures({ failed }: EvidenceManifest): string {
  if (failed.length === 0) return '';
  const lines = failed.map(({ file, error }) => `- ${file}: ${cell(error.replace(/\s+/g, ' '))}`);
  return `\nThe database could not read these, because of a row that Countersign does not write:\n\n${lines.join('\n')}\n`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
