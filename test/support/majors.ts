import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { nativeDirectory } from '../../src/embedded/binaries.ts';

/** Majors of Postgres that the proxy is tested in front of, oldest first. */
export const MAJORS = [14, 15, 16, 17, 18] as const;
export type Major = (typeof MAJORS)[number];

/** The one that the quick start and the ordinary test run use. */
export const NEWEST: Major = 18;

export function isMajor(value: number): value is Major {
  return (MAJORS as readonly number[]).includes(value);
}

/** Directory with `bin`, `lib`, `share` of that major's server for this platform; null: not installed. */
export function binariesOf(major: Major): string | null {
  if (major === NEWEST) return nativeDirectory();
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  for (const from of ['../../package.json', '../majors/package.json']) {
    try {
      const entry = createRequire(new URL(from, import.meta.url)).resolve(
        `postgres-${major}-${platform}-${process.arch}`,
      );
      return join(dirname(entry), '..', 'native');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  return null;
}

/** How a missing major is installed. */
export function howToInstall(major: Major): string {
  return major === MAJORS[0] ? 'npm ci' : 'npm ci --prefix test/majors';
}
