import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { createLogger, type Logger, parseLogLevel } from '../../src/telemetry/log.ts';
import { redactFields, scrub } from '../../src/telemetry/redact.ts';

/** What the log writes when something is logged. */
function logged(work: (log: Logger) => void, pretty = false): string {
  const lines: string[] = [];
  work(createLogger({ level: 'debug', pretty, sink: { write: (line) => lines.push(line) } }));
  return lines.join('');
}

const SECRET = 'hunter2';
const VERIFIER = 'SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$aHVudGVyMg==:aHVudGVyMg==';

describe('the log', () => {
  it('writes a line of JSON with level, time and fields', () => {
    const line = logged((log) => log.info({ session: 's1', rows: 5n }, 'ready'));
    expect(line.endsWith('\n')).toBe(true);
    expect(JSON.parse(line)).toMatchObject({ level: 'info', session: 's1', rows: '5', msg: 'ready' });
    expect(JSON.parse(line).time).toMatch(/^\d{4}-\d\d-\d\dT/);
  });

  it.each<readonly [string, (log: Logger) => void]>([
    ['a password field', (log) => log.info({ password: SECRET }, 'x')],
    ['one deep inside', (log) => log.info({ a: { b: [{ upstreamPassword: SECRET }] } }, 'x')],
    [
      'one too deep to look at',
      (log) => log.info({ a: { b: { c: { d: { e: { f: { g: SECRET } } } } } } }, 'x'),
    ],
    ['a token', (log) => log.info({ botToken: SECRET, approverToken: SECRET, token: SECRET }, 'x')],
    ['headers', (log) => log.info({ headers: { Authorization: SECRET, cookie: SECRET } }, 'x')],
    ['bytes', (log) => log.info({ packet: Buffer.from(SECRET) }, 'x')],
    ['a URL in a field', (log) => log.info({ url: `postgres://u:${SECRET}@h/d` }, 'x')],
    ['a URL in the message', (log) => log.info(`connecting to postgres://u:${SECRET}@h/d`)],
    ['a URL with an @ in its password', (log) => log.info(`postgres://u:${SECRET}@${SECRET}@h/d`)],
    ['a URL that is interpolated', (log) => log.info('to %s', `postgres://u:${SECRET}@h/d`)],
    ['an error’s message and stack', (log) => log.error(new Error(`postgres://u:${SECRET}@h failed`))],
    [
      'an error’s own fields',
      (log) => log.error({ err: Object.assign(new Error('x'), { client: { password: SECRET } }) }, 'x'),
    ],
    [
      'an error’s cause',
      (log) => log.error({ err: new Error('x', { cause: new Error(`password=${SECRET}`) }) }, 'x'),
    ],
    ['a key-value string', (log) => log.info(`host=h password='${SECRET} ${SECRET}' user=u`)],
    ['a Slack token', (log) => log.info(`xoxb-1-${SECRET} xapp-1-${SECRET}`)],
    ['a bearer token', (log) => log.info(`Authorization: Bearer ${SECRET}`)],
  ])('never has %s', (_what, work) => {
    for (const pretty of [false, true]) {
      const text = logged(work, pretty);
      expect(text.length).toBeGreaterThan(10);
      expect(text).not.toContain(SECRET);
      expect(text).not.toContain(Buffer.from(SECRET).toString('hex'));
    }
  });

  it('never has a verifier', () => {
    expect(logged((log) => log.info(`bad verifier ${VERIFIER}`))).not.toContain('aHVudGVyMg');
  });

  it('keeps an error’s name, code and message', () => {
    const error = Object.assign(new TypeError('no such relation'), { code: '42P01' });
    const { err } = JSON.parse(logged((log) => log.error({ err: error }, 'failed')));
    expect(err).toMatchObject({ type: 'TypeError', code: '42P01', message: 'no such relation' });
  });

  it('is for people in a terminal', () => {
    const line = logged((log) => log.warn({ agent: 'bot', err: new Error('gone') }, 'closing'), true);
    expect(line).toMatch(/^\d\d:\d\d:\d\d warn {2}closing \(gone\) agent=bot\n$/);
  });

  it('is on stderr, whole, also when the process ends at once', () => {
    const script = `import { createLogger } from './src/telemetry/log.ts';
      const log = createLogger({ level: 'info', pretty: false });
      log.debug('hidden'); log.info('first'); log.fatal('last'); process.exit(3);`;
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', script],
      {
        cwd: fileURLToPath(new URL('../../', import.meta.url)),
        encoding: 'utf8',
      },
    );
    expect(status).toBe(3);
    expect(stdout).toBe('');
    expect(
      stderr
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).msg),
    ).toEqual(['first', 'last']);
  });
});

describe('redaction', () => {
  it('leaves what is no secret', () => {
    const fields = {
      token_count: 5,
      secretary: 'no',
      keys: 3,
      url: 'postgres://u@h/d',
      none: { password: null },
    };
    expect(redactFields(fields)).toMatchObject({
      token_count: 5,
      keys: 3,
      url: 'postgres://u@h/d',
      none: { password: null },
    });
    const text = 'SELECT 1 -- http://example.com/a:b@c and agent@example.com at 10:15';
    expect(scrub(text)).toBe(text);
  });

  it('is quick on hostile text', () => {
    const began = performance.now();
    for (const hostile of ['a://', 'password=', 'SCRAM-SHA-256$1:', 'x://a:', 'Bearer ', '?token=', ':@'])
      scrub(hostile.repeat(20_000));
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});

it.each([
  [undefined, 'info'],
  ['', 'info'],
  ['DEBUG', 'debug'],
  ['silent', 'silent'],
  ['loud', null],
])('level %j is %j', (text, level) => {
  expect(parseLogLevel(text)).toBe(level);
});
