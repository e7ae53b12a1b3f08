// Copies what tsc does not: SQL migrations, sample data and page assets, beside the compiled code. What an earlier build
// left and the sources have no longer goes: a migration that was renamed would be run under both names, a module that
// was moved would be packed twice.
import { chmodSync, cpSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const assets = /\.(sql|html|css|svg)$/;
for (const name of readdirSync('dist', { recursive: true }).map(String)) {
  const source = name.replace(/\.js(\.map)?$/, '.ts');
  const isBuilt = assets.test(name) || source !== name;
  if (isBuilt && !existsSync(join('src', source))) rmSync(join('dist', name));
}
cpSync('src', 'dist', {
  recursive: true,
  filter: (source) => !/\.[a-z]+$/.test(source) || assets.test(source),
});
chmodSync('dist/main.js', 0o755);
