// What options must look like, in the words of this API: the WebAssembly would tell it in those of its JSON reader.

import { kindOf, optionObject } from './check.js';
import { isBrokenText } from './encode.js';
import { PocketError } from './error.js';

/** The largest whole number of 32 bits. */
const MAX_COUNT = 0xffff_ffff;

/**
 * What an option is. `count`: a whole number of 32 bits; `some`: such a number that is not 0; `whole`: one up to 2^53; `texts`: an
 * array of text; an array: one of these words; `any`: it is looked at elsewhere.
 */
export type Shape = 'text' | 'flag' | 'count' | 'some' | 'whole' | 'texts' | 'any' | readonly string[];

/** Options with what each of them is. */
export type Shapes<T> = { readonly [K in keyof Required<T>]: Shape };

const isWhole = (value: unknown, most: number, least = 0): boolean => Number.isInteger(value) && (value as number) >= least && (value as number) <= most;

function expected(shape: Shape, value: unknown): string | undefined {
  if (typeof shape === 'object') return typeof value === 'string' && shape.includes(value) ? undefined : `one of ${shape.map((word) => `'${word}'`).join(', ')}`;
  switch (shape) {
    case 'text':
      if (typeof value === 'string' && isBrokenText(value)) return 'text without half of a surrogate pair';
      return typeof value === 'string' ? undefined : 'text';
    case 'flag':
      return typeof value === 'boolean' ? undefined : 'true or false';
    case 'count':
      return isWhole(value, MAX_COUNT) ? undefined : `a whole number from 0 to ${MAX_COUNT}`;
    case 'some':
      return isWhole(value, MAX_COUNT, 1) ? undefined : `a whole number from 1 to ${MAX_COUNT}`;
    case 'whole':
      return isWhole(value, Number.MAX_SAFE_INTEGER) ? undefined : 'a whole number from 0 on';
    case 'texts':
      return Array.isArray(value) && value.every((item) => typeof item === 'string') ? undefined : 'an array of text';
    case 'any':
      return undefined;
  }
}

function found(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : typeof value === 'number' || typeof value === 'bigint' ? String(value) : kindOf(value);
}

/** How many letters must be put in, taken out, exchanged or swapped with their neighbours to make one word of the other. */
function distance(one: string, other: string): number {
  let before: number[] = [];
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const isSame = one[i - 1] === other[j - 1];
      let least = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (isSame ? 0 : 1));
      if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]) least = Math.min(least, before[j - 2]! + 1);
      next.push(least);
    }
    [before, row] = [row, next];
  }
  return row[other.length]!;
}

/** The word that was probably meant, if there is one. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  // Long names are not read by anybody who mistyped one of these.
  const given = word.slice(0, 64).toLowerCase();
  let best: string | undefined;
  // A third of it may be wrong.
  const most = Math.max(1, Math.floor(given.length / 3));
  let least = most + 1;
  for (const name of known) {
    // Of what only lacks its end, the end does not count.
    const isBegun = given.length >= 4 && name.toLowerCase().startsWith(given);
    const away = isBegun ? most : distance(given, name.toLowerCase());
    if (away >= least) continue;
    least = away;
    best = name;
  }
  return best;
}

/** ` Did you mean …?`, if it can be told. */
export function meant(word: string, known: readonly string[], quote: string): string {
  const found = nearest(word, known);
  return found === undefined ? '' : `. Did you mean ${quote}${found}${quote}?`;
}

/**
 * Refuses options that do not exist, so that a misspelt one does not silently do nothing, and values that an option cannot
 * have. `what` is who takes them; `within` is where they stand in larger options, for their path.
 *
 * @throws PocketError `config`, which names them.
 */
export function checkShape<T extends object>(what: string, options: T, shapes: Shapes<T>, within = ''): void {
  optionObject(options, `what ${what} takes`, within.slice(0, -1));
  const known = Object.keys(shapes);
  const [unknown] = Object.keys(options).filter((name) => !known.includes(name));
  if (unknown !== undefined) {
    const there = known.length === 0 ? 'it has none' : `there are ${known.map((name) => `\`${name}\``).join(', ')}`;
    throw new PocketError('config', `${what} has no option \`${unknown}\`; ${there}${meant(unknown, known, '`')}`, { path: `${within}${unknown}` });
  }
  for (const name of known as (keyof T & string)[]) {
    const value: unknown = options[name];
    if (value === undefined) continue;
    const shape = shapes[name];
    const wanted = expected(shape, value);
    if (wanted === undefined) continue;
    const hint = typeof shape === 'object' && typeof value === 'string' ? meant(value, shape, "'") : '';
    throw new PocketError('config', `\`${name}\` of ${what} is ${wanted}, not ${found(value)}${hint}`, { path: `${within}${name}` });
  }
}
