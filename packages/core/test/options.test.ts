// Options that cannot be, in the words of this API.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { DatabaseOptions, PocketError } from '@pocket/core';
import { Database, isPocketError } from '@pocket/core';
import { createIndexedDBStorage } from '@pocket/storage-indexeddb';
import { createMemoryStorage } from '@pocket/storage-memory';

const told = (path: string, message: RegExp) => (error: PocketError) => {
  assert.ok(isPocketError(error, 'config'), String(error));
  assert.equal(error.path, path);
  assert.match(error.message, message);
  // The words of a JSON reader say nothing to whoever wrote an object.
  assert.doesNotMatch(error.message, /invalid type|line \d|column \d|expected|variant|u32|usize/);
  return true;
};

const open = (options: object): Promise<Database> => Database.create({ name: 'test', storage: createMemoryStorage(), ...options } as DatabaseOptions);

test('a wrong value is named with its place, what it may be and what it is', async () => {
  const item = (config: object): object => ({ collections: [{ name: 'items', ...config }] });
  const index = (config: object): object => item({ indexes: [config] });
  const migrations = (...versions: number[]): object => ({ migrations: versions.map((version) => ({ version, collection: 'items', migrate: () => null })) });
  const wrong: [object, string, RegExp][] = [
    [{ name: 5 }, 'name', /`name` of `Database.create` is text, not 5/],
    [{ schemaVersion: '2' }, 'schemaVersion', /is a whole number from 1 to 4294967295, not '2'/],
    [{ schemaVersion: 1.5 }, 'schemaVersion', /not 1\.5/],
    [{ acceptUnknownCollections: 'yes' }, 'acceptUnknownCollections', /is true or false, not 'yes'/],
    [{ durability: 'maybe' }, 'durability', /is one of 'strict', 'relaxed', not 'maybe'/],
    [{ limits: { documentBytes: -1 } }, 'limits.documentBytes', /`documentBytes` of `limits` .* not -1/],
    [{ limits: { messageBytes: 2 ** 32 } }, 'limits.messageBytes', /not 4294967296/],
    [{ limits: { documentBites: 5 } }, 'limits.documentBites', /`limits` has no option `documentBites`; there are `documentBytes`, .*Did you mean `documentBytes`\?/],
    [{ wasmUrl: 5 }, 'wasmUrl', /text or a URL/],
    [item({ sync: 'yes' }), 'collections.0.sync', /`sync` of the collection `items` is true or false, not 'yes'/],
    [item({ conflictStrategy: 'mine' }), 'collections.0.conflictStrategy', /one of 'last-write-wins', .*, not 'mine'/],
    [item({ ttl: { after: 5 } }), 'collections.0.ttl.after', /has no option `after`; there are `field`, `afterMs`. Did you mean `afterMs`\?/],
    [item({ ttl: { field: 'at' } }), 'collections.0.ttl.afterMs', /is missing/],
    [item({ ttl: { afterMs: '1 day' } }), 'collections.0.ttl.afterMs', /is a whole number from 0 on, not '1 day'/],
    [index({ fields: 'n' }), 'collections.0.indexes.0.fields', /is an array of dotted paths/],
    [index({ name: 'by n', fields: ['n'], unqiue: true }), 'collections.0.indexes.0.unqiue', /the index `by n` has no option `unqiue`.*Did you mean `unique`\?/],
    [index({ fields: ['n'], unique: 1 }), 'collections.0.indexes.0.unique', /`unique` of the index is true or false, not 1/],
    [index({ fields: [{ field: 'n', order: 'up' }] }), 'collections.0.indexes.0.fields.0.order', /one of 'asc', 'desc', not 'up'/],
    [item({ name: undefined }), 'collections.0.name', /`name` of a collection is missing/],
    [item({ conflictStrategy: 'client_wins' }), 'collections.0.conflictStrategy', /Did you mean 'client-wins'\?/],
    [{ schemaVersion: 0 }, 'schemaVersion', /from 1 to/],
    [{ migrations: [{ version: 2, colection: 'items', migrate: () => null }] }, 'migrations.0.colection', /Did you mean `collection`\?/],
    [{ migrations: [{ version: 2, collection: 'items' }] }, 'migrations.0.migrate', /is a function/],
    [{ xyzzy: 1 }, 'xyzzy', /has no option `xyzzy`; there are .*`wasmUrl`$/],
    [{ storage: createMemoryStorage }, 'storage', /no storage but a function/],
    [index({ fields: [] }), 'collections.0.indexes.0.fields', /names no field/],
    [index({ fields: ['n'], filter: { a: { b: NaN } } }), 'collections.0.indexes.0.filter.a.b', /NaN/],
    [index({ fields: [{ order: 'asc' }] }), 'collections.0.indexes.0.fields.0.field', /has no `field`/],
    [index({ fields: ['a..b'] }), 'collections.0.indexes.0.fields.0', /the path `a\.\.b`/],
    [index({ fields: ['a', { field: '.b' }] }), 'collections.0.indexes.0.fields.1.field', /the path `\.b`/],
    [index({ fields: ['a', 'b', { field: 'a' }] }), 'collections.0.indexes.0.fields.2.field', /names the field `a` twice/],
    [index({ name: '', fields: ['a'] }), 'collections.0.indexes.0.name', /is empty/],
    [item({ ttl: { field: 'a.', afterMs: 1 } }), 'collections.0.ttl.field', /the path `a\.`/],
    [item({ ttl: { field: '_id', afterMs: 1 } }), 'collections.0.ttl.field', /cannot count from `_id`/],
    [migrations(1), 'migrations.0.version', /the first is to 2/],
    [migrations(3, 5, 6), 'migrations.1.version', /comes the one to 4/],
    [{ ...migrations(2, 3), schemaVersion: 2 }, 'schemaVersion', /leads to 3; raise it/],
    [{ ...migrations(3, 2), schemaVersion: 4 }, 'schemaVersion', /leads to 3; add the one that is missing/],
  ];
  for (const [options, path, message] of wrong) await assert.rejects(open(options), told(path, message), JSON.stringify(options));
});

test('a name that no collection may have is named with its place', async () => {
  const named = (path: string) => (error: unknown) => isPocketError(error, 'bad-collection-name') && error.path === path;
  for (const name of ['', '_a', 'a b', '5', 'é', `a${'b'.repeat(64)}`]) {
    await assert.rejects(open({ collections: [{ name: 'items' }, { name }] }), named('collections.1.name'), name);
    await assert.rejects(open({ migrations: [{ version: 2, collection: name, migrate: () => null }] }), named('migrations.0.collection'), name);
  }
  const db = await open({ collections: [{ name: `a${'b'.repeat(63)}` }, { name: 'A-_9' }] });
  await assert.rejects(db.createCollection({ name: 'a b' }), named('name'));
  await db.close();
});

test('what a method would pass over in silence is refused', async () => {
  const db = await open({ collections: [{ name: 'items' }] });
  const items = db.collection('items') as any;
  const refused = (path: string | undefined, message: RegExp) => told(path as string, message);
  await assert.rejects(items.find().explain({ analyse: true }), refused('analyse', /Did you mean `analyze`\?/));
  await assert.rejects(items.find().explain(null), refused(undefined, /`explain` takes is an object/));
  assert.throws(() => items.find().live({ debounce: 5 }), refused('debounce', /Did you mean `debounceMs`\?/));
  assert.throws(() => items.find().live({ debounceMs: '5' }), refused('debounceMs', /not '5'/));
  assert.throws(() => items.find({}, { limit: 5 }), refused(undefined, /methods of the query/));
  await assert.rejects(items.findOne({}, { sort: 'n' }), refused(undefined, /methods of the query/));
  await assert.rejects(items.count({}, {}), refused(undefined, /methods of the query/));
  assert.throws(() => items.changes(() => undefined), refused(undefined, /`subscribe`/));
  assert.throws(() => (db as any).changes(() => undefined), refused(undefined, /`subscribe`/));
  assert.throws(() => items.observeById('1', () => undefined), refused(undefined, /`subscribe`/));
  assert.throws(() => (createMemoryStorage as any)({ persist: true }), refused('persist', /it has none/));
  await assert.rejects((db as any).transaction(), refused(undefined, /takes a function, not `undefined`/));
  assert.throws(() => new (Database as any)(), refused(undefined, /`await Database\.create/));
  await db.close();
});

test('options of a storage and of the journal are looked at as well', async () => {
  assert.throws(() => createIndexedDBStorage({ durability: 'fast' as 'strict' }), told('durability', /one of 'strict', 'relaxed', not 'fast'/));
  assert.throws(() => createIndexedDBStorage({ prefix: 5 as unknown as string }), told('prefix', /is text, not 5/));
  assert.throws(() => createIndexedDBStorage(null as unknown as object), /takes is an object, not `null`/);
  const db = await open({ collections: [{ name: 'items', ttl: { afterMs: 2 ** 40 }, indexes: [{ fields: [{ field: 'n', order: 'desc' }, 'm'] }] }] });
  await assert.rejects(db.journal.list({ state: 'closed' as 'open' }), told('state', /not 'closed'/));
  await assert.rejects(db.journal.list({ limit: -1 }), told('limit', /not -1/));
  assert.deepEqual(await db.journal.list({ after: 0, limit: 1 }), []);
  await db.close();
});
