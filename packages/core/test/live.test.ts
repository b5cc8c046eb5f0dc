import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';

import type { LiveQuery, LiveState, Stored } from '@pocket/core';
import { Database, isPocketError } from '@pocket/core';
import { createMemoryStorage } from '@pocket/storage-memory';

import { encode } from '../dist/encode.js';
import { LiveRows } from '../dist/live.js';
import { loadModule } from '../dist/raw.js';
import type { RawCollection } from '../dist/raw.js';

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

/** A step of a live query, as the WebAssembly tells it. */
const step = (sequence: number, ...changes: unknown[]): Uint8Array => encode({ sequence, changes });
const row = (id: string, rev: string, n: number): unknown[] => [id, rev, 0, { n }];

test('a query that begins anew keeps the documents that did not change', () => {
  const rows = new LiveRows<Item>();
  const first = rows.apply(step(1, ['i', 0, null, row('a', '1', 1)], ['i', 1, null, row('b', '1', 2)]), undefined);
  assert.ok(first.isReset);
  rows.reset();
  const same = rows.apply(step(2, ['i', 0, null, row('a', '1', 1)], ['i', 1, null, row('b', '1', 2)]), first);
  assert.equal(same, first);
  rows.reset();
  const next = rows.apply(step(3, ['i', 0, null, row('b', '2', 3)], ['i', 1, null, row('a', '1', 1)]), same);
  assert.equal(shown(next), 'b3 a1');
  assert.equal(next.data[1], first.data[0]);
  assert.ok(next.isReset);
  const moved = rows.apply(step(4, ['m', 0, 1, row('b', '3', 4)]), next);
  assert.equal(shown(moved), 'a1 b4');
  assert.ok(!moved.isReset);
  assert.throws(() => rows.apply(step(5, ['?', 0, null, null]), moved), /no edit/);
});

/** A database, and a live query on it of which some steps arrive as nothing that could be read. */
async function unreadable(t: TestContext, isBroken: (step: number) => boolean): Promise<{ db: Database; live: LiveQuery<Stored<Item>> }> {
  const { RawCollection } = (await loadModule()) as unknown as { RawCollection: { prototype: RawCollection } };
  const whole = RawCollection.prototype.live;
  let steps = 0;
  t.mock.method(RawCollection.prototype, 'live', function (this: RawCollection, ...[query, pause, told, error]: Parameters<typeof whole>) {
    const broken = (bytes: Uint8Array): void => told(isBroken((steps += 1)) ? new Uint8Array([0xc1]) : bytes);
    return whole.call(this, query, pause, broken, error);
  });
  const db = await open();
  return { db, live: db.collection<Item>('items').find().sort('n').live() };
}

test('after a step that cannot be read a live query begins anew, and is right again', async (t) => {
  const { db, live } = await unreadable(t, (step) => step === 2);
  const items = db.collection<Item>('items');
  const errors: string[] = [];
  live.subscribe(() => undefined, (error) => errors.push(error.code));
  await live.ready();
  await items.insert({ _id: 'a', n: 2 });
  const again = await until(live, (state) => state.data.length === 1);
  assert.deepEqual(errors, ['validation']);
  assert.equal(live.error, null);
  assert.ok(again.isReset);
  await items.insert({ _id: 'b', n: 1 });
  const next = await until(live, (state) => state.data.length === 2);
  assert.equal(shown(next), 'b1 a2');
  assert.ok(!next.isReset);
  assert.equal((await db.stats()).liveQueries, 1);
  live.close();
  assert.equal((await db.stats()).liveQueries, 0);
  await db.close();
});

test('a result that cannot be read is tried again with each change, and at a refresh', async (t) => {
  let isBroken = true;
  let steps = 0;
  const { db, live } = await unreadable(t, (step) => ((steps = step), isBroken));
  const items = db.collection<Item>('items');
  await assert.rejects(live.ready(), (error) => isPocketError(error, 'validation'));
  // Not over and over without a change.
  assert.equal(steps, 1);
  const failures = new Promise<void>((resolve) => {
    let told = 0;
    live.subscribe(() => undefined, () => {
      if ((told += 1) === 2) resolve();
    });
  });
  await items.insert({ _id: 'a', n: 1 });
  await failures;
  assert.equal(live.getSnapshot(), undefined);
  assert.equal(live.error?.code, 'validation');
  isBroken = false;
  live.refresh();
  assert.equal(shown(await until(live, () => true)), 'a1');
  assert.equal(live.error, null);
  await db.close();
  assert.ok(live.isClosed);
});

test('a live query may be closed by the listener that it tells of what cannot be read', async (t) => {
  const { db, live } = await unreadable(t, (step) => step === 2);
  await live.ready();
  const closed = new Promise<void>((resolve) => {
    live.subscribe(() => undefined, () => {
      live.close();
      resolve();
    });
  });
  await db.collection<Item>('items').insert({ _id: 'a', n: 1 });
  await closed;
  assert.ok(live.isClosed);
  assert.equal((await db.stats()).liveQueries, 0);
  await db.close();
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
