// Rules for documents: what an application takes for a schema, as the function that the WebAssembly asks.

import { decode } from './decode.js';
import { PocketError } from './error.js';
import type { AnyDocument, Stored } from './types.js';

/** One way in which a document breaks its schema. */
export interface SchemaIssue {
  /** What is wrong. */
  readonly message: string;
  /** Where: keys and places in arrays, or objects with one as `key`. */
  readonly path?: readonly (PropertyKey | SchemaPathSegment)[] | undefined;
}

/** A step of a path, as some libraries have it. */
export interface SchemaPathSegment {
  /** The key, or the place in an array. */
  readonly key: PropertyKey;
}

/** What a schema of a library says of a value. */
export interface SchemaResult {
  /** What is wrong; nothing, if nothing is. */
  readonly issues?: readonly SchemaIssue[] | undefined;
}

/** What the libraries for schemas that keep to [Standard Schema](https://standardschema.dev) have in common: Zod, Valibot, ArkType and others. */
export interface StandardSchema {
  /** How a value is looked at. */
  readonly '~standard': {
    /** Says what is wrong with a value; nothing, if nothing is. A promise is refused. */
    readonly validate: (value: unknown) => SchemaResult | PromiseLike<unknown>;
  };
}

/** Says what is wrong with a document: in a sentence, or place by place. Nothing, and no issues, if nothing is. */
export type SchemaRule = (document: Stored<AnyDocument>) => string | readonly SchemaIssue[] | null | undefined | void;

/** What the documents of a collection must be: a function, or a schema of a library. */
export type DocumentSchema = SchemaRule | StandardSchema;

/** A rule as the WebAssembly asks it: for each issue its place as a JSON pointer and what is wrong, all with NULs between them. */
export type RawRule = (body: Uint8Array, id: string) => string | undefined;

/** A schema as the WebAssembly takes it. `what` is whose it is, `path` where it stands in the options. */
export function rawRule(schema: DocumentSchema, what: string, path: string): RawRule {
  const ask = asking(schema);
  if (ask === undefined) throw new PocketError('config', `\`schema\` of ${what} is a function, or a schema of a library that keeps to Standard Schema`, { path });
  return (body, id) => {
    const issues = ask({ _id: id, ...(decode(body) as object) });
    return issues.length === 0 ? undefined : issues.flatMap((issue) => [pointer(issue), issue.message]).map((text) => String(text).replaceAll('\0', ' ')).join('\0');
  };
}

function asking(schema: unknown): ((document: Stored<AnyDocument>) => readonly SchemaIssue[]) | undefined {
  // Some of these schemas are functions as well.
  const standard = (schema as Partial<StandardSchema> | null | undefined)?.['~standard'];
  if (typeof standard?.validate === 'function') {
    return (document) => (atOnce(standard.validate(document)) as SchemaResult).issues ?? [];
  }
  if (typeof schema !== 'function') return undefined;
  return (document) => {
    const said: unknown = atOnce((schema as SchemaRule)(document));
    if (said === null || said === undefined || said === '') return [];
    if (typeof said === 'string') return [{ message: said }];
    if (Array.isArray(said)) return said as SchemaIssue[];
    throw new Error(`the schema answered a ${typeof said}; it answers what is wrong, or nothing`);
  };
}

/** It is asked inside of a commit, which cannot wait. */
function atOnce<A>(answer: A): A {
  if (typeof (answer as { then?: unknown } | null | undefined)?.then !== 'function') return answer;
  // Nobody will look at it.
  void Promise.resolve(answer).catch(() => undefined);
  throw new Error('the schema answered a promise; it has to answer at once');
}

function pointer({ path = [] }: SchemaIssue): string {
  const keys = path.map((segment) => String(typeof segment === 'object' ? segment.key : segment));
  return keys.map((key) => `/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}
