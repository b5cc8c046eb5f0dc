// What options must look like, in the words of this API: the WebAssembly would tell it in those of its JSON reader.

import { kindOf, optionObject } from './check.js';
import { isBrokenText } from './encode.js';
import { PocketError } from './error.js';

/** The largest whole number of 32 bits. */
const MAX_COUNT = 0xffff_ffff;

/**
 * What an option is. `count`: a whole number of 32 bits; `whole`: one up to 2^53; `texts`: an array of text; an array: one of these
 * words; `any`: it is looked at elsewhere.
 */
export type Shape = 'text' | 'flag' | 'count' | 'whole' | 'texts' | 'any' | readonly string[];

/** Options with what each of them is. */
export type Shapes<T> = { readonly [K in keyof Required<T>]: Shape };

const isWhole = (value: unknown, most: number): boolean => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;

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

/**
 * Refuses options that do not exist, so that a misspelt one does not silently do nothing, and values that an option cannot
 * have. `what` is who takes them; `within` is where they stand in larger options, for the names of their places.
 *
 * @throws PocketError `config`, which names them.
 */
export function checkShape<T extends object>(what: string, options: T, shapes: Shapes<T>, within = ''): void {
  optionObject(options, `what ${what} takes`);
  const known = Object.keys(shapes);
  const unknown = Object.keys(options).filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    const names = unknown.map((name) => `\`${within}${name}\``).join(', ');
    throw new PocketError('config', `${what} has no option ${names}; there are ${known.join(', ')}`, { path: `${within}${unknown[0]}` });
  }
  for (const name of known as (keyof T & string)[]) {
    const value: unknown = options[name];
    if (value === undefined) continue;
    const wanted = expected(shapes[name], value);
    if (wanted !== undefined) throw new PocketError('config', `\`${within}${name}\` of ${what} is ${wanted}, not ${found(value)}`, { path: `${within}${name}` });
  }
}
