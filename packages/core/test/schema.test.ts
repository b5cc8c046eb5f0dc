// What documents must be, where an application says so.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Database, isPocketError } from '@pocket/core';
import type { Collection, CollectionConfig, DocumentSchema } from '@pocket/core';
import { createMemoryStorage } from '@pocket/storage-memory';

async function products(schema: DocumentSchema): Promise<{ db: Database; items: Collection; seen: Record<string, unknown>[] }> {
  const seen: Record<string, unknown>[] = [];
  const config: CollectionConfig = { name: 'items', schema };
  const db = await Database.create({ name: 'schema', storage: createMemoryStorage(), collections: [config, { name: 'free' }] });
  return { db, items: db.collection('items'), seen };
}

const refused = (path: string | undefined, message: RegExp) => (error: unknown) => {
  assert.ok(isPocketError(error, 'validation'), String(error));
  assert.equal(error.path, path);
  assert.match(error.message, message);
  return true;
};

test('every local write is checked as a whole, and one that does not fit stores nothing', async () => {
  const { db, items } = await products((item) => (item['n'] > 0 ? undefined : [{ path: ['n'], message: 'is not above 0' }]));
  const wrong = refused('n', /schema of `items`.*is not above 0/);
  await items.insert({ _id: '1', n: 1, text: 'x' });
  await assert.rejects(items.insert({ n: 0 }), wrong);
  await assert.rejects(items.insertMany([{ n: 1 }, { n: 0 }]), wrong);
  await assert.rejects(items.upsert({ _id: '1', n: -1 }), wrong);
  await assert.rejects(items.upsertMany([{ _id: '1', n: 2 }, { _id: '2' }]), wrong);
  await assert.rejects(items.update('1', { n: 0 }), wrong);
  await assert.rejects(
    db.transaction((tx) => {
      tx.collection('free').insert({ _id: 'x' });
      tx.collection('items').update('1', { n: 0 });
    }),
    wrong,
  );
  assert.deepEqual(await items.getAll(), [{ _id: '1', n: 1, text: 'x' }]);
  assert.equal(await db.collection('free').count(), 0);
  // Of an update the whole document counts, and others are nobody's business.
  await items.update('1', { text: 'y' });
  await db.collection('free').insert({ n: 0 });
  await db.close();
});

test('a rule sees the document as it is read, with its id, and its answers are told as they are', async () => {
  const seen: unknown[] = [];
  const answers: (string | undefined)[] = ['is no good', undefined];
  const { db, items } = await products((item) => {
    seen.push(item);
    return answers.shift();
  });
  const item = { _id: '1', at: new Date(5), big: 2n ** 60n, bytes: new Uint8Array([1]), list: [{ a: null }] };
  await assert.rejects(items.insert(item), refused(undefined, /is no good/));
  await items.insert(item);
  assert.deepEqual(seen, [item, item]);
  await db.close();
});

test('a schema of a library is asked by what all of them have in common', async () => {
  const issues = [
    { message: 'Expected string', path: ['address', { key: 'lines' }, 0] },
    { message: 'Required', path: ['a/b~c'] },
  ];
  // As ArkType's, which is a function, too.
  const schema = Object.assign(() => assert.fail('nobody calls it'), {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value: unknown) => ((value as { isRight?: boolean }).isRight === true ? { value } : { issues }),
    },
  });
  const { db, items } = await products(schema as unknown as DocumentSchema);
  await items.insert({ isRight: true });
  await assert.rejects(items.insert({}), refused('address.lines.0', /\/address\/lines\/0.*Expected string.*\/a~1b~0c.*Required/));
  await db.close();
});

test('a rule that throws, or does not answer at once, refuses the document and says why', async () => {
  const answers: (() => unknown)[] = [
    () => {
      throw new Error('it broke');
    },
    () => Promise.reject(new Error('nobody hears it')),
    () => 5,
  ];
  const { db, items } = await products((() => answers.shift()?.()) as DocumentSchema);
  await assert.rejects(items.insert({}), refused(undefined, /it broke/));
  await assert.rejects(items.insert({}), refused(undefined, /answered a promise; it has to answer at once/));
  await assert.rejects(items.insert({}), refused(undefined, /answered a number/));
  assert.equal(await items.count(), 0);
  await db.close();
});

test('a collection that is made later has its schema, also under a name that objects have', async () => {
  const { db } = await products(() => undefined);
  await db.createCollection({ name: 'constructor', schema: () => 'no' });
  await db.createCollection({ name: 'toString' });
  await assert.rejects(db.collection('constructor').insert({}), refused(undefined, /no$/));
  await db.collection('toString').insert({});
  await assert.rejects(db.createCollection({ name: 'x', schema: { type: 'object' } as never }), (error) => isPocketError(error, 'config') && error.path === 'schema');
  await db.close();
});
