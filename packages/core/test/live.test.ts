import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { LiveState, Stored } from '@pocket/core';
import { Database, isPocketError } from '@pocket/core';
import { createMemoryStorage } from '@pocket/storage-memory';

import { encode } from '../dist/encode.js';
import { LiveRows } from '../dist/live.js';

interface Item {
  _id: string;
  n: number;
}

const open = (): Promise<Database> => Database.create({ name: 'live', storage: createMemoryStorage(), collections: [{ name: 'items' }] });

/** Waits until an observable has a value for which something holds; there is no time in it. */
function until<V>(observable: { subscribe(next: (value: V) => void): { unsubscribe(): void } }, holds: (value: V) => boolean): Promise<V> {
  return new Promise((resolve) => {
    const subscription: { unsubscribe(): void } = observable.subscribe((value) => {
      if (!holds(value)) return;
      // It may be told before there is a subscription to end.
      queueMicrotask(() => subscription.unsubscribe());
      resolve(value);
    });
  });
}

const shown = (state: LiveState<Item>): string => state.data.map(({ _id, n }) => `${_id}${n}`).join(' ');

test('a live query tells its result, then what changes of it', async () => {
  const db = await open();
  const items = db.collection<Item>('items');
  await items.insertMany([{ _id: 'a', n: 3 }, { _id: 'b', n: 1 }]);
  const live = items.find().where('n').gt(0).sort('n').limit(3).live();
  assert.equal(live.getSnapshot(), undefined);
  const states: LiveState<Stored<Item>>[] = [];
  live.subscribe((state) => states.push(state));
  assert.equal(shown(await live.ready()), 'b1 a3');
  await items.insert({ _id: 'c', n: 2 });
  await until(live, (state) => shown(state) === 'b1 c2 a3');
  await items.update('b', { n: 9 });
  await until(live, (state) => shown(state) === 'c2 a3 b9');
  await items.delete('a');
  await until(live, (state) => shown(state) === 'c2 b9');
  await items.insert({ _id: 'z', n: -1 });
  await items.update('c', { n: 1 });
  await until(live, (state) => shown(state) === 'c1 b9');

  // Whoever makes the changes has the result; and no two states share their array.
  let list: Item[] = [];
  for (const state of states) {
    if (state.isReset) list = [];
    for (const change of state.changes) {
      if (change.kind === 'inserted') list.splice(change.at, 0, change.document);
      else if (change.kind === 'updated') list[change.at] = change.document;
      else {
        list.splice(change.at, 1);
        if (change.kind === 'moved') list.splice(change.to, 0, change.document);
      }
    }
    assert.deepEqual(list, state.data);
  }
  assert.equal(new Set(states.map((state) => state.data)).size, states.length);
  assert.ok(states.length >= 5);
  const sequences = states.map(({ sequence }) => sequence);
  assert.deepEqual(sequences, [...sequences].sort((one, two) => one - two));
  await db.close();
});

test('a document that did not change is the same object in the next state', async () => {
  const db = await open();
  const items = db.collection<Item>('items');
  await items.insertMany([1, 2, 3].map((n) => ({ _id: `${n}`, n })));
  const live = items.find().sort('n').live();
  const first = await live.ready();
  await items.update('2', { n: 20 });
  const second = await until(live, (state) => state.data.at(-1)?.n === 20);
  assert.notEqual(second.data, first.data);
  assert.equal(second.data[0], first.data[0]);
  assert.equal(second.data[1], first.data[2]);
  assert.notEqual(second.data[2], first.data[1]);
  await db.close();
});

test('reading again what did not change tells nothing', async () => {
  const db = await open();
  const items = db.collection<Item>('items');
  await items.insert({ _id: 'a', n: 1 });
  const live = items.find().live();
  const first = await live.ready();
  let told = 0;
  live.subscribe(() => (told += 1));
  live.refresh();
  await items.insert({ _id: 'b', n: 2 });
  const second = await until(live, (state) => state.data.length === 2);
  assert.equal(told, 2);
  assert.equal(second.data[0], first.data[0]);
  await db.close();
});

test('a live count tells each other count', async () => {
  const db = await open();
  const items = db.collection<Item>('items');
  const count = items.find({ n: { $gt: 1 } }).liveCount();
  assert.equal(await count.ready(), 0);
  await items.insertMany([1, 2, 3].map((n) => ({ _id: `${n}`, n })));
  assert.equal(await until(count, (value) => value === 2), 2);
  assert.equal(count.getSnapshot(), 2);
  await db.close();
});

test('an observed document is told as it changes, and costs nothing while nobody listens', async () => {
  const db = await open();
  const items = db.collection<Item>('items');
  const observed = items.observeById('a');
  assert.equal(observed.getSnapshot(), undefined);
  assert.equal((await db.stats()).liveQueries, 0);
  const heard: (number | null)[] = [];
  const subscription = observed.subscribe((document) => heard.push(document?.n ?? null));
  await until(observed, (document) => document === null);
  assert.equal((await db.stats()).liveQueries, 1);
  await items.insert({ _id: 'a', n: 1 });
  await until(observed, (document) => document?.n === 1);
  await items.insert({ _id: 'b', n: 5 });
  await items.delete('a');
  await until(observed, (document) => document === null);
  assert.deepEqual(heard, [null, 1, null]);
  subscription.unsubscribe();
  // `until` unsubscribes in a microtask of its own.
  await Promise.resolve();
  assert.equal((await db.stats()).liveQueries, 0);
  await db.close();
});

test('closed live queries tell nothing more and leave nothing behind', async () => {
  const db = await open();
  const items = db.collection<Item>('items');
  const lives = Array.from({ length: 50 }, () => items.find().live());
  await Promise.all(lives.map((live) => live.ready()));
  assert.equal((await db.stats()).liveQueries, 50);
  let told = 0;
  for (const live of lives) {
    live.subscribe(() => (told += 1));
    live.close();
    live.close();
    live.refresh();
  }
  assert.equal((await db.stats()).liveQueries, 0);
  await items.insert({ _id: 'a', n: 1 });
  const after = items.find().live();
  await after.ready();
  assert.equal(told, 50);
  await db.close();
});

test('whoever listens may leave after what they listened to has ended', async () => {
  for (const end of [(db: Database) => db.deleteCollection('items'), (db: Database) => db.close()]) {
    const db = await open();
    const items = db.collection<Item>('items');
    const observed = items.observeById('a');
    const live = items.find().live();
    const subscriptions = [observed.subscribe(() => undefined), live.subscribe(() => undefined), items.changes().subscribe(() => undefined)];
    await until(observed, (document) => document === null);
    await live.ready();
    await end(db);
    for (const subscription of subscriptions) {
      subscription.unsubscribe();
      subscription.unsubscribe();
    }
    live.close();
    await db.close();
  }
});

test('a live query may be closed by the listener it calls', async () => {
  const db = await open();
  const items = db.collection<Item>('items');
  const live = items.find().live();
  await new Promise<void>((resolve) => {
    live.subscribe(() => {
      live.close();
      resolve();
    });
  });
  await items.insert({ _id: 'a', n: 1 });
  assert.deepEqual(live.getSnapshot()?.data, []);
  await db.close();
});

test('steps that reset the list keep what did not change', () => {
  const rows = new LiveRows<Item>();
  const step = (sequence: number, reset: boolean, changes: unknown[]): Uint8Array => encode({ sequence, reset, changes });
  const row = (id: string, rev: string, n: number): unknown[] => [id, rev, 0, { n }];
  const first = rows.apply(step(1, true, [['i', 0, null, row('a', '1', 1)], ['i', 1, null, row('b', '1', 2)]]), undefined);
  const same = rows.apply(step(2, true, [['i', 0, null, row('a', '1', 1)], ['i', 1, null, row('b', '1', 2)]]), first);
  assert.equal(same, first);
  const next = rows.apply(step(3, true, [['i', 0, null, row('b', '2', 3)], ['i', 1, null, row('a', '1', 1)]]), same);
  assert.equal(shown(next), 'b3 a1');
  assert.equal(next.data[1], first.data[0]);
  assert.ok(next.isReset);
  const moved = rows.apply(step(4, false, [['m', 0, 1, row('b', '3', 4)]]), next);
  assert.equal(shown(moved), 'a1 b4');
  assert.throws(() => rows.apply(step(5, false, [['?', 0, null, null]]), moved), /no edit/);
});

test('a listener that throws at the value there is does so for nobody but itself', async (t) => {
  const db = await open();
  const items = db.collection<Item>('items');
  const live = items.find().live();
  await live.ready();
  const reported: unknown[] = [];
  t.mock.method(console, 'error', (error: unknown) => reported.push(error));
  const mine = new Error('mine');
  // It stays subscribed, and can leave: `subscribe` answered.
  const subscription = live.subscribe(() => {
    throw mine;
  });
  assert.deepEqual(reported, [mine]);
  subscription.unsubscribe();
  live.close();
  await db.close();
});

test('whoever waits for a first value that will not come is told', async () => {
  const db = await open();
  const items = db.collection<Item>('items');
  const closed = (error: unknown): boolean => isPocketError(error, 'closed');
  const live = items.find().live();
  const waiting = live.ready();
  live.close();
  await assert.rejects(waiting, closed);
  await assert.rejects(live.ready(), closed);
  const count = items.find().liveCount();
  const counting = count.ready();
  const refused = assert.rejects(counting, closed);
  await db.close();
  await refused;
});
