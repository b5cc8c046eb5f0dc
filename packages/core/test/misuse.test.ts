// What TypeScript refuses reaches these methods all the same from JavaScript, and from data that only claims to have a type.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Database, isPocketError } from '@pocket/core';
import type { Collection, DatabaseOptions } from '@pocket/core';
import { createMemoryStorage } from '@pocket/storage-memory';

const untyped = (value: unknown): any => value;

function code(expected: string): (error: unknown) => boolean {
  return (error) => isPocketError(error, expected) || assert.fail(`${String(error)} is not \`${expected}\``);
}

async function opened(): Promise<{ db: Database; items: Collection }> {
  const db = await Database.create({ name: 'misuse', storage: createMemoryStorage(), collections: [{ name: 'items' }] });
  return { db, items: db.collection('items') };
}

test('ids and names that are no text are refused before the WebAssembly sees them', async () => {
  const { db, items } = await opened();
  await items.insert({ _id: '5', n: 1 });
  await items.insert({ _id: '\ufffd', n: 1 });
  for (const id of [5, null, undefined, {}, ['5'], '\ud800'].map(untyped)) {
    await assert.rejects(items.get(id), code('bad-id'));
    await assert.rejects(items.update(id, { n: 2 }), code('bad-id'));
    await assert.rejects(async () => items.delete(id), code('bad-id'));
    await assert.rejects(async () => items.hardDelete(id), code('bad-id'));
    await assert.rejects(items.getMany([id]), code('bad-id'));
    assert.throws(() => db.collection(id), code('bad-collection-name'));
    assert.throws(() => db.hasCollection(id), code('bad-collection-name'));
    await assert.rejects(db.deleteCollection(id), code('bad-collection-name'));
    await assert.rejects(async () => items.dropIndex(id), code('index-not-found'));
    await assert.rejects(db.transaction((tx) => tx.collection('items').delete(id)), code('bad-id'));
    await assert.rejects(db.transaction((tx) => tx.collection('items').get(id)), code('bad-id'));
    await assert.rejects(db.transaction((tx) => tx.collection(id)), code('bad-collection-name'));
    let told: unknown;
    items.observeById(id).subscribe(
      () => assert.fail('there is no such document'),
      (error) => (told = error),
    );
    assert.ok(isPocketError(told, 'bad-id'));
  }
  assert.deepEqual(await items.getAll(), [{ _id: '5', n: 1 }, { _id: '\ufffd', n: 1 }]);
  await db.close();
});

test('what cannot be called is refused as a listener at once', async () => {
  const { db, items } = await opened();
  const live = items.find().live();
  for (const listener of [undefined, null, 5, { next: () => undefined }].map(untyped)) {
    assert.throws(() => live.subscribe(listener), code('config'));
    assert.throws(() => items.observeById('5').subscribe(listener), code('config'));
    assert.throws(() => items.changes().subscribe(listener), code('config'));
  }
  assert.throws(() => live.subscribe(() => undefined, untyped(5)), code('config'));
  live.close();
  await db.close();
});

test('a text is not taken for an array of ids, nor an object for an array of documents', async () => {
  const { db, items } = await opened();
  await items.insertMany([{ _id: 'a' }, { _id: 'b' }]);
  await assert.rejects(async () => items.deleteMany(untyped('ab')), code('bad-id'));
  await assert.rejects(items.getMany(untyped('ab')), code('bad-id'));
  await assert.rejects(items.insertMany(untyped({ _id: 'c' })), code('validation'));
  await assert.rejects(items.upsertMany(untyped(new Set([{ _id: 'c' }]))), code('validation'));
  assert.equal(await items.count(), 2);
  await db.close();
});

test('what is no plain object is no document, and the error says what it is', async () => {
  const { db, items } = await opened();
  class Item {
    n = 1;
  }
  const wrong: [unknown, RegExp][] = [
    [undefined, /not `undefined`/],
    [null, /not `null`/],
    ['text', /not a string/],
    [[{ n: 1 }], /not an array/],
    [new Item(), /not an instance of Item/],
    [new Map(), /not an instance of Map/],
    [new Date(0), /a document is a plain object/],
    [new Uint8Array(1), /a document is a plain object/],
  ];
  for (const [document, message] of wrong) {
    const refused = (error: unknown): boolean => isPocketError(error, 'validation') && message.test(error.message);
    await assert.rejects(items.insert(untyped(document)), refused);
    await assert.rejects(items.upsert(untyped(document)), refused);
    await assert.rejects(items.insertMany([{ n: 1 }, untyped(document)]), (error) => refused(error) && isPocketError(error) && error.path === '1');
    await assert.rejects(db.transaction((tx) => tx.collection('items').insert(untyped(document))), refused);
  }
  assert.equal(await items.count(), 0);
  // Frozen objects, and those without a prototype, are plain.
  await items.insert(Object.freeze({ _id: 'frozen', list: Object.freeze([1]) }));
  await items.insert(Object.assign(Object.create(null), { _id: 'bare' }));
  assert.equal(await items.count(), 2);
  await db.close();
});

test('options of a database that are no options are refused as `config`', async () => {
  const storage = createMemoryStorage();
  const wrong: unknown[] = [
    undefined,
    null,
    [],
    { storage },
    { name: '', storage },
    { name: 3, storage },
    { name: 'x', storage, collections: { items: {} } },
    { name: 'x', storage, collections: [null] },
    { name: 'x', storage, collections: ['items'] },
    { name: 'x', storage, collections: [{ name: 'items', indexes: { fields: ['n'] } }] },
    { name: 'x', storage, collections: [{ name: 'items', indexes: ['n'] }] },
    { name: 'x', storage, migrations: {} },
    { name: 'x\ud800', storage },
    { name: 'x', storage, schemaVersion: 2, migrations: [{ version: 2, collection: 'items' }] },
    // Without a collection it would be for all of them.
    { name: 'x', storage, migrations: [{ version: 2, colection: 'items', migrate: () => null }] },
    { name: 'x', storage, migrations: [{ version: 2, migrate: () => null }] },
  ];
  for (const options of wrong) await assert.rejects(Database.create(options as DatabaseOptions), code('config'));
});

test('the filter of an index never loses a condition on its way', async () => {
  const { db, items } = await opened();
  for (const value of [undefined, NaN, new Date(NaN), 2n ** 60n, new (class Custom {})()]) {
    await assert.rejects(async () => items.createIndex({ fields: ['n'], filter: { n: value } }), code('config'));
  }
  assert.deepEqual(items.indexes(), []);
  // More bytes than a call has arguments, and a small bigint, go through.
  await items.createIndex({ fields: ['n'], filter: { bytes: new Uint8Array(300_000), n: 5n } });
  assert.equal(items.indexes().length, 1);
  await db.close();
});

test('conditions and options of queries that do not exist are refused', async () => {
  const { db, items } = await opened();
  assert.throws(() => items.find().where(untyped(undefined)), code('bad-query'));
  await assert.rejects(items.find().where('a').matches(untyped(undefined)).all(), code('bad-query'));
  assert.throws(() => items.find().live(untyped({ debounce: 5 })), code('config'));
  assert.throws(() => items.find().liveCount(untyped({ debounce: 5 })), code('config'));
  await db.close();
});

test('a deleted collection says so, and not that its database is closed', async () => {
  const { db } = await opened();
  await db.createCollection({ name: 'old' });
  const old = db.collection('old');
  const live = old.find().live();
  await live.ready();
  await db.deleteCollection('old');
  assert.ok(live.isClosed);
  await assert.rejects(old.get('x'), code('collection-not-found'));
  await db.close();
});
