/** psql as a person uses it: in a terminal (of `script`), which is what Ctrl-C needs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { COPY_ROWS, feature, productNames, TAG } from '../node/report.mjs';

const terminal = spawn(
  'script',
  [
    '--quiet',
    '--return',
    '--command',
    'stty -echo -onlcr; exec psql "$CLIENT_URL" -X -n -q -A -t -P pager=off -v PROMPT1= -v PROMPT2= -v PROMPT3= -v VERBOSITY=verbose',
    '/dev/null',
  ],
  { stdio: ['pipe', 'pipe', 'inherit'] },
);

let output = '';
let wake = () => {};
terminal.stdout.on('data', (chunk) => {
  output += chunk;
  wake();
});
let ended = false;
terminal.on('close', () => {
  ended = true;
  wake();
});

let commands = 0;

function send(text) {
  commands += 1;
  const end = `end-${commands}`;
  terminal.stdin.write(`${text}\n\\echo ${end}\n`);
  return end;
}

/** What psql printed before that line. */
async function until(end) {
  const line = new RegExp(`^${end}\\r?\\n`, 'm');
  for (;;) {
    const found = line.exec(output);
    if (found !== null) {
      const before = output.slice(0, found.index);
      output = output.slice(found.index + found[0].length);
      return before.replaceAll('\r', '');
    }
    if (ended) throw new Error(`psql ended: ${output}`);
    await new Promise((resolve) => {
      wake = resolve;
    });
  }
}

const run = (text) => until(send(text));

async function runs(text, wanted) {
  assert.equal(await run(text), wanted);
}

async function fails(text, sqlstate) {
  assert.match(await run(text), new RegExp(`^ERROR: {2}${sqlstate}:`, 'm'));
}

await run('');
const pid = await run('SELECT pg_backend_pid();');
const goesOn = () => runs('SELECT pg_backend_pid();', pid);

await feature('read', async () => {
  await runs("\\set id 17\nSELECT name FROM products WHERE id = :'id';", 'Product 17\n');
  await runs('SELECT name FROM products WHERE id <= 10 ORDER BY id;', `${productNames(10).join('\n')}\n`);
});

await feature('write', async () => {
  await runs(`\\set QUIET off\nINSERT INTO ${TAG}_work VALUES (1, 'new'), (2, 'new');`, 'INSERT 0 2\n');
  await runs(`UPDATE ${TAG}_work SET label = 'written' WHERE id = 1;`, 'UPDATE 1\n');
  await runs(`DELETE FROM ${TAG}_work WHERE id = 2;`, 'DELETE 1\n');
  await runs('\\set QUIET on', '');
});

await feature('prepared', async () => {
  await runs(`PREPARE add (integer, text) AS INSERT INTO ${TAG}_work VALUES ($1, $2);`, '');
  for (const id of [11, 12, 13]) await runs(`EXECUTE add (${id}, 'prepared');`, '');
  await runs('DEALLOCATE add;', '');
});

await feature('transaction', async () => {
  await runs(`BEGIN;\nINSERT INTO ${TAG}_work VALUES (21, 'committed');\nCOMMIT;`, '');
  await runs(`BEGIN;\nINSERT INTO ${TAG}_work VALUES (22, 'rolled back');\nROLLBACK;`, '');
  await runs(`BEGIN;\nINSERT INTO ${TAG}_work VALUES (23, 'failed');`, '');
  await fails('SELECT 1/0;', '22012');
  await fails('SELECT 1;', '25P02');
  await runs('ROLLBACK;', '');
  await goesOn();
});

await feature('cursor', async () => {
  const names = `${productNames(300).join('\n')}\n`;
  await runs('\\set FETCH_COUNT 100\nSELECT name FROM products ORDER BY id;', names);
  await runs('\\unset FETCH_COUNT', '');
});

await feature('introspect', async () => {
  assert.match(await run('\\dt'), new RegExp(`\\|${TAG}_work\\|table\\|`));
  assert.match(await run(`\\d ${TAG}_work`), /^label\|text/m);
  for (const command of [
    '\\d+ products',
    '\\dn',
    '\\du',
    '\\df',
    '\\di',
    '\\dv',
    '\\dp',
    '\\dT',
    '\\dx',
    '\\sf pg_sleep',
  ])
    assert.doesNotMatch(await run(command), /ERROR|countersign: held/, command);
  await goesOn();
});

await feature('copy-in', async () => {
  await runs(`\\copy ${TAG}_copy FROM stdin\n${COPY_ROWS}\\.`, '');
  await runs(`SELECT count(*) FROM ${TAG}_copy;`, '3\n');
});

await feature('copy-out', async () => {
  const printed = await run(`\\copy ${TAG}_copy TO stdout`);
  assert.match(printed, /NOTICE: .*countersign: held/);
  assert.ok(printed.endsWith(COPY_ROWS), printed);
  await goesOn();
});

await feature('cancel', async () => {
  const end = send("SELECT 'asleep';\nSELECT pg_sleep(10);");
  await until('asleep');
  // Ctrl-C, when the server is surely at it; a terminal throws away what was typed before.
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  terminal.stdin.write('\x03');
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  terminal.stdin.write(`\\echo ${end}\n`);
  assert.match(await until(end), /ERROR: {2}57014:/);
  await goesOn();
});

await feature('approved', async () => {
  assert.match(await run(`CREATE TABLE ${TAG}_approved (id integer);`), /NOTICE: .*countersign: held/);
  await goesOn();
});

await feature('denied', async () => {
  await fails(`CREATE TABLE ${TAG}_denied (id integer);`, '42501');
  await goesOn();
});

await feature('timed-out', async () => {
  await fails(`CREATE TABLE ${TAG}_timed_out (id integer);`, '57014');
  await goesOn();
});

terminal.stdin.write('\\q\n');
