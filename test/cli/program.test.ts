import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { newAgent } from '../../src/cli/agent.ts';
import { classifyError } from '../../src/cli/exit.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { makeScramVerifier, parseScramVerifier } from '../../src/config/scram-verifier.ts';
import { directoryWith, load, MINIMAL } from '../config/sample.ts';
import { run } from './child.ts';
import { cli } from './in-process.ts';

const directory = directoryWith({
  'good.yaml': MINIMAL,
  'bad.yaml': `${MINIMAL}polcy: {}\n`,
  'any-port.yaml': `${MINIMAL}listen: { address: '127.0.0.1:0' }\nhttp: { address: '127.0.0.1:0' }\nlimits: { drainMs: 200 }\n`,
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('the exit code', () => {
  it('is 0 for help and the version', async () => {
    for (const args of [['--help'], ['serve', '--help'], ['--version']]) {
      const { code, stdout, stderr } = await cli(args);
      expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: '' });
      expect(stdout.length).toBeGreaterThan(4);
    }
  });

  it('is 2 for a command line that cannot be obeyed', async () => {
    for (const args of [
      [],
      ['nonsense'],
      ['serve', '--nonsense'],
      ['agent', 'add'],
      ['agent', 'add', 'a b'],
    ]) {
      const { code, stderr } = await cli(args);
      expect({ args, code }).toEqual({ args, code: 2 });
      expect(stderr).not.toMatch(/\n {4}at /);
    }
  });

  it('is 2 for a configuration that is wrong, with its line', async () => {
    const { code, stdout, stderr } = await cli(['policy', 'check', '--config', join(directory, 'bad.yaml')]);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/bad\.yaml:14: polcy: unknown key; did you mean policy\?\n$/);
    expect((await cli(['serve', '--config', join(directory, 'none.yaml')])).code).toBe(2);
    expect((await cli(['serve', '--config', join(directory, 'good.yaml'), '--listen', 'x'])).code).toBe(2);
    const level = await cli(['serve', '--config', join(directory, 'good.yaml')], {
      COUNTERSIGN_LOG_LEVEL: 'loud',
    });
    expect(level.code).toBe(2);
    expect(level.stderr).toContain('COUNTERSIGN_LOG_LEVEL');
  });

  it.each([
    [Object.assign(new Error('x'), { code: 'ECONNREFUSED' }), 2],
    [Object.assign(new Error('x'), { code: 'ENOTFOUND' }), 2],
    [Object.assign(new Error('password failed'), { code: '28P01' }), 2],
    [Object.assign(new Error('no database'), { code: '3D000' }), 2],
    [Object.assign(new Error('no table'), { code: '42P01' }), 1],
    [new TypeError('bug'), 1],
    ['thrown text', 1],
  ])('of %s is %i', (error, code) => {
    expect(classifyError(error).exitCode).toBe(code);
  });
});

it('is what the process ends with', async () => {
  expect((await run('src/main.ts', ['agent', 'add', 'bot']).ended).code).toBe(0);
  expect((await run('src/main.ts', ['agent', 'add', 'a b']).ended).code).toBe(2);
});

describe('policy check', () => {
  it('prints the digest of the rules', async () => {
    const { code, stdout } = await cli(['policy', 'check', '--config', join(directory, 'good.yaml')]);
    expect(code).toBe(0);
    expect(stdout).toContain(`policy digest ${(await load(MINIMAL)).policy.digest}\n`);
  });
});

describe('agent add', () => {
  it('prints a verifier and a connection string that belong together, and a new password each time', async () => {
    const outputs = [
      await cli(['agent', 'add', 'bot', '--database', 'shop']),
      await cli(['agent', 'add', 'bot']),
    ];
    const passwords = outputs.map(({ code, stdout }) => {
      expect(code).toBe(0);
      const verifier = parseScramVerifier(/scram: (\S+)/.exec(stdout)?.[1] ?? '');
      const password = /postgres:\/\/bot:([^@]+)@127\.0\.0\.1:6432\//.exec(stdout)?.[1] ?? '';
      expect(verifier).not.toBeNull();
      expect(password.length).toBeGreaterThanOrEqual(32);
      if (verifier !== null)
        expect(stdout).toContain(makeScramVerifier(password, verifier.salt, verifier.iterations));
      return password;
    });
    expect(new Set(passwords).size).toBe(2);
  });

  it('prints what the configuration file takes', async () => {
    const text = newAgent(
      'reporting',
      { at: 'h:1', database: 'd' },
      Buffer.alloc(24, 1),
      Buffer.alloc(16, 2),
    );
    const agent = text
      .slice(text.indexOf('  - name'), text.indexOf('\n\n'))
      .replace('owner: #', 'owner: owner #')
      .replace('user: #', 'user: r #');
    const config = await load(MINIMAL.replace('agents:\n', `agents:\n${agent}\n`), {
      UPSTREAM_PASSWORD_REPORTING: 'x',
    });
    expect(config.agents[0]).toMatchObject({ name: 'reporting', upstream: { user: 'r', password: 'x' } });
  });
});

describe('serve', () => {
  it('drains within its limit at SIGTERM, then closes', async () => {
    const child = run('test/cli/with-stub.ts', ['serve', '--config', join(directory, 'any-port.yaml')], {
      STUB_NEVER_DRAINS: '1',
    });
    let said = '';
    await new Promise<void>((done) =>
      child.process.stderr?.on('data', (text: string) => {
        said += text;
        if (said.includes('"ready"')) done();
      }),
    );
    child.process.kill('SIGTERM');
    const { code, stdout, stderr } = await child.ended;
    expect(code).toBe(0);
    expect(stdout).toBe('');
    const messages = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).msg);
    expect(messages).toEqual([
      'stand-in started',
      'ready',
      'stopping',
      'sessions are still open; closing them',
      'stand-in closed',
    ]);
  });
});

it('every command has a description', async () => {
  const program = await buildProgram();
  expect(program.commands.length).toBeGreaterThan(3);
  for (const command of program.commands) expect(command.description(), command.name()).not.toBe('');
});
