import assert from 'node:assert/strict';

export const TAG = process.env.CLIENT_TAG;

export const CONNECTION = {
  host: process.env.CLIENT_HOST,
  port: Number(process.env.CLIENT_PORT),
  user: process.env.CLIENT_USER,
  password: process.env.CLIENT_PASSWORD,
  database: process.env.CLIENT_DATABASE,
};

export const URL = process.env.CLIENT_URL;

/** Names of the first `count` products. */
export const productNames = (count) => Array.from({ length: count }, (_, n) => `Product ${n + 1}`);

export const COPY_ROWS = '1\tplain\n2\tünï\n3\t\\N\n';

/** Runs one feature and prints its line. */
export async function feature(name, work) {
  let line = { feature: name, ok: true, detail: '' };
  try {
    line.detail = (await work()) ?? '';
  } catch (error) {
    line = { feature: name, ok: false, detail: explain(error) };
  }
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Fails unless the work fails with that SQLSTATE. */
export async function failsWith(sqlstate, work) {
  const error = await work().then(
    () => assert.fail(`no error, wanted ${sqlstate}`),
    (thrown) => thrown,
  );
  assert.equal(sqlstateOf(error), sqlstate, explain(error));
}

/** Makes tables that wait for a person: one is approved, one denied, one not answered in time. */
export async function held(create, goesOn) {
  await feature('approved', async () => {
    await create('approved');
    await goesOn();
  });
  await feature('denied', async () => {
    await failsWith('42501', () => create('denied'));
    await goesOn();
  });
  await feature('timed-out', async () => {
    await failsWith('57014', () => create('timed_out'));
    await goesOn();
  });
}

/** ORMs wrap the driver's error. */
function sqlstateOf(error) {
  if (error === undefined || error === null) return undefined;
  const { code } = error;
  if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)) return code;
  return sqlstateOf(error.cause ?? error.driverError ?? error.original ?? error.parent);
}

function explain(error) {
  const causes = [];
  for (let one = error; one !== undefined && one !== null; one = one.cause) causes.push(one);
  return causes.map((one) => one.message || String(one)).join(' <- ');
}
