/**
 * What a name looks like, so that two that nobody can tell apart are one: compatibility forms (NFKC), letters without
 * their case and marks, without what is invisible, and Cyrillic, Greek, Armenian and other letters as the Latin ones that
 * they are drawn as. A short list of Unicode's confusables (UTS 39): the letters that whole names can be written with.
 */
export function looksLike(name: string): string {
  const plain = name
    .normalize('NFKC')
    .replace(/[\p{Default_Ignorable_Code_Point}\p{White_Space}\p{C}]/gu, '')
    .toLowerCase()
    .normalize('NFD')
    .replace(/\p{M}/gu, '');
  return [...plain].map((letter) => DRAWN_AS.get(letter) ?? letter).join('');
}

const DRAWN_AS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    a: 'аαɑ',
    b: 'Ьвβ',
    c: 'сϲⅽ',
    d: 'ԁɗ',
    e: 'еєε',
    f: 'ϝƒ',
    g: 'ɡԍց',
    h: 'һհн',
    i: 'іıιɩӏ',
    j: 'јϳ',
    k: 'кκ',
    l: 'ⅼl',
    m: 'мⅿ',
    n: 'пոηո',
    o: 'оοօσ',
    p: 'рρ',
    q: 'ԛզ',
    r: 'г',
    s: 'ѕꜱ',
    t: 'тτ',
    u: 'υսц',
    v: 'ѵνⅴ',
    w: 'ԝѡωա',
    x: 'хχⅹ',
    y: 'уγү',
    z: 'ᴢ',
    '-': '‐‑‒–—−',
    '.': '․。',
    '@': '﹫＠',
  }).flatMap(([latin, others]) => [...others.toLowerCase()].map((letter) => [letter, latin] as const)),
);
