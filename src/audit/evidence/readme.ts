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
  const rows = new Map(manifest.files.map((one) => [one.file, one.rows ?? 0]));
  return `# Evidence of what AI agents asked of the database

From ${manifest.from} up to, and not with, ${manifest.to}; made by ${manifest.program} from one
snapshot of the audit log, taken at ${manifest.snapshot_at} by its database's clock.

The whole log in that snapshot: **${verdict}** (${found.rows} entries in ${found.streams} streams, every hash and signature).
${found.keysFromLog ? KEYS_FROM_LOG : ''}${emptiness(manifest)}
## Look at

| file | rows | what it is |
|---|---|---|
${views.map((view) => `| views/${view.name}.csv | ${rows.get(`views/${view.name}.csv`)} | ${cell(comments.get(view.view) ?? '')} |`).join('\n')}

Beside each CSV stands the SQL that made it. An agent is somebody's program; its *owner* answers for it; *on_behalf_of* is
the person whom it serves. A *request* is a statement that waits for people; a *receipt* is the signed approval of exactly
one statement. \`agents.csv\` counts since the log began, everything else is of the period; \`log_access.csv\`,
\`signing_keys.csv\` and \`integrity.csv\` are of the moment of the snapshot.

CSV is that of RFC 4180 in UTF-8: import it with commas. An empty cell is NULL, \`""\` is empty text. A text that a
spreadsheet would take for a formula (one that begins with = + - @, also after blanks) has an apostrophe before it, and so
has one that begins with an apostrophe; the exact text is in log/entries.jsonl.

## Check it, without trusting whoever gave it to you

1. \`sha256sum -c SHA256SUMS\`: no file was changed since. Whoever can change a file can change its sum, too: what holds
   the folder is the sum of SHA256SUMS itself, which was printed when it was made, if you wrote it down then.
2. \`countersign verify --evidence . --keys KEYS [--checkpoint FILE]\` needs no network and no database. KEYS are the
   installation's public keys, a JWK set that you got from elsewhere (its /.well-known/jwks.json, or a copy of before); FILE
   is a checkpoint that was kept elsewhere. keys.json and checkpoint.txt in here are only as good as this folder. It computes
   every hash of log/entries.jsonl again, checks that no entry of the period is missing between those that are there, every
   signature (batches of entries, receipts, checkpoints), and that all batches are in the tree which the checkpoints sign.
3. verification/ has what the two verifiers said of the whole log in the database: countersign.jsonl (a finding a line, the
   last line is the summary; no line before it: nothing was found) and sql.csv, the schema's own verify().

## What log/ has

entries.jsonl: the entries of the period, with the batch before and after it in each stream, as what the hashes are computed
from; streams.jsonl, batches.jsonl, leaves.jsonl and checkpoints.jsonl: those of the whole log; upkeep.jsonl: the entries that account for rows and texts which are gone. Integers and times
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

function emptiness({ must_be_empty: counts }: EvidenceManifest): string {
  const lines = Object.entries(counts).map(
    ([name, rows]) =>
      `- ${name}: ${rows === 0 ? 'empty, as it must be' : `**${rows} rows**, and it must be empty`}`,
  );
  return `\n${lines.join('\n')}\n`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
