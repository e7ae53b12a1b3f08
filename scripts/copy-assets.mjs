// Copies what tsc does not: SQL migrations, sample data and page assets, beside the compiled code.
import { chmodSync, cpSync } from 'node:fs';

const assets = /\.(sql|html|css|svg)$/;
cpSync('src', 'dist', {
  recursive: true,
  filter: (source) => !/\.[a-z]+$/.test(source) || assets.test(source),
});
chmodSync('dist/main.js', 0o755);
