import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { PocketError } from '@pocket/core';
import { Database, isPocketError } from '@pocket/core';
import { createMemoryStorage } from '@pocket/storage-memory';

import { loadModule } from '../dist/raw.js';

interface Todo {
  _id: string;
  title: string;
  done?: boolean;
}

interface Counter {
  _id: string;
  n: number;
}

function open(): Promise<Database> {
  const collections = [{ name: 'todos', sync: true }, { name: 'cache' }];
  return Database.create({ name: 'test', storage: createMemoryStorage(), collections });
}

const withCode = (code: string) => (error: PocketError) => isPocketError(error, code);

test('a transaction takes effect as a whole, or not at all', async () => {
  const db = await open();
  const todos = db.collection<Todo>('todos');
  const id = await db.transaction((tx) => {
    tx.collection('cache').insert({ _id: 'c' });
    return tx.collection<Todo>('todos').insert({ title: 'x' });
  });
  assert.equal((await todos.get(id))?.title, 'x');
  const failure = new Error('changed my mind');
  await assert.rejects(
    db.transaction((tx) => {
      tx.collection('todos').delete(id);
      throw failure;
    }),
    (error) => error === failure,
  );
  assert.equal(await todos.count(), 1);
  await assert.rejects(
    db.transaction((tx) => {
      tx.collection<Todo>('todos').insert({ _id: 'new', title: 'y' });
      tx.collection<Todo>('todos').update('no', { title: 'z' });
    }),
    withCode('document-not-found'),
  );
  assert.equal(await todos.get('new'), null);
  await db.close();
});

/** So many transactions at once, each of which counts one document up. Gives how often one ran. */
async function countUp(times: number): Promise<number> {
  const db = await open();
  const counters = db.collection<Counter>('cache');
  await counters.insert({ _id: 'c', n: 0 });
  let runs = 0;
  const add = (): Promise<void> =>
    db.transaction(async (tx) => {
      runs += 1;
      const counter = tx.collection<Counter>('cache');
      counter.update('c', { n: ((await counter.get('c'))?.n ?? 0) + 1 });
    });
  await Promise.all(Array.from({ length: times }, add));
  assert.equal((await counters.get('c'))?.n, times);
  await db.close();
  return runs;
}

test('a transaction whose documents were changed by somebody else runs again', async () => {
  assert.ok((await countUp(8)) >= 8);
});

/** Beyond 16 of them, the last ones were rejected with `transaction-conflict`. */
test('any number of transactions of one tab may be about one document', async () => {
  const runs = await countUp(100);
  assert.ok(runs < 300, `${runs} runs`);
});

test('a transaction inside of one that runs again waits for nobody', async () => {
  const db = await open();
  const counters = db.collection<Counter>('cache');
  await counters.insertMany([{ _id: 'outer', n: 0 }, { _id: 'inner', n: 0 }]);
  const overtaken = new Set<string>();
  /** Reads, is overtaken the first time, and writes. */
  const raise = (id: string, inside: () => Promise<void>): Promise<void> =>
    db.transaction(async (tx) => {
      const inTx = tx.collection<Counter>('cache');
      const n = (await inTx.get(id))?.n ?? 0;
      if (!overtaken.has(id)) {
        overtaken.add(id);
        await counters.update(id, { n: n + 10 });
      } else {
        await inside();
      }
      inTx.update(id, { n: n + 1 });
    });
  await raise('outer', () => raise('inner', () => Promise.resolve()));
  assert.equal((await counters.get('outer'))?.n, 11);
  assert.equal((await counters.get('inner'))?.n, 11);
  await db.close();
});

test('a transaction that has ended takes no more', async () => {
  const db = await open();
  let kept: { insert(document: { _id: string }): string } | undefined;
  await db.transaction((tx) => {
    kept = tx.collection('cache');
  });
  assert.throws(() => kept?.insert({ _id: 'late' }), withCode('closed'));
  await db.close();
});

test('a transaction leaves no memory behind, however it ended', async (t) => {
  const db = await open();
  const todos = db.collection<Todo>('todos');
  const { RawTransaction } = (await loadModule()) as unknown as { RawTransaction: { prototype: { free(): void } } };
  const freed = t.mock.method(RawTransaction.prototype, 'free');
  assert.equal(await db.transaction((tx) => tx.collection<Todo>('todos').insert({ _id: 'a', title: 'x' })), 'a');
  assert.equal(freed.mock.callCount(), 1);
  await assert.rejects(db.transaction(() => Promise.reject(new Error('mine'))), /mine/);
  assert.equal(freed.mock.callCount(), 2);
  await assert.rejects(
    db.transaction((tx) => tx.collection<Todo>('todos').insert({ _id: 'a', title: 'y' })),
    withCode('document-exists'),
  );
  assert.equal(freed.mock.callCount(), 3);
  // One that runs again is a transaction for each run.
  let runs = 0;
  await db.transaction(async (tx) => {
    runs += 1;
    await tx.collection<Todo>('todos').get('a');
    if (runs === 1) await todos.update('a', { title: 'meanwhile' });
    tx.collection<Todo>('todos').update('a', { done: true });
  });
  assert.equal(runs, 2);
  assert.equal(freed.mock.callCount(), 5);
  assert.deepEqual(await todos.get('a'), { _id: 'a', title: 'meanwhile', done: true });
  await db.close();
});
