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
  const wrong: [object, string, RegExp][] = [
    [{ name: 5 }, 'name', /`name` of `Database.create` is text, not 5/],
    [{ schemaVersion: '2' }, 'schemaVersion', /is a whole number from 0 to 4294967295, not '2'/],
    [{ schemaVersion: 1.5 }, 'schemaVersion', /not 1\.5/],
    [{ acceptUnknownCollections: 'yes' }, 'acceptUnknownCollections', /is true or false, not 'yes'/],
    [{ durability: 'maybe' }, 'durability', /is one of 'strict', 'relaxed', not 'maybe'/],
    [{ limits: { documentBytes: -1 } }, 'limits.documentBytes', /`limits\.documentBytes` .* not -1/],
    [{ limits: { messageBytes: 2 ** 32 } }, 'limits.messageBytes', /not 4294967296/],
    [{ limits: { documentBites: 5 } }, 'limits.documentBites', /has no option `limits\.documentBites`; there are documentBytes,/],
    [{ wasmUrl: 5 }, 'wasmUrl', /text or a URL/],
    [item({ sync: 'yes' }), 'sync', /`sync` of the collection `items` is true or false, not 'yes'/],
    [item({ conflictStrategy: 'mine' }), 'conflictStrategy', /one of 'last-write-wins', .*, not 'mine'/],
    [item({ ttl: { after: 5 } }), 'ttl.after', /has no option `ttl\.after`; there are field, afterMs/],
    [item({ ttl: { field: 'at' } }), 'ttl.afterMs', /is missing/],
    [item({ ttl: { afterMs: '1 day' } }), 'ttl.afterMs', /is a whole number from 0 on, not '1 day'/],
    [index({ fields: 'n' }), 'fields', /is an array of dotted paths/],
    [index({ name: 'by n', fields: ['n'], unqiue: true }), 'unqiue', /the index `by n` has no option `unqiue`/],
    [index({ fields: ['n'], unique: 1 }), 'unique', /`unique` of the index is true or false, not 1/],
    [index({ fields: [{ field: 'n', order: 'up' }] }), 'fields.order', /one of 'asc', 'desc', not 'up'/],
    [index({ fields: [{ order: 'asc' }] }), 'fields.field', /has no `field`/],
  ];
  for (const [options, path, message] of wrong) await assert.rejects(open(options), told(path, message), JSON.stringify(options));
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
