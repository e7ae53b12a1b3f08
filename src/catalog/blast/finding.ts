import { showText } from '../../statement/visible.ts';

/**
 * One line about what a statement would touch, for people: a label, a sentence, and what it lists. Names in it are
 * attacker-controlled; here they are already made visible, and bounded.
 */
export type Finding = {
  readonly label: string;
  readonly text: string;
  /** The first of `of`. */
  readonly items: readonly string[];
  readonly of: number;
};

/** Listed of one finding; more are counted only. */
export const MOST_ITEMS = 100;
/** Characters of one item, and of a sentence. */
const ITEM_CHARACTERS = 240;
const TEXT_CHARACTERS = 600;

export function finding(
  label: string,
  text: string,
  items: readonly string[] = [],
  of = items.length,
): Finding {
  return {
    label,
    text: bounded(showText(text), TEXT_CHARACTERS),
    items: items.slice(0, MOST_ITEMS).map((item) => bounded(showText(item), ITEM_CHARACTERS)),
    of,
  };
}

/** What could not be found out, and why, in plain words. */
export function notKnown(text: string): Finding {
  return finding('Not known', text);
}

export function plural(count: number, noun: string, many = `${noun}s`): string {
  return `${count.toLocaleString('en-US')} ${count === 1 ? noun : many}`;
}

/** Sizes as people read them; powers of 1,024. */
export function bytesInWords(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 10_240 && unit < units.length - 1) {
    value /= 1_024;
    unit++;
  }
  return `${Math.round(value).toLocaleString('en-US')} ${units[unit]}`;
}

function bounded(text: string, most: number): string {
  const characters = [...text];
  return characters.length <= most ? text : `${characters.slice(0, most - 1).join('')}…`;
}
