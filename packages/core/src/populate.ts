import { kindOf } from './check.js';
import { isPlainObject } from './encode.js';
import { PocketError } from './error.js';

/** Documents that others refer to; see {@link Collection.populate}. */
export class Populated<R> {
  readonly #ids: readonly (readonly string[])[];
  readonly #found: ReadonlyMap<string, R>;
  /** References that lead nowhere: their documents are missing, deleted, or have not arrived yet. */
  readonly missing: readonly string[];

  /** @internal */
  constructor(ids: readonly (readonly string[])[], found: ReadonlyMap<string, R>, missing: readonly string[]) {
    this.#ids = ids;
    this.#found = found;
    this.missing = missing;
  }

  /** The document of this id; null when nobody refers to it, or it is missing. */
  get(id: string): R | null {
    return this.#found.get(id) ?? null;
  }

  /** What the document at this place among those given refers to, in the order of its references; null where one is missing. */
  of(place: number): (R | null)[] {
    return (this.#ids[place] ?? []).map((id) => this.get(id));
  }

  /** The first that the document at this place refers to, for fields that hold one id. */
  one(place: number): R | null {
    return this.of(place)[0] ?? null;
  }
}

/** The ids in a field of a document: of one, of an array of them, and of what is in the elements of arrays on the way. */
export function referencesOf(document: object, field: string): string[] {
  const found: string[] = [];
  const walk = (value: unknown, keys: readonly string[]): void => {
    if (value === null || value === undefined) return;
    const [key, ...rest] = keys;
    if (Array.isArray(value)) {
      const isPlace = key !== undefined && /^(0|[1-9]\d*)$/.test(key);
      if (isPlace) walk(value[Number(key)], rest);
      for (const element of value as unknown[]) {
        // Arrays in arrays are reached by their places alone, as in queries.
        if (!Array.isArray(element)) walk(element, keys);
      }
    } else if (key !== undefined) {
      if (typeof value === 'object' && isPlainObject(value)) walk(Object.hasOwn(value, key) ? value[key] : undefined, rest);
    } else if (typeof value === 'string') found.push(value);
    else throw new PocketError('bad-query', `the field \`${field}\` holds ${kindOf(value)}, which is no reference`, { path: field });
  };
  walk(document, field.split('.'));
  return found;
}
