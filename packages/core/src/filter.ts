// Filters on their way to the WebAssembly.

import type { EncodeOptions } from './encode.js';
import { meant } from './shape.js';
import type { FieldOperators, Filter } from './types.js';

/** All operators; what each may stand at, the engine knows. */
const OPERATORS: Record<(keyof FieldOperators<unknown> | keyof Filter<object>) & `$${string}`, true> = {
  $eq: true,
  $ne: true,
  $gt: true,
  $gte: true,
  $lt: true,
  $lte: true,
  $between: true,
  $in: true,
  $nin: true,
  $exists: true,
  $startsWith: true,
  $endsWith: true,
  $contains: true,
  $regex: true,
  $all: true,
  $size: true,
  $elemMatch: true,
  $not: true,
  $and: true,
  $or: true,
  $nor: true,
};

/**
 * How filters are written. A condition that is `undefined` is an error, and not one that selects everything; so is an operator
 * that does not exist, with the one that was probably meant.
 */
export function filterOptions(code: string): EncodeOptions {
  return {
    undefined: 'refuse',
    code,
    refused: (key) => (key.startsWith('$') && !Object.hasOwn(OPERATORS, key) ? `there is no operator \`${key}\`${meant(key, Object.keys(OPERATORS), '`')}` : undefined),
  };
}
