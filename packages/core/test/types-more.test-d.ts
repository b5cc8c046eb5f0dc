// Types of what is less common: unions, 64-bit integers, dates and bytes, read-only values, options that may be undefined,
// and databases that know their collections. This file is only compiled; see `types.test-d.ts`.

import { Database } from '@pocket/core';
import type {
  AnyDocument,
  Collection,
  CollectionConfig,
  DatabaseOptions,
  Filter,
  IndexConfig,
  Insertable,
  JournalListOptions,
  Patch,
  PocketErrorCode,
  Query,
  Stored,
  Transaction,
} from '@pocket/core';
import { isPocketError } from '@pocket/core';
import { createMemoryStorage } from '@pocket/storage-memory';

type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false;
const is = <T extends true>(): T | undefined => undefined;

interface Circle {
  _id: string;
  kind: 'circle';
  radius: number;
  at: { x: number; y: number };
}
interface Label {
  _id: string;
  kind: 'label';
  text: string;
  at: { x: number; font: string };
  lines?: string[];
}
type Shape = Circle | Label;

export async function unions(shapes: Collection<Shape>): Promise<void> {
  const good: Filter<Shape>[] = [
    { kind: 'circle', radius: { $gt: 5 } },
    { kind: { $in: ['circle', 'label'] }, text: { $startsWith: 'a' } },
    { 'at.font': 'serif', lines: 'one of them' },
  ];
  const bad: Filter<Shape>[] = [
    // @ts-expect-error no member has this kind
    { kind: 'square' },
    // @ts-expect-error a radius is a number
    { radius: 'big' },
    // @ts-expect-error no member has this field
    { radios: 5 },
  ];
  void [good, bad];
  shapes.find().where('radius').gt(5).where('text').eq('x').where('at.font').eq('serif').where('at.x').lt(3).sort('radius');
  // @ts-expect-error a font is text
  shapes.find().where('at.font').eq(5);
  // @ts-expect-error one of two kinds
  shapes.find().where('kind').eq('square');

  const patch: Patch<Shape> = { radius: 5 };
  await shapes.update('1', patch);
  await shapes.update('1', { text: 'x', lines: undefined });
  // @ts-expect-error a radius is a number
  await shapes.update('1', { radius: 'big' });

  const one = await shapes.get('1');
  if (one?.kind === 'circle') one.radius.toFixed();
  const [some] = await shapes.find().include('kind', 'radius').all();
  if (some?.kind === 'circle') some.radius.toFixed();
  const [without] = await shapes.find().exclude('at').all();
  if (without?.kind === 'label') without.text.trim();
  // @ts-expect-error it was left out
  without?.at;
}

interface Reading {
  _id: string;
  serial: bigint;
  either: number | bigint;
  count: number;
  taken: Date;
  raw: Uint8Array;
  level: 1 | 2 | 3;
  parts: bigint[];
}

export function values(readings: Collection<Reading>): void {
  const query: Query<Reading> = readings.find({ serial: 2n ** 60n, count: { $lt: 2n ** 60n } });
  query.where('serial').eq(5).where('serial').gt(2n ** 60n).where('either').in([5, 2n ** 60n]).where('parts').contains(5n);
  query.where('taken').between(new Date(0), new Date()).where('taken').eq(new Date()).where('raw').eq(new Uint8Array(2)).where('raw').in([new Uint8Array(1)]);
  readings.find({ taken: { $gte: new Date(), $in: [new Date()] }, raw: { $ne: new Uint8Array(0) }, serial: { $gt: 5, $lte: 2n ** 60n } });
  readings.find({ parts: [1n, 2n], $or: [{ taken: { $not: { $lt: new Date() } } }] });
  query.where('level').eq(2);
  // @ts-expect-error there is no such level
  query.where('level').eq(4);
  // @ts-expect-error a text is no date
  query.where('taken').gt('2024-01-01');
  // @ts-expect-error a number is no date
  query.where('taken').gt(0);
  // @ts-expect-error an array of numbers is no binary
  query.where('raw').eq([1, 2]);
  // @ts-expect-error a text is no integer
  query.where('serial').eq('5');
  // @ts-expect-error a date has no beginning
  readings.find({ taken: { $startsWith: '2024' } });
}

interface Note {
  _id: string;
  text: string;
  tags?: string[];
  place?: { city: string; street?: string };
  readonly seen: readonly Date[];
}

export async function readonlyAndUndefined(notes: Collection<Note>): Promise<void> {
  const tags = ['a', 'b'] as const;
  const frozen = Object.freeze({ text: 'x', tags, seen: [] as readonly Date[] });
  await notes.insert(frozen);
  await notes.insertMany([frozen] as const);
  await notes.insert({ text: 'x', seen: [], tags: undefined, place: { city: 'Graz', street: undefined } });
  await notes.upsert({ _id: undefined, text: 'x', seen: [] });
  await notes.update('1', { tags, place: undefined });
  notes.find({ tags });
  notes.find().where('tags').eq(tags).where('tags').all(tags).where('tags').in([tags, 'a']).where('seen').contains(new Date());
  notes.find().where('place.street').eq('x').where('place.city').startsWith('G');
  // @ts-expect-error what must be there may not be undefined
  await notes.insert({ text: undefined, seen: [] });
  // @ts-expect-error nor may an element be
  await notes.insert({ text: 'x', seen: [], tags: [undefined] });
  const given: Insertable<Note> = { text: 'x', seen: [] };
  await notes.insert(given);
  // What was read can be written, and belongs to who read it.
  const read: Stored<Note> = await notes.insert(given);
  read.text = 'y';
  await notes.upsert(read);
}

/** As settings come: each may be there or not. */
export async function undefinedOptions(name: string | undefined, on: boolean | undefined, count: number | undefined): Promise<void> {
  const index: IndexConfig = { name, fields: ['a', { field: 'b', order: undefined }], unique: on, sparse: on, filter: undefined };
  const collection: CollectionConfig = { name: 'a', sync: on, ttl: { field: name, afterMs: 5 }, indexes: [index], conflictStrategy: undefined };
  const options: DatabaseOptions = {
    name: 'x',
    storage: createMemoryStorage(),
    collections: [collection],
    schemaVersion: count,
    migrations: undefined,
    limits: { documentBytes: count },
    acceptUnknownCollections: on,
    durability: undefined,
    wasmUrl: name,
  };
  const db = await Database.create(options);
  const list: JournalListOptions = { limit: count, collection: name };
  await db.journal.list(list);
  db.collection('a').find().live({ debounceMs: count });
  await db.collection('a').find().explain({ analyze: on });
}

interface App {
  todos: { _id: string; title: string };
  shapes: Shape;
}

export async function typedDatabases(): Promise<void> {
  const db = await Database.create<App>({
    name: 'x',
    storage: createMemoryStorage(),
    collections: [{ name: 'todos', sync: true }, { name: 'shapes' }],
  });
  is<Same<typeof db, Database<App>>>();
  const todos = db.collection('todos');
  is<Same<typeof todos, Collection<App['todos']>>>();
  const shapes = db.collection('shapes');
  is<Same<typeof shapes, Collection<Shape>>>();
  // @ts-expect-error there is no such collection
  db.collection('todoz');
  // One that is made later has its type named.
  const later = db.collection<Note>('notes');
  is<Same<typeof later, Collection<Note>>>();
  await db.transaction(async (tx) => {
    is<Same<typeof tx, Transaction<App>>>();
    tx.collection('todos').insert({ title: 'x' });
    // @ts-expect-error there is no such field
    tx.collection('todos').insert({ titel: 'x' });
    // @ts-expect-error there is no such collection
    tx.collection('todoz');
    tx.collection<Note>('notes').delete('1');
  });
  // @ts-expect-error there is no such collection
  await Database.create<App>({ name: 'x', storage: createMemoryStorage(), collections: [{ name: 'todoz' }] });
  await Database.create<App>({
    name: 'x',
    storage: createMemoryStorage(),
    collections: [
      { name: 'todos', indexes: [{ fields: ['title', { field: '_id', order: 'desc' }], filter: { title: { $gt: 'a' } } }] },
      { name: 'shapes', indexes: [{ fields: ['kind', 'at.font'] }], ttl: { field: 'at.x', afterMs: 5 } },
    ],
  });
  // @ts-expect-error a to-do has no such field
  await Database.create<App>({ name: 'x', storage: createMemoryStorage(), collections: [{ name: 'todos', indexes: [{ fields: ['titel'] }] }] });
  // @ts-expect-error nor does it live until then
  await Database.create<App>({ name: 'x', storage: createMemoryStorage(), collections: [{ name: 'todos', ttl: { field: 'due', afterMs: 0 } }] });
  await todos.createIndex({ fields: ['title'] });
  // @ts-expect-error there is no such field
  await todos.createIndex({ fields: ['titel'] });
  // @ts-expect-error nor one to order by
  await todos.createIndex({ fields: [{ field: 'titel', order: 'desc' }] });
  // Wherever any database goes, one that knows its collections goes, too.
  const any = (database: Database): Collection => database.collection('todos');
  any(db);
}

export function untypedDatabases(db: Database): void {
  const any = db.collection('whatever');
  is<Same<typeof any, Collection<AnyDocument>>>();
  const named: Collection<Note> = db.collection('notes');
  void named;
  // Inside of functions of one's own.
  const wrapped = <T extends object>(name: string): Collection<T> => db.collection<T>(name);
  is<Same<ReturnType<typeof wrapped<Note>>, Collection<Note>>>();
}

export function codes(error: unknown): PocketErrorCode | undefined {
  if (isPocketError(error, 'document-exists')) return error.code;
  // A code of a server's own.
  return isPocketError(error, 'out-of-credit') ? error.code : undefined;
}

interface Tree {
  _id: string;
  label: string;
  children: Tree[];
  parent?: Tree;
}

export async function recursive(trees: Collection<Tree>): Promise<void> {
  await trees.insert({ label: 'a', children: [{ _id: 'b', label: 'b', children: [] }], parent: undefined });
  trees.find({ children: { $elemMatch: { label: 'b' } } }).where('parent.parent.label').eq('x').where('children.children.label').eq('y');
  // @ts-expect-error a label is text, at any depth
  trees.find().where('children.parent.label').eq(5);
}

interface Loose {
  _id: string;
  known: { a: number };
  extra: Record<string, { b: string }>;
  whatever: unknown;
  more: any;
  byNumber: Record<number, string>;
  deep: { a: { b: { c: { d: { e: number } } } } };
}

/** Where the type does not tell what there is, and below the levels that are followed, any text goes. */
export function loosePaths(loose: Collection<Loose>, tree: Collection<Tree>): void {
  loose.find({ 'extra.x.b': 'y', 'whatever.a.b': 5, 'more.a': null, 'deep.a.b.c.d.e': 5 }).sort('extra.anything').where('byNumber.7').eq('x');
  loose.find().where('deep.a.b.c.d.e').gt(5).where('whatever.x').exists();
  tree.find({ 'children.0.parent.label': 'x', 'parent.parent.children.1.label': 'y' }).sort('parent.parent.parent.parent.label');
  // @ts-expect-error there is no such field in what is known
  loose.find().sort('known.b');
  // @ts-expect-error nor such a level
  loose.find({ 'deep.a.x.c': 5 });
}

/** Of types that have at least this. */
export async function latest<T extends { _id: string; at: Date }>(collection: Collection<T>): Promise<T | null> {
  return collection.find().sort('at', 'desc').sort('_id').first();
}

/** Code that is generic in its documents. */
export class Repository<T extends { _id: string }> {
  readonly #collection: Collection<T>;

  constructor(collection: Collection<T>) {
    this.#collection = collection;
  }

  add(document: Insertable<T>): Promise<Stored<T>> {
    return this.#collection.insert(document);
  }

  async change(id: string, patch: Patch<T>): Promise<T | null> {
    await this.#collection.update(id, patch);
    return this.#collection.get(id);
  }

  matching(filter: Filter<T>): Query<T> {
    return this.#collection.find(filter).sort('_id');
  }
}

export async function generic(notes: Collection<Note>): Promise<void> {
  const repository = new Repository(notes);
  const note: Note = await repository.add({ text: 'x', seen: [] });
  await repository.change(note._id, { text: 'y' });
  await repository.matching({ text: 'x' }).all();
  // Whoever takes any collection takes this one.
  const size = (collection: Collection<any>): Promise<number> => collection.count();
  await size(notes);
  const names = (collections: readonly Collection[]): string[] => collections.map(({ name }) => name);
  names([notes as Collection<any>]);
}
