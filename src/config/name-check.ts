import type { Path } from './document.ts';
import type { ConfigErrorCode } from './errors.ts';
import { nearest } from './nearest.ts';

export type Add = (path: Path, problem: string, code?: ConfigErrorCode) => void;

export function known(name: string, names: readonly string[], what: string, path: Path, add: Add): boolean {
  if (names.includes(name)) return true;
  const near = nearest(name, names);
  add(path, `no such name; expected ${what}${near === null ? '' : `; did you mean ${near}?`}`);
  return false;
}

export function unique<K extends string>(
  items: readonly { readonly [key in K]: string }[],
  key: K,
  path: Path,
  add: Add,
): void {
  items.forEach((item, index) => {
    const first = items.findIndex((other) => other[key] === item[key]);
    if (first !== index) add([...path, index, key], `the same ${key} is used above`, 'config_invalid_value');
  });
}

export function ids(people: readonly { readonly id: string }[]): string[] {
  return people.map(({ id }) => id);
}
