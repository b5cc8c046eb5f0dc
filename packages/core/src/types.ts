// The types of documents, paths and filters. They cost nothing at run time.

import type { DocumentSchema } from './schema.js';

/** A document whose fields are not known: the type of a collection for which none was named. */
export interface AnyDocument {
  /** The id; made when it is left out. */
  _id?: string;
  // Whoever names no type wants no checks.
  [field: string]: any;
}

/** A document as it is read: it always has its id. */
export type Stored<T> = T & {
  /** Its id. */
  readonly _id: string;
};

/**
 * What the documents of each collection of a database look like, where nobody said so. Name an interface with a field for
 * each collection instead, as in `Database.create<{ todos: Todo }>(…)`, and names and types are checked.
 */
export interface AnyCollections {
  // Any name, and any document.
  [name: string]: AnyDocument;
}

/** The names of the collections of a database: any text, unless its type says which there are. */
export type CollectionName<C> = string extends keyof C ? string : keyof C & string;

/** The names of those collections whose documents the type of the database tells. */
export type TypedName<C> = string extends keyof C ? never : keyof C & string;

/** What the documents of a collection look like. */
export type DocumentOf<C, N extends keyof C> = Extract<C[N], object>;

/** The keys of a document; of a union those of all its members. */
export type KeyOf<T> = T extends unknown ? keyof T & string : never;

/** What lies at a key; of a union in those members that have it. */
export type ValueOf<T, K extends string> = T extends unknown ? (K extends keyof T ? T[K] : never) : never;

/** A value as it may be given: arrays and objects may be read-only, and what may be missing may be `undefined`. */
export type Given<V> = IsAny<V> extends true
  ? V
  : V extends Scalar
    ? V
    : V extends readonly unknown[]
      ? { readonly [K in keyof V]: Given<V[K]> }
      : V extends object
        ? { readonly [K in keyof V]: Given<V[K]> | (object extends Pick<V, K> ? undefined : never) }
        : V;

/** A document as it is inserted: without an `_id` it gets one (UUID v7, rising in time). */
export type Insertable<T> = T extends unknown ? Given<Omit<T, '_id'>> & Partial<HasId> : never;

/** What has an id. */
export interface HasId {
  /** The id. */
  _id: string | undefined;
}

/** What `update` may change: fields at the top, as wholes. `_id` cannot change. */
export type Patch<T> = { readonly [K in Exclude<KeyOf<T>, '_id' | '_rev' | '_updatedAt' | '_deleted'>]?: Given<ValueOf<T, K>> | undefined };

/** A document with what the database knows of it. */
export interface StoredDocument<T> {
  /** Its id, the `_id` of `data`. */
  readonly id: string;
  /** The version: who wrote it and when, as opaque text. */
  readonly rev: string;
  /** When it was last written, here or on another device. */
  readonly updatedAt: Date;
  /** The document. */
  readonly data: Stored<T>;
}

/** Of which anything may be missing, at any depth, also in the elements of arrays; `_id` may be, too. */
export type DeepPartial<V> = IsAny<V> extends true
  ? V
  : V extends Scalar
    ? V
    : V extends readonly unknown[]
      ? { [K in keyof V]: DeepPartial<V[K]> }
      : V extends object
        ? { [K in keyof V]?: DeepPartial<V[K]> }
        : V;

/** The names of the fields at the top of a document; none where any text is one, since a path could not be told from it. */
export type Field<T> = string extends KeyOf<T> ? never : KeyOf<T>;

/** Only these fields; of each member of a union those that it has. */
export type Picked<T, K extends string> = T extends unknown ? Pick<T, K & keyof T> : never;

/** All but these fields, in each member of a union. */
export type Omitted<T, K extends string> = T extends unknown ? Omit<T, K> : never;

/** Which end comes first. */
export type SortOrder = 'asc' | 'desc';

type Scalar = string | number | bigint | boolean | null | undefined | Date | Uint8Array;
type IsAny<V> = 0 extends 1 & V ? true : false;

/** A number may be compared with a `bigint`, and a `bigint` with a number: they are compared by value. */
type Numeric<V> = V extends bigint ? V | number : V extends number ? (number extends V ? V | bigint : V) : V;

/** What may be compared with a field: its value; an element, where it is an array; and null, which a missing field equals. */
export type Operand<V> = IsAny<V> extends true ? V : Numeric<Given<V> | Given<ElementOf<V>>> | null;

/** The elements of an array; of anything else, itself. */
export type ElementOf<V> = V extends Scalar ? never : V extends readonly (infer E)[] ? E : never;

/** What has an order: what the field or one of its elements is. */
export type Comparable<V> = IsAny<V> extends true ? V : Numeric<Given<Exclude<V extends readonly (infer E)[] ? E | V : V, undefined>>>;

/** Text, where the field or one of its elements is text. */
export type TextOperand<V> = IsAny<V> extends true ? string : Extract<V | ElementOf<V>, string> extends never ? never : string;

/** A part of a text, or an element of an array. */
export type ContainsOperand<V> = IsAny<V> extends true
  ? V
  : (Extract<V, string> extends never ? never : string) | Numeric<Given<ElementOf<NonNullable<V>>>>;

type ArrayOnly<V, A> = IsAny<V> extends true ? A : Extract<V, readonly unknown[]> extends never ? never : A;

/**
 * Operators of a filter. All that are named hold together; `docs/guide/queries.md` says what each of them means.
 */
export interface FieldOperators<V> {
  /** Equal: numbers by value, arrays and maps deeply. Null also matches a missing field. */
  readonly $eq?: Operand<V>;
  /** Not `$eq`. */
  readonly $ne?: Operand<V>;
  /** Greater, and of the same type. */
  readonly $gt?: Comparable<V>;
  /** At least, and of the same type. */
  readonly $gte?: Comparable<V>;
  /** Less, and of the same type. */
  readonly $lt?: Comparable<V>;
  /** At most, and of the same type. */
  readonly $lte?: Comparable<V>;
  /** At least the first and at most the second. */
  readonly $between?: readonly [Comparable<V>, Comparable<V>];
  /** Equal to one of these. */
  readonly $in?: readonly Operand<V>[];
  /** Not `$in`. */
  readonly $nin?: readonly Operand<V>[];
  /** There, be it null; with `false`, not there. */
  readonly $exists?: boolean;
  /** Text that begins so. */
  readonly $startsWith?: TextOperand<V>;
  /** Text that ends so. */
  readonly $endsWith?: TextOperand<V>;
  /** Text with this part, or an array with this element. */
  readonly $contains?: ContainsOperand<V>;
  /** Text in which this pattern is found. Patterns are those of the Rust crate `regex-lite`. */
  readonly $regex?: TextOperand<V>;
  /** An array with all of these elements; any other value counts as an array of itself. */
  readonly $all?: ArrayOnly<V, readonly Numeric<Given<ElementOf<V>>>[]>;
  /** An array of so many elements. */
  readonly $size?: ArrayOnly<V, number>;
  /** An array with one element for which all of this holds. */
  readonly $elemMatch?: ArrayOnly<V, ElementFilter<ElementOf<V>>>;
  /** The contrary. */
  readonly $not?: FieldOperators<V>;
}

/** What an element must be: operators on itself, or a filter on what is in it. */
export type ElementFilter<E> = IsAny<E> extends true ? Record<string, E> : FieldOperators<E> | (E extends Scalar ? never : Filter<E>);

/** What a field must equal, or operators. */
export type Condition<V> = Operand<V> | FieldOperators<V>;

/**
 * Which documents: a condition for each field that matters, all of which must hold.
 *
 * Fields have the types of the document; dotted paths lead into maps and arrays.
 */
export type Filter<T> = {
  readonly [K in KeyOf<T>]?: Condition<ValueOf<T, K>>;
} & {
  // Where any text goes on, longer paths fit, too, which lead to something else.
  readonly [P in DottedPath<T>]?: `${P}.x` extends P ? any : Condition<ValueAt<T, P>>;
} & {
  /** The document's id. */
  readonly _id?: Condition<string>;
  /** All of these. */
  readonly $and?: readonly Filter<T>[];
  /** At least one of these. */
  readonly $or?: readonly Filter<T>[];
  /** None of these. */
  readonly $nor?: readonly Filter<T>[];
  /** Not this. */
  readonly $not?: Filter<T>;
};

type Deeper = [never, 0, 1, 2, 3];

/** The paths from a value to what is in it; any text where its keys are not known, and below the levels that are followed. */
type PathIn<V, Depth extends number> =
  IsAny<V> extends true
    ? string
    : [Depth] extends [never]
      ? string
      : V extends Scalar
        ? never
        : V extends readonly (infer E)[]
          ? PathIn<E, Depth> | `${number}` | `${number}.${PathIn<E, Depth>}`
          : V extends object
            ? string extends keyof V
              ? string
              : number extends keyof V
                ? string
                : { [K in keyof V & string]-?: K | `${K}.${PathIn<V[K], Deeper[Depth]>}` }[keyof V & string]
            : string;

/**
 * The paths of a document: its fields, and dotted paths to what is in them, also to elements of arrays (`steps.name`,
 * `steps.0.name`). Four levels are checked, and completed by editors; below them any text goes, as where the type does not tell
 * what there is.
 */
export type Path<T> = '_id' | (keyof T & string) | PathIn<T, 3>;

/** Those with a dot. */
type DottedPath<T> = Extract<Path<T>, `${string}.${string}`>;

/** What lies at a path; `any` where that cannot be told. */
export type ValueAt<T, P extends string> = P extends '_id'
  ? string
  : P extends KeyOf<T>
    ? ValueOf<T, P>
    : P extends `${infer K}.${infer Rest}`
      ? K extends KeyOf<T>
        ? ValueIn<NonNullable<ValueOf<T, K>>, Rest>
        : any
      : any;

type ValueIn<V, P extends string> = IsAny<V> extends true
  ? V
  : ValueOfElement<V, P> | ([Exclude<V, readonly unknown[]>] extends [never] ? never : ValueAt<Exclude<V, readonly unknown[]>, P>);

type ValueOfElement<V, P extends string> = V extends readonly (infer E)[]
  ? P extends `${number}`
    ? E
    : P extends `${number}.${infer Rest}`
      ? ValueIn<NonNullable<E>, Rest>
      : ValueIn<NonNullable<E>, P>
  : never;

/** What one commit did to one document. */
export interface ChangeEvent<T> {
  /** The document's collection. */
  readonly collection: string;
  /** `insert`: there was none before (or a deleted one). `delete`: it is gone. */
  readonly operation: 'insert' | 'update' | 'delete';
  /** The document's id. */
  readonly documentId: string;
  /** The document afterwards; null after a delete. */
  readonly document: Stored<T> | null;
  /** The document before; null before an insert. */
  readonly previousDocument: Stored<T> | null;
  /** Whether another device made the change. */
  readonly isFromSync: boolean;
  /** When it was committed here. */
  readonly timestamp: Date;
  /** The local commit it belongs to; all changes of one commit share it, and it rises. */
  readonly sequence: number;
}

/** Told instead of changes to a listener that fell behind: read again what matters. */
export interface Lagged {
  /** Which commits are not told. */
  readonly lagged: {
    /** The first of them. */
    readonly from: number;
    /** The last of them. */
    readonly to: number;
  };
}

/** What a listener to changes is told. */
export type Change<T> = ChangeEvent<T> | Lagged;

/** Whether this says that changes were left out. */
export function isLagged<T>(change: Change<T>): change is Lagged {
  return 'lagged' in change;
}

/** Who wins when a local change and the server's version of a document disagree. */
export type ConflictStrategy = 'last-write-wins' | 'server-wins' | 'client-wins' | 'merge' | 'custom';

/** A field of an index, with its direction. */
export interface IndexField<T = AnyDocument> {
  /** A dotted path. */
  readonly field: Path<T>;
  /** Which end comes first; `asc` unless set. */
  readonly order?: SortOrder | undefined;
}

/** An index. */
export interface IndexConfig<T = AnyDocument> {
  /** Its name; made of its fields when left out. */
  readonly name?: string | undefined;
  /** Its fields as dotted paths, the most important first; each rises unless it says otherwise. */
  readonly fields: readonly (Path<T> | IndexField<T>)[];
  /** No two documents may have the same values: such a write fails with `index-unique-violation`. */
  readonly unique?: boolean | undefined;
  /** What is null or missing in all of its fields is left out. */
  readonly sparse?: boolean | undefined;
  /** Only documents that match are in it. */
  readonly filter?: Filter<T> | undefined;
}

/** An index that is there. */
export interface IndexInfo extends IndexConfig {
  readonly name: string;
  /** Whether all documents are in it, so that queries use it. */
  readonly ready: boolean;
}

/** How long the documents of a collection live. */
export interface TtlConfig<T = AnyDocument> {
  /** The field with the timestamp it counts from, a dotted path; the time of the last write when left out. */
  readonly field?: Path<T> | undefined;
  /** So many milliseconds after that. */
  readonly afterMs: number;
}

/** The settings of a collection, recorded in the database. */
export interface CollectionConfig<N extends string = string, T = AnyDocument> {
  /** `[A-Za-z_][A-Za-z0-9_-]{0,63}`; names that begin with `_` are reserved. */
  readonly name: N;
  /** Whether it syncs; otherwise it never leaves the device. False unless set. */
  readonly sync?: boolean | undefined;
  /** Its strategy, when it is not the sync engine's. */
  readonly conflictStrategy?: ConflictStrategy | undefined;
  /**
   * What its documents must be: a function that says what is wrong with one, or a schema of a library (Zod, Valibot, ArkType
   * and all others that keep to Standard Schema). Every local write is checked, of an update the whole document that it makes;
   * one that does not fit rejects with `validation`, and the `path` of what is wrong first. Nothing is changed by it.
   *
   * It has to answer at once, and the same for the same document. It belongs to the program and is not stored: each page that
   * writes must bring it. What sync brings is not checked.
   */
  readonly schema?: DocumentSchema | undefined;
  /** Its indexes. Others that were made before stay. */
  readonly indexes?: readonly IndexConfig<T>[] | undefined;
  /** How long its documents live, when that is not for ever. */
  readonly ttl?: TtlConfig<T> | undefined;
}

/** The settings of a collection of a database that knows its collections: of any of them, each with the fields of its documents. */
export type CollectionConfigOf<C> = { [N in CollectionName<C>]: CollectionConfig<N, N extends keyof C ? DocumentOf<C, N> : AnyDocument> }[CollectionName<C>];
