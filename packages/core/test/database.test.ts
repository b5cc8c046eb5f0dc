import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Change, ChangeEvent, DatabaseOptions, Insertable, PocketError } from '@pocket/core';
import { Database, isLagged, isPocketError } from '@pocket/core';
import { internals, openStorage } from '@pocket/core/internal';
import type { RawModule, RawStorage } from '@pocket/core/internal';
import { createIndexedDBStorage } from '@pocket/storage-indexeddb';
import { createMemoryStorage } from '@pocket/storage-memory';

interface Todo {
  _id: string;
  title: string;
  done?: boolean;
  tags?: string[];
  at?: Date;
  address?: { city: string; zip: number };
}

function open(options: Partial<DatabaseOptions> = {}): Promise<Database> {
  const collections = [{ name: 'todos', sync: true }, { name: 'cache' }];
  return Database.create({ name: 'test', storage: createMemoryStorage(), collections, ...options });
}

const withCode = (code: string, path?: string) => (error: PocketError) =>
  isPocketError(error, code) && (path === undefined || error.path === path);

test('what is inserted is read as it was, with its id first', async () => {
  const db = await open();
  const todos = db.collection('todos');
  const document = { title: 'x', at: new Date(1_700_000_000_123), big: 2n ** 60n, bytes: new Uint8Array([0, 255]), list: [1, [null]], n: 1.5 };
  const stored = await todos.insert(document);
  assert.match(stored._id, /^[0-9a-f-]{36}$/);
  assert.deepEqual(Object.keys(stored), ['_id', ...Object.keys(document)]);
  assert.deepEqual(await todos.get(stored._id), { _id: stored._id, ...document });
  const known = await todos.getDocument(stored._id);
  assert.ok(known !== null && known.updatedAt.getTime() > 1_700_000_000_000 && known.rev.length > 0);
  assert.deepEqual(known.data, stored);
  await db.close();
});

test('a document that was read can be written back', async () => {
  const db = await open();
  const todos = db.collection<Todo>('todos');
  const stored = await todos.insert({ title: 'x' });
  assert.deepEqual(await todos.upsert({ ...stored, done: true }), { ...stored, done: true });
  assert.equal(await todos.count(), 1);
  await db.close();
});

test('a missing document is null, and each refusal has its code', async () => {
  const db = await open();
  const todos = db.collection<Todo>('todos');
  assert.equal(await todos.get('no'), null);
  assert.equal(await todos.getDocument('no'), null);
  assert.equal(await todos.findOne({ title: 'no' }), null);
  await todos.insert({ _id: '1', title: 'x' });
  assert.deepEqual(await todos.getMany(['no', '1']), [null, { _id: '1', title: 'x' }]);
  await assert.rejects(todos.insert({ _id: '1', title: 'y' }), withCode('document-exists'));
  await assert.rejects(todos.update('no', { done: true }), withCode('document-not-found'));
  await todos.delete('1');
  await assert.rejects(todos.delete('1'), withCode('document-deleted'));
  await assert.rejects(todos.insert({ title: 'x', done: NaN } as unknown as Insertable<Todo>), withCode('validation', 'done'));
  await assert.rejects(todos.insert({ _id: '', title: 'x' }), withCode('bad-id'));
  await assert.rejects(todos.insertMany([{ _id: 'a', title: 'x' }, { _id: 'a', title: 'y' }]), withCode('document-exists'));
  assert.equal(await todos.count(), 0);
  assert.throws(() => db.collection('nope'), withCode('collection-not-found'));
  await db.close();
});

test('options that do not exist are refused by name', async () => {
  const wrong = { nmae: 'x', storage: createMemoryStorage() } as unknown as DatabaseOptions;
  await assert.rejects(Database.create(wrong), (error: PocketError) => error.code === 'config' && error.message.includes('`nmae`'));
  await assert.rejects(open({ collections: [{ name: 'a', synk: true } as never] }), (error: PocketError) => error.message.includes('`synk`'));
  await assert.rejects(Database.create({ name: 'x' } as DatabaseOptions), withCode('config', 'storage'));
  await assert.rejects(open({ collections: [{ name: 'bad name' }] }), withCode('bad-collection-name'));
});

test('a query finds, sorts, counts, pages and projects', async () => {
  const db = await open();
  const todos = db.collection<Todo>('todos');
  await todos.insertMany([
    { _id: '1', title: 'bread', done: false, tags: ['food', 'shop'], address: { city: 'Graz', zip: 8010 }, at: new Date(1000) },
    { _id: '2', title: 'Butter', done: true, tags: ['food'], at: new Date(2000) },
    { _id: '3', title: 'nails', done: false, tags: ['shop'], address: { city: 'Linz', zip: 4020 } },
  ]);
  const ids = async (query: { all(): Promise<{ _id: string }[]> }): Promise<string> => (await query.all()).map(({ _id }) => _id).join('');
  const find = () => todos.find();
  assert.equal(await ids(find().where('done').eq(false)), '13');
  assert.equal(await ids(find().where('done').ne(false)), '2');
  assert.equal(await ids(find().where('at').gt(new Date(1000))), '2');
  assert.equal(await ids(find().where('at').between(new Date(0), new Date(1500))), '1');
  assert.equal(await ids(find().where('address.zip').gte(8010)), '1');
  assert.equal(await ids(find().where('address.city').lt('H')), '1');
  assert.equal(await ids(find().where('address.zip').lte(4020)), '3');
  assert.equal(await ids(find().where('title').in(['nails', 'bread'])), '13');
  assert.equal(await ids(find().where('title').notIn(['nails', 'bread'])), '2');
  assert.equal(await ids(find().where('address').exists()), '13');
  assert.equal(await ids(find().where('address').notExists()), '2');
  assert.equal(await ids(find().where('title').startsWith('b')), '1');
  assert.equal(await ids(find().where('title').endsWith('s')), '3');
  assert.equal(await ids(find().where('title').contains('t')), '2');
  assert.equal(await ids(find().where('tags').contains('shop')), '13');
  assert.equal(await ids(find().where('title').matches(/^b/i)), '12');
  assert.equal(await ids(find().where('title').matches('^b')), '1');
  assert.equal(await ids(find().where('tags').all(['food', 'shop'])), '1');
  assert.equal(await ids(find().where('tags').size(1)), '23');
  assert.equal(await ids(find().where('tags').elemMatch({ $startsWith: 's' })), '13');
  assert.equal(await ids(find().where('done').eq(false).where('title').eq('nails')), '3');
  assert.equal(await ids(find().and({ done: false }, { tags: 'food' })), '1');
  assert.equal(await ids(find().or({ title: 'nails' }, { done: true })), '23');
  assert.equal(await ids(find().not({ done: false })), '2');
  assert.equal(await ids(todos.find({ tags: { $size: 1 }, 'address.city': { $exists: true } })), '3');
  assert.equal(await ids(find().sort('done', 'desc').sort('title')), '213');
  assert.equal(await ids(find().sort('title').skip(1).limit(1)), '1');
  assert.equal((await find().sort('title', 'desc').first())?._id, '3');
  assert.equal(await find().limit(0).first(), null);
  assert.equal(await todos.count({ done: false }), 2);
  assert.deepEqual(await find().include('title').limit(1).all(), [{ _id: '1', title: 'bread' }]);
  assert.deepEqual(await find().exclude('tags', 'address', 'at').limit(1).all(), [{ _id: '1', title: 'bread', done: false }]);

  const byTitle = find().sort('title').limit(2);
  const page = await byTitle.page();
  assert.deepEqual(page.documents.map(({ _id }) => _id), ['2', '1']);
  assert.ok(page.end !== null && page.start !== null);
  assert.equal(await ids(byTitle.after(page.end)), '3');
  assert.equal(await ids(byTitle.before(page.end)), '2');
  assert.deepEqual(await todos.find({ title: 'no' }).page(), { documents: [], start: null, end: null });

  const plan = await find().where('title').eq('nails').explain({ analyze: true });
  assert.deepEqual([plan.access.kind, plan.figures?.documentsRead, plan.figures?.documentsReturned], ['full-scan', 3, 1]);
  assert.equal((await find().explain()).figures, undefined);
  await db.close();
});

test('a query never changes, and one that cannot be asked says so', async () => {
  const db = await open();
  const todos = db.collection<Todo>('todos');
  const all = todos.find();
  all.where('title').eq('x').sort('title').limit(1);
  assert.deepEqual(all.spec, {});
  await assert.rejects(todos.find({ title: { $gtt: 1 } as never }).all(), withCode('bad-query'));
  // A condition that vanishes would find everything.
  await assert.rejects(todos.find({ title: undefined as never }).all(), withCode('bad-query'));
  assert.throws(() => todos.find().where('title').matches('(').live(), withCode('bad-query'));
  await db.close();
});

test('indexes are made, used, listed and dropped, and keep what is unique', async () => {
  const db = await open();
  const todos = db.collection<Todo>('todos');
  await todos.createIndex({ fields: [{ field: 'title', order: 'desc' }], unique: true, filter: { at: { $gt: new Date(0) } } });
  assert.equal(todos.indexes().length, 1);
  const [index] = todos.indexes();
  assert.ok(index !== undefined);
  await todos.insert({ _id: '1', title: 'x', at: new Date(1) });
  await todos.insert({ _id: '2', title: 'x' });
  await assert.rejects(todos.insert({ title: 'x', at: new Date(2) }), withCode('index-unique-violation'));
  await todos.dropIndex(index.name);
  assert.deepEqual(todos.indexes(), []);
  await assert.rejects(todos.dropIndex(index.name), withCode('index-not-found'));
  await db.close();
});

test('changes are told in order, to each listener while it listens', async () => {
  const db = await open();
  const todos = db.collection<Todo>('todos');
  const seen: Change<Todo>[] = [];
  let told = (): void => undefined;
  const subscription = todos.changes().subscribe((change) => {
    seen.push(change);
    told();
  });
  const until = (count: number): Promise<void> =>
    new Promise((resolve) => {
      told = () => seen.length >= count && resolve();
      told();
    });
  await todos.insert({ _id: '1', title: 'x' });
  await todos.update('1', { title: 'y' });
  await todos.delete('1');
  await db.collection('cache').insert({ _id: 'other' });
  await until(3);
  const told3 = seen.filter((change): change is ChangeEvent<Todo> => !isLagged(change));
  assert.deepEqual(told3.map(({ operation }) => operation), ['insert', 'update', 'delete']);
  assert.deepEqual(told3.map(({ document }) => document?.title), ['x', 'y', undefined]);
  assert.deepEqual(told3.map(({ previousDocument }) => previousDocument), [null, { _id: '1', title: 'x' }, { _id: '1', title: 'y' }]);
  assert.ok(told3.every((change) => change.collection === 'todos' && change.documentId === '1' && !change.isFromSync));
  subscription.unsubscribe();
  const again = new Promise<void>((resolve) => {
    const one = db.changes().subscribe(() => {
      one.unsubscribe();
      resolve();
    });
  });
  await todos.insert({ _id: '2', title: 'z' });
  await again;
  assert.equal(seen.length, 3);
  await db.close();
});

test('collections are made, listed and deleted', async () => {
  const db = await open();
  await db.createCollection({ name: 'more', sync: true, conflictStrategy: 'merge', ttl: { afterMs: 60_000 }, indexes: [{ fields: ['a'] }] });
  assert.ok(db.hasCollection('more'));
  const more = db.listCollections().find(({ name }) => name === 'more');
  assert.deepEqual([more?.sync, more?.conflictStrategy, more?.ttl?.afterMs, more?.indexes?.length], [true, 'merge', 60_000, 1]);
  const collection = db.collection('more');
  assert.equal(db.collection('more'), collection);
  await collection.insertMany([{}, {}]);
  assert.equal((await db.stats()).collections, 3);
  assert.equal(await db.deleteCollection('more'), 2);
  assert.equal(db.hasCollection('more'), false);
  await assert.rejects(collection.count(), withCode('collection-not-found'));
  await db.close();
});

test('clearing and deleting many are counted and complete', async () => {
  const db = await open();
  const todos = db.collection<Todo>('todos');
  await todos.upsertMany([1, 2, 3, 4].map((n) => ({ _id: `${n}`, title: 'x' })));
  await todos.deleteMany(['1', '2']);
  await todos.hardDelete('3');
  assert.deepEqual((await todos.getAll()).map(({ _id }) => _id), ['4']);
  assert.equal(await todos.clear(), 1);
  await db.close();
});

test('a closed database fails with its code, ends what listens, and closes once', async () => {
  const db = await open();
  const todos = db.collection<Todo>('todos');
  const live = todos.find().live();
  const count = todos.find().liveCount();
  todos.changes().subscribe(() => undefined);
  db.changes().subscribe(() => undefined);
  await live.ready();
  await Promise.all([db.close(), db.close()]);
  assert.ok(live.isClosed && count.isClosed && db.isClosed);
  for (const call of [() => todos.get('1'), () => todos.insert({ title: 'x' }), () => db.stats(), () => db.journal.list(), () => db.transaction(() => 1)]) {
    await assert.rejects(call(), withCode('closed'));
  }
  assert.throws(() => db.collection('todos'), withCode('closed'));
  assert.throws(() => todos.find().live(), withCode('closed'));
  assert.throws(() => todos.changes().subscribe(() => undefined), withCode('closed'));
  live.close();
});

/** Memory that has a name for other tabs, as storage in a browser has. */
const shared = (name: string): DatabaseOptions['storage'] => ({ ...createMemoryStorage(), sharedAs: () => name });

test('what is written in the moment a database closes is told to the other tabs', async () => {
  for (let round = 0; round < 10; round += 1) {
    const channel = new BroadcastChannel('pocket:closing');
    const told = new Promise<unknown>((resolve) => (channel.onmessage = (event) => resolve((event as MessageEvent).data)));
    const db = await Database.create({ name: 'closing', storage: shared('closing'), collections: [{ name: 'notes' }] });
    const written = db.collection('notes').insert({ n: round });
    await Promise.all([db.close(), written]);
    assert.ok((await told) instanceof Uint8Array);
    channel.close();
  }
});

test('what must end before a database closes is ended, unless it is forgotten', async () => {
  const db = await Database.create({ name: 'ends', storage: createMemoryStorage() });
  const { closing, raw } = internals(db);
  const ended: string[] = [];
  const ends = (name: string) => (): Promise<void> => {
    ended.push(name);
    return Promise.resolve();
  };
  closing(ends('kept'));
  closing(ends('forgotten'))();
  assert.equal(raw.name, 'ends');
  await db.close();
  assert.deepEqual(ended, ['kept']);
  // Nothing of it is left in the memory of the WebAssembly.
  assert.throws(() => raw.name);
});

test('the journal of a database without sync is empty, and says what it does not have', async () => {
  const db = await open();
  assert.deepEqual(await db.journal.list({ state: 'open', kind: 'conflict', collection: 'todos' }), []);
  for (const call of ['get', 'explain', 'restore', 'dismiss'] as const) {
    await assert.rejects(db.journal[call](1), withCode('journal-entry-not-found'));
  }
  await db.close();
});

test('memory is persistent to nobody, and says so', async () => {
  const db = await open();
  assert.equal(await db.persistence(), 'unknown');
  assert.equal(await db.requestPersistence(), 'unknown');
  await db.close();
});

test('the first of a query is the first of all that it gives, also before a place', async () => {
  const db = await open();
  const todos = db.collection<Todo>('todos');
  await todos.insertMany([1, 2, 3, 4, 5].map((n) => ({ _id: `${n}`, title: `t${n}` })));
  const sorted = todos.find().sort('title');
  const end = (await sorted.page()).end ?? '';
  const start = (await sorted.page()).start ?? '';
  const queries = [
    [sorted, '1'],
    [sorted.limit(0), undefined],
    [sorted.before(end), '1'],
    [sorted.before(end).limit(2), '3'],
    [sorted.before(end).skip(1), '1'],
    [sorted.before(end).limit(0), undefined],
    [sorted.before(start), undefined],
    [sorted.after(start).before(end), '2'],
    [sorted.after(start).limit(2), '2'],
  ] as const;
  for (const [query, id] of queries) {
    const what = JSON.stringify(query.spec);
    assert.equal((await query.all())[0]?._id, id, what);
    assert.equal((await query.first())?._id, id, what);
  }
  await db.close();
});

test('where there is no IndexedDB a database is refused with a code, and wrong options by name', async () => {
  await assert.rejects(open({ storage: createIndexedDBStorage() }), withCode('storage'));
  assert.throws(
    () => createIndexedDBStorage({ durabilty: 'strict' } as never),
    (error: PocketError) => error.code === 'config' && error.message.includes('`durabilty`'),
  );
});

test('the WebAssembly is told the prefix of databases of IndexedDB, whoever names it', (t) => {
  // As in a browser: Node has none.
  Object.assign(globalThis, { indexedDB: {} });
  t.after(() => Reflect.deleteProperty(globalThis, 'indexedDB'));
  // What the store is called is said to the WebAssembly, which puts the prefix before the name of the database.
  const prefixOf = (storage: ReturnType<typeof createIndexedDBStorage>): string => {
    let options = '';
    const indexedDb = (json: string): RawStorage => ((options = json), { free: () => undefined });
    storage[openStorage]({ RawStorage: { indexedDb } } as unknown as RawModule);
    return (JSON.parse(options) as { prefix: string }).prefix;
  };
  const stores = [
    [createIndexedDBStorage(), 'pocket:'],
    [createIndexedDBStorage({ prefix: undefined } as never), 'pocket:'],
    [createIndexedDBStorage({ prefix: 'pocket:' }), 'pocket:'],
    [createIndexedDBStorage({ prefix: '' }), ''],
    [createIndexedDBStorage({ prefix: 'mine/' }), 'mine/'],
  ] as const;
  for (const [storage, prefix] of stores) {
    assert.equal(prefixOf(storage), prefix);
  }
});

test('a schema of version 0, and the same name twice, are refused instead of half taken', async () => {
  const todos = { name: 'todos', sync: true };
  const index = { name: 'by title', fields: ['title'] };
  await assert.rejects(open({ schemaVersion: 0 }), withCode('config', 'schemaVersion'));
  await assert.rejects(open({ schemaVersion: -0 }), withCode('config', 'schemaVersion'));
  await assert.rejects(open({ collections: [todos, { name: 'cache' }, { name: 'todos' }] }), withCode('config', 'collections'));
  const twice = { ...todos, indexes: [index, { ...index, fields: ['done'] }] };
  await assert.rejects(open({ collections: [twice] }), withCode('config', 'collections.0.indexes'));
  const db = await open({ schemaVersion: 1, collections: [{ ...todos, indexes: [{ fields: ['title'] }, { fields: ['done'] }] }] });
  await assert.rejects(db.createCollection(twice), withCode('config', 'indexes'));
  assert.equal(db.schemaVersion, 1);
  assert.equal(db.collection('todos').indexes().length, 2);
  await db.close();
});

test('an option of the wrong kind is refused', async () => {
  for (const wrong of [{ limits: { documentBytes: -1 } }, { limits: { documentBites: 5 } }, { schemaVersion: -1 }, { durability: 'maybe' }]) {
    await assert.rejects(open(wrong as never), withCode('config'), JSON.stringify(wrong));
  }
  const db = await open({ limits: { documentBytes: 1_000 }, schemaVersion: 3, durability: 'relaxed', acceptUnknownCollections: false });
  assert.equal(db.schemaVersion, 3);
  await assert.rejects(db.collection('todos').insert({ text: 'x'.repeat(1_001) }), withCode('document-too-large'));
  await db.close();
});
