import { text } from './check.js';
import type { CollectionCore } from './collection-core.js';
import { decodeMap, decodeRows } from './decode.js';
import type { Decoder, Row } from './decode.js';
import { encode } from './encode.js';
import { PocketError, isPocketError, settled } from './error.js';
import { filterOptions } from './filter.js';
import { LiveCount, LiveQuery } from './live.js';
import type { Shapes } from './shape.js';
import { checkShape } from './shape.js';
import type { ContainsOperand, DeepPartial, ElementFilter, ElementOf, Field, Filter, Given, IndexField, Omitted, Operand, Path, Picked, SortOrder, Stored, TextOperand, ValueAt } from './types.js';

/** A query as data, as the database takes it. */
export interface QuerySpec {
  /** Which documents. */
  readonly filter?: object;
  /** By what they are sorted, the most important first; ids break ties. */
  readonly sort?: readonly IndexField[];
  /** How many are passed over at the beginning. */
  readonly skip?: number;
  /** How many at the most. */
  readonly limit?: number;
  /** Only those behind this place. */
  readonly after?: string;
  /** Only those before this place. */
  readonly before?: string;
  /** The fields given out. */
  readonly include?: readonly string[];
  /** The fields left out. */
  readonly exclude?: readonly string[];
}

/** A part of a result, with the places of its ends. */
export interface Page<R> {
  /** The documents in the query's order. */
  readonly documents: R[];
  /** Where the first stands: the page before is the query with `before(start)`. Null on an empty page. */
  readonly start: string | null;
  /** Where the last stands: the page behind is the query with `after(end)`. Null on an empty page. */
  readonly end: string | null;
}

/** How a query is carried out: the very plan it runs by. */
export interface QueryPlan {
  /** The collection. */
  readonly collection: string;
  /** Which documents are read, by `kind`: `full-scan`, `ids`, `index`, `index-order`, `union`, `intersection` and others. */
  readonly access: {
    /** Which way. */
    readonly kind: string;
    readonly [detail: string]: unknown;
  };
  /** What every document that is read is checked by. */
  readonly filter: unknown;
  /** How they come into the order of the query. */
  readonly order: unknown;
  /** What running it cost; only with `analyze`. */
  readonly figures?: QueryFigures;
  readonly [detail: string]: unknown;
}

/** What running a query cost. */
export interface QueryFigures {
  /** Entries of indexes that were read, for the plan as well. */
  readonly indexEntries: number;
  /** Documents that were read. */
  readonly documentsRead: number;
  /** Documents that were given out. */
  readonly documentsReturned: number;
  /** Bytes of the documents read. */
  readonly bytesRead: number;
  /** Calls of the storage. */
  readonly storeCalls: number;
}

/** How often a live query tells of changes. */
export interface LiveOptions {
  /** Milliseconds to wait for more changes before they are told together; 0 unless set, which tells each commit. */
  readonly debounceMs?: number | undefined;
}

const LIVE_OPTIONS: Shapes<LiveOptions> = { debounceMs: 'whole' };

/** What is told of a plan. */
export interface ExplainOptions {
  /** Whether the query is run, too, to tell what it cost; false unless set. */
  readonly analyze?: boolean | undefined;
}

const EXPLAIN_OPTIONS: Shapes<ExplainOptions> = { analyze: 'flag' };

const FILTER = filterOptions('bad-query');

/** A query as bytes; the same query always gives the same bytes. */
export function encodeQuery(spec: QuerySpec): Uint8Array {
  try {
    return encode(spec, FILTER);
  } catch (error) {
    if (isPocketError(error) && error.path?.startsWith('filter.')) throw new PocketError(error.code, error.message, { path: fieldOf(error.path) });
    throw error;
  }
}

/** The field that a place in the filter of a query is about: without the operators before it and behind it. */
function fieldOf(path: string): string {
  const [, ...segments] = path.split('.');
  const inner = (from: number): string => {
    const operator = segments[from];
    if (operator === undefined || !operator.startsWith('$')) return segments.slice(from).join('.').replace(/\.\$.*$/, '');
    return inner(operator === '$not' ? from + 1 : from + 2);
  };
  return inner(0);
}

/** The documents of rows. */
export function documents<R>(rows: readonly (Row | null)[]): R[] {
  return rows.filter((row) => row !== null).map((row) => row.data as R);
}

/**
 * Which documents of a collection, in which order, how many, and what of them.
 *
 * It never changes: each step gives another query. Nothing is read before `all`, `first`, `count`, `page`, `explain` or
 * `live`. `T` is the collection's type, `R` what is given out. A query that cannot be asked fails with `bad-query`.
 */
export class Query<T, R = Stored<T>> {
  readonly #core: CollectionCore;
  /** The query as data. */
  readonly spec: QuerySpec;

  /** @internal */
  constructor(core: CollectionCore, spec: QuerySpec) {
    this.#core = core;
    this.spec = spec;
  }

  /** The collection's name. */
  get collection(): string {
    return this.#core.name;
  }

  /** Begins a condition on the field at a dotted path; the operator follows. All conditions hold together. */
  where<P extends Path<T>>(path: P): Where<T, R, ValueAt<T, P>> {
    text(path, 'the path of a condition', 'bad-query');
    return new Where(path, (condition) => this.#and({ [path]: condition }));
  }

  /** Requires that this filter holds, too. */
  filter(filter: Filter<T>): Query<T, R> {
    return this.#and(filter);
  }

  /** Requires that all of these hold, too. */
  and(...filters: readonly Filter<T>[]): Query<T, R> {
    return filters.reduce((query: Query<T, R>, filter) => query.#and(filter), this);
  }

  /** Requires that at least one of these holds, beside what was required before. */
  or(...filters: readonly Filter<T>[]): Query<T, R> {
    return this.#and({ $or: filters });
  }

  /** Requires that this does not hold. */
  not(filter: Filter<T>): Query<T, R> {
    return this.#and({ $not: filter });
  }

  /** Sorts by one more field; it orders what is equal in those before. Ids break ties. */
  sort(field: Path<T>, order: SortOrder = 'asc'): Query<T, R> {
    return this.#with({ sort: [...(this.spec.sort ?? []), { field, order }] });
  }

  /** Passes over so many at the beginning. */
  skip(count: number): Query<T, R> {
    return this.#with({ skip: count });
  }

  /** Ends after so many. */
  limit(count: number): Query<T, R> {
    return this.#with({ limit: count });
  }

  /** Only those behind a place of a page with the same sort. */
  after(cursor: string): Query<T, R> {
    return this.#with({ after: cursor });
  }

  /** Only those before a place of a page with the same sort; without `after`, the limit takes the last of them. */
  before(cursor: string): Query<T, R> {
    return this.#with({ before: cursor });
  }

  /** Gives out only these fields and `_id`. Do not write back what was projected: what is missing would be deleted. */
  include<K extends Field<T>>(...fields: readonly K[]): Query<T, Stored<Picked<T, K>>>;
  /** Gives out only what lies at these dotted paths, and `_id`: whatever is not at one of them is missing, at any depth. */
  include(...paths: readonly Path<T>[]): Query<T, Stored<DeepPartial<T>>>;
  include(...paths: readonly string[]): Query<T, any> {
    return this.#with<any>({ include: [...(this.spec.include ?? []), ...paths] });
  }

  /** Leaves out these fields, too. */
  exclude<K extends Field<T>>(...fields: readonly K[]): Query<T, Stored<Omitted<R, K>>>;
  /** Leaves out what lies at these dotted paths, at any depth. */
  exclude(...paths: readonly Path<T>[]): Query<T, Stored<DeepPartial<R>>>;
  exclude(...paths: readonly string[]): Query<T, any> {
    return this.#with<any>({ exclude: [...(this.spec.exclude ?? []), ...paths] });
  }

  /** The documents, all of one state of the database. */
  async all(): Promise<R[]> {
    const bytes = await settled(() => this.#core.raw().find(this.#bytes()));
    return documents(decodeRows(bytes));
  }

  /** The first of what `all` gives, or null. */
  async first(): Promise<R | null> {
    const { before, after, limit } = this.spec;
    // With `before` alone the limit takes the last: a limit of 1 would give the last of them and not the first.
    const isBackwards = before !== undefined && after === undefined;
    const one = isBackwards ? this : this.#with({ limit: Math.min(1, limit ?? 1) });
    const [first] = await one.all();
    return first ?? null;
  }

  /** How many there are. */
  count(): Promise<number> {
    return settled(() => this.#core.raw().count(this.#bytes()));
  }

  /** The documents with the places of their ends, to go on from there. */
  async page(): Promise<Page<R>> {
    const bytes = await settled(() => this.#core.raw().page(this.#bytes()));
    let rows: (Row | null)[] = [];
    const ends: { start: string | null; end: string | null } = { start: null, end: null };
    decodeMap(bytes, (key: string, decoder: Decoder) => {
      if (key === 'rows') rows = decoder.rows();
      else {
        const value = decoder.value();
        if ((key === 'start' || key === 'end') && typeof value === 'string') ends[key] = value;
      }
    });
    return { documents: documents(rows), ...ends };
  }

  /** How it is carried out; with `analyze` it is run, and what it read is told. */
  async explain(options: ExplainOptions = {}): Promise<QueryPlan> {
    checkShape('`explain`', options, EXPLAIN_OPTIONS);
    const json = await settled(() => this.#core.raw().explain(this.#bytes(), options.analyze ?? false));
    const plan = JSON.parse(json) as QueryPlan & { figures?: Record<string, number> };
    if (plan.figures === undefined) return plan;
    const figures = Object.entries(plan.figures).map(([name, figure]) => [camelCase(name), figure]);
    return { ...plan, figures: Object.fromEntries(figures) as unknown as QueryFigures };
  }

  /** Its result, kept up to date until `close()`. A query that cannot be asked throws here. */
  live(options: LiveOptions = {}): LiveQuery<R> {
    checkShape('`live`', options, LIVE_OPTIONS);
    return new LiveQuery(this.#core, this.#bytes(), options.debounceMs ?? 0);
  }

  /** How many there are, kept up to date until `close()`. */
  liveCount(options: LiveOptions = {}): LiveCount {
    checkShape('`liveCount`', options, LIVE_OPTIONS);
    return new LiveCount(this.#core, this.#bytes(), options.debounceMs ?? 0);
  }

  #bytes(): Uint8Array {
    return encodeQuery(this.spec);
  }

  #and(filter: object): Query<T, R> {
    const before = this.spec.filter;
    if (before === undefined) return this.#with({ filter });
    const several = Object.keys(before).length === 1 && '$and' in before ? (before.$and as readonly object[]) : [before];
    return this.#with({ filter: { $and: [...several, filter] } });
  }

  #with<R2 = R>(changes: QuerySpec): Query<T, R2> {
    return new Query(this.#core, { ...this.spec, ...changes });
  }
}

/** A condition that waits for its operator. `V` is what lies at its path. */
export class Where<T, R, V> {
  readonly #path: string;
  readonly #add: (condition: unknown) => Query<T, R>;

  /** @internal */
  constructor(path: string, add: (condition: unknown) => Query<T, R>) {
    this.#path = path;
    this.#add = add;
  }

  /** The path it is about. */
  get path(): string {
    return this.#path;
  }

  /** Equal: numbers by value, arrays and maps deeply. Null also matches a missing field. */
  eq(value: Operand<V>): Query<T, R> {
    return this.#add({ $eq: value });
  }

  /** Not equal; a missing field is not equal to anything but null. */
  ne(value: Operand<V>): Query<T, R> {
    return this.#add({ $ne: value });
  }

  /** Greater, and of the same type. */
  gt(value: NonNullable<Operand<V>>): Query<T, R> {
    return this.#add({ $gt: value });
  }

  /** At least, and of the same type. */
  gte(value: NonNullable<Operand<V>>): Query<T, R> {
    return this.#add({ $gte: value });
  }

  /** Less, and of the same type. */
  lt(value: NonNullable<Operand<V>>): Query<T, R> {
    return this.#add({ $lt: value });
  }

  /** At most, and of the same type. */
  lte(value: NonNullable<Operand<V>>): Query<T, R> {
    return this.#add({ $lte: value });
  }

  /** At least the first and at most the second. */
  between(low: NonNullable<Operand<V>>, high: NonNullable<Operand<V>>): Query<T, R> {
    return this.#add({ $between: [low, high] });
  }

  /** Equal to one of these. */
  in(values: readonly Operand<V>[]): Query<T, R> {
    return this.#add({ $in: values });
  }

  /** Equal to none of these. */
  notIn(values: readonly Operand<V>[]): Query<T, R> {
    return this.#add({ $nin: values });
  }

  /** There, be it null. */
  exists(): Query<T, R> {
    return this.#add({ $exists: true });
  }

  /** Not there. */
  notExists(): Query<T, R> {
    return this.#add({ $exists: false });
  }

  /** Text that begins so. */
  startsWith(text: TextOperand<V>): Query<T, R> {
    return this.#add({ $startsWith: text });
  }

  /** Text that ends so. */
  endsWith(text: TextOperand<V>): Query<T, R> {
    return this.#add({ $endsWith: text });
  }

  /** Text with this part, or an array with this element. */
  contains(value: ContainsOperand<V>): Query<T, R> {
    return this.#add({ $contains: value });
  }

  /**
   * Text in which this pattern is found, in time linear in the text.
   *
   * Patterns are those of the Rust crate `regex-lite`: no look-around and no back-references. Of a `RegExp` the source and
   * the flags `i`, `m` and `s` count.
   */
  matches(pattern: [TextOperand<V>] extends [never] ? never : string | RegExp): Query<T, R> {
    return this.#add({ $regex: isRegExp(pattern) ? patternOf(pattern) : pattern });
  }

  /** An array with all of these elements; any other value counts as an array of itself. */
  all(values: readonly Given<ElementOf<NonNullable<V>>>[]): Query<T, R> {
    return this.#add({ $all: values });
  }

  /** An array of so many elements. */
  size(count: number): Query<T, R> {
    return this.#add({ $size: count });
  }

  /** An array with one element for which all of this holds. */
  elemMatch(filter: ElementFilter<ElementOf<NonNullable<V>>>): Query<T, R> {
    return this.#add({ $elemMatch: filter });
  }
}

function isRegExp(pattern: unknown): pattern is RegExp {
  return Object.prototype.toString.call(pattern) === '[object RegExp]';
}

function patternOf(pattern: RegExp): string {
  const flags = [...pattern.flags].filter((flag) => 'ims'.includes(flag)).join('');
  return flags === '' ? pattern.source : `(?${flags})${pattern.source}`;
}

function camelCase(name: string): string {
  return name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}
