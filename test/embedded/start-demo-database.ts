// Run as a process of its own, to see the demo's database start under another account: DIRECTORY as the argument.
import pg from 'pg';
import { chooseDataDirectory } from '../../src/embedded/data-directory.ts';
import { startEmbeddedPostgres } from '../../src/embedded/launcher.ts';
import { DEMO, provisionDemo } from '../../src/embedded/provision.ts';
import { demoSecrets } from '../../src/embedded/secrets.ts';

const directory = chooseDataDirectory(process.argv[2], process.cwd());
const secrets = demoSecrets(directory);
const server = await startEmbeddedPostgres({
  directory,
  password: secrets.superuser,
  settings: { fsync: 'off' },
});
try {
  await provisionDemo(server, secrets);
  const client = new pg.Client({
    host: server.host,
    port: server.port,
    user: DEMO.agentRole,
    password: secrets.shopAgent,
    database: DEMO.shop,
  });
  await client.connect();
  const { rows } = await client.query('SELECT count(*)::int AS payments FROM payments');
  await client.end();
  process.stdout.write(`${JSON.stringify({ uid: process.getuid?.() ?? null, directory, ...rows[0] })}\n`);
} finally {
  await server.stop();
}
