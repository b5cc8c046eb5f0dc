import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';

import type { Observable, PocketError } from '@pocket/core';
import { Database, isPocketError } from '@pocket/core';
import type { ChannelLike } from '@pocket/core/internal';
import { internals } from '@pocket/core/internal';
import { createMemoryStorage } from '@pocket/storage-memory';
import type { SyncOptions, SyncStatus } from '@pocket/sync';
import { createSyncEngine } from '@pocket/sync';

import { SyncEngine } from '../dist/engine.js';
import type { TeamEnvironment } from '../dist/leader.js';
import { pageTeam } from '../dist/page.js';
import { Server, skip, useWebSocket } from './server.js';

interface Todo {
  _id: string;
  title: string;
  n?: number;
}

const withCode = (code: string) => (error: PocketError) => isPocketError(error, code);

const open = (): Promise<Database> =>
  Database.create({ name: 'app', storage: createMemoryStorage(), collections: [{ name: 'todos', sync: true }, { name: 'cache' }] });

/** An address at which nobody answers. */
async function nowhere(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

/** Waits until an observable has a value for which something holds; only the deadline of the test ends it otherwise. */
function until<V>(observable: Observable<V>, holds: (value: V) => boolean): Promise<V> {
  return new Promise((resolve) => {
    const subscription: { unsubscribe(): void } = observable.subscribe((value) => {
      if (!holds(value)) return;
      queueMicrotask(() => subscription.unsubscribe());
      resolve(value);
    });
  });
}

const reaches = (sync: SyncEngine, status: SyncStatus): Promise<SyncStatus> => until(sync.getStatus(), (now) => now === status);

/** They were told from the first start on only. */
test('what waits in the outbox is told before an engine is started', async () => {
  const db = await open();
  await db.collection('todos').insert({ title: 'early' });
  const sync = createSyncEngine(db, { serverUrl: await nowhere(), maxRetryAttempts: 0 });
  assert.equal(sync.getStats().getSnapshot().pendingCount, 1);
  assert.equal(sync.getProgress().getSnapshot().pushLeft, 1);
  await db.collection('todos').insert({ title: 'more' });
  await until(sync.getStats(), (stats) => stats.pendingCount === 2);
  await sync.start();
  assert.equal(sync.getStats().getSnapshot().pendingCount, 2);
  await db.collection('todos').insert({ title: 'offline' });
  await until(sync.getStats(), (stats) => stats.pendingCount === 3);
  await sync.destroy();
  const unused = createSyncEngine(db, { serverUrl: await nowhere() });
  await unused.destroy();
  await db.close();
});

test('without a server an engine starts, is offline, and its calls reject with a code', async () => {
  const db = await open();
  const sync = createSyncEngine(db, { serverUrl: await nowhere(), maxRetryAttempts: 0 });
  assert.equal(sync.getStatus().getSnapshot(), 'offline');
  assert.equal(sync.getStats().getSnapshot(), sync.getStats().getSnapshot());
  await assert.rejects(sync.forceSync(), withCode('stopped'));
  await sync.start();
  await sync.start();
  assert.equal(sync.isLeader.getSnapshot(), true);
  await db.collection('todos').insert({ title: 'offline' });
  await db.collection('cache').insert({ title: 'stays here' });
  for (const call of [() => sync.forceSync(), () => sync.push(), () => sync.pull()]) await assert.rejects(call(), withCode('connect'));
  assert.equal(await sync.pendingChanges(), 1);
  assert.deepEqual(await sync.checkpoint(), { sequence: 0, epoch: null, resyncing: false });
  await sync.stop();
  assert.equal(sync.getStatus().getSnapshot(), 'offline');
  assert.equal(sync.isLeader.getSnapshot(), false);
  await assert.rejects(sync.pull(), withCode('stopped'));
  await sync.destroy();
  await assert.rejects(sync.start(), withCode('destroyed'));
  for (const call of [() => sync.forceSync(), () => sync.pendingChanges()]) {
    // Not thrown, but rejected with.
    const answer = call();
    await assert.rejects(answer, withCode('destroyed'));
  }
  await db.close();
});

test('options that cannot work are refused by name, when the engine is made or when it starts', async () => {
  const db = await open();
  const cases: [Partial<SyncOptions>, string, RegExp][] = [
    [{ wat: 1 } as never, 'config', /`wat`/],
    [{ serverUrl: 'ftp://x' }, 'config', /ftp/],
    [{ direction: 'up' as never }, 'config', /`direction`.*both/],
    [{ batchSize: 0 }, 'config', /`batchSize`/],
    [{ conflictStrategy: { todos: 'mine' as never } }, 'config', /`conflictStrategy.todos`.*mine/],
    [{ serverUrl: 'ws://example.com', authToken: 't' }, 'plaintext-refused', /`allowPlaintext`/],
    [{ collections: ['_mine'] }, 'config', /_mine/],
  ];
  for (const [options, code, named] of cases) {
    const run = async (): Promise<void> => {
      const sync = createSyncEngine(db, { serverUrl: 'ws://127.0.0.1:1', ...options });
      try {
        await sync.start();
      } finally {
        await sync.destroy();
      }
    };
    await assert.rejects(run(), (error: PocketError) => isPocketError(error, code) && named.test(error.message), JSON.stringify(options));
  }
  await db.close();
});

test('names of collections that cannot sync are refused when the engine starts, not passed over', async () => {
  const db = await open();
  const serverUrl = await nowhere();
  const refused = async (options: Partial<SyncOptions>, path: string, ...said: RegExp[]): Promise<void> => {
    const sync = createSyncEngine(db, { serverUrl, ...options });
    await assert.rejects(sync.start(), (error: PocketError) => {
      assert.ok(isPocketError(error, 'config') && error.path === path, String(error));
      for (const one of said) assert.match(error.message, one);
      return true;
    });
    await sync.destroy();
  };
  await refused({ collections: ['todos', 'todoes'] }, 'collections', /`collections` names `todoes`, which this database does not have/, /There are `todos`/);
  await refused({ collections: ['cache'] }, 'collections', /`cache`, which does not sync/);
  await refused({ conflictStrategy: { notes: 'merge', todos: 'merge' } }, 'conflictStrategy', /`conflictStrategy` names `notes`/);
  // One that is made between is there when it starts.
  const sync = createSyncEngine(db, { serverUrl, collections: ['todos', 'notes'], conflictStrategy: { notes: 'merge' }, maxRetryAttempts: 0 });
  await assert.rejects(sync.start(), withCode('config'));
  await db.createCollection({ name: 'notes', sync: true });
  await sync.start();
  await db.close();
});

test('a token that is no text is refused, and none is null', async () => {
  const db = await open();
  const sync = createSyncEngine(db, { serverUrl: await nowhere() });
  for (const token of [5, {}, ['t']]) await assert.rejects(sync.setAuthToken(token as never), withCode('config'));
  await sync.setAuthToken(null);
  await db.close();
});

/** As the constructor is inside the package: in a page of the test's own. */
const Engine = SyncEngine as unknown as new (database: Database, options: SyncOptions, environment: TeamEnvironment) => SyncEngine;

/** The other end of an engine's channel, as another tab has it. */
function otherTab(): { environment: TeamEnvironment; posted: { readonly kind: string }[]; post: (message: object) => void } {
  const posted: { readonly kind: string }[] = [];
  const channel: ChannelLike = { onmessage: null, postMessage: (message) => posted.push(message as { kind: string }), close: () => undefined };
  const environment = { ...pageTeam, locks: undefined, id: () => 'this', channel: () => channel };
  return { environment, posted, post: (message) => channel.onmessage?.({ data: { from: 'other', version: 1, ...message } }) };
}

/** A database that has a name for other tabs, as one in a browser has. */
const shared = (): Promise<Database> =>
  Database.create({ name: 'app', storage: { ...createMemoryStorage(), sharedAs: () => 'app' }, collections: [{ name: 'todos', sync: true }] });

test('a token reaches the other tabs from an engine that does not run, and those that begin later', async () => {
  const db = await shared();
  const { environment, posted, post } = otherTab();
  const sync = new Engine(db, { serverUrl: await nowhere() }, environment);
  await sync.setAuthToken('sesame');
  const tokens = (): unknown[] => posted.filter(({ kind }) => kind === 'kept').map((message) => (message as never as { kept: { payload: unknown } }).kept.payload);
  assert.deepEqual(tokens(), ['sesame']);
  await sync.start();
  await sync.stop();
  post({ kind: 'hello' });
  assert.deepEqual(tokens(), ['sesame', 'sesame']);
  await db.close();
});

test('what an engine cannot take of another tab is reported, and takes nothing else with it', async (t) => {
  const reported: unknown[] = [];
  t.mock.method(console, 'error', (error: unknown) => reported.push(error));
  const db = await shared();
  const { environment, post } = otherTab();
  const sync = new Engine(db, { serverUrl: await nowhere() }, { ...environment, locks: { request: () => new Promise(() => undefined) } });
  const start = sync.start();
  post({ kind: 'leading' });
  await start;
  post({ kind: 'snapshot', snapshot: 'no json' });
  post({ kind: 'told', topic: 'conflict', payload: new Uint8Array([0xc1]) });
  assert.equal(reported.length, 2);
  post({ kind: 'snapshot', snapshot: JSON.stringify({ status: 'idle', stats: { lastError: null }, progress: {} }) });
  assert.equal(sync.getStatus().getSnapshot(), 'idle');
  await db.close();
});

test('a database does not keep an engine that was destroyed', async () => {
  const db = await open();
  const inside = internals(db) as { closing: ReturnType<typeof internals>['closing'] };
  const { closing } = inside;
  let kept = 0;
  inside.closing = (close) => {
    const forget = closing(close);
    kept += 1;
    return () => {
      kept -= 1;
      forget();
    };
  };
  const sync = createSyncEngine(db, { serverUrl: await nowhere() });
  assert.equal(kept, 1);
  await sync.destroy();
  assert.equal(kept, 0);
  await db.close();
});

test('a database that is closed gets no engine', async () => {
  const db = await open();
  await db.close();
  assert.throws(() => createSyncEngine(db, { serverUrl: 'ws://127.0.0.1:1' }), withCode('closed'));
});

test('closing the database ends its engine', async () => {
  const db = await open();
  const sync = createSyncEngine(db, { serverUrl: await nowhere() });
  await sync.start();
  await db.close();
  assert.equal(sync.getStatus().getSnapshot(), 'offline');
  await assert.rejects(sync.start(), withCode('destroyed'));
});

test('what two devices write meets, over a killed server too', { skip, timeout: 60_000 }, async () => {
  const server = await Server.start();
  const options = { serverUrl: server.url, authToken: 'sesame', useWebSocket, pullInterval: 100, retryDelay: 50 };
  const [one, two] = [await open(), await open()];
  const [a, b] = [createSyncEngine(one, options), createSyncEngine(two, options)];
  await one.collection<Todo>('todos').insert({ _id: '1', title: 'before the start' });
  await one.collection('cache').insert({ _id: 'c' });
  await Promise.all([a.start(), b.start()]);
  await a.forceSync();
  await b.forceSync();
  assert.deepEqual(await two.collection<Todo>('todos').get('1'), { _id: '1', title: 'before the start' });
  assert.equal(await two.collection('cache').count(), 0);
  await Promise.all([reaches(a, 'idle'), reaches(b, 'idle')]);
  assert.equal(a.getStats().getSnapshot().pushCount, 1);
  assert.ok((a.getStats().getSnapshot().lastSyncAt ?? 0) > 1_700_000_000_000);

  // Live, without a call.
  const observed = one.collection<Todo>('todos').observeById('2');
  const arrives = until(observed, (todo) => todo?.title === 'from two');
  await two.collection<Todo>('todos').insert({ _id: '2', title: 'from two' });
  await arrives;

  await server.kill();
  await reaches(a, 'offline');
  await one.collection<Todo>('todos').update('2', { title: 'while it was away' });
  assert.equal(await a.pendingChanges(), 1);
  await server.run();
  await until(two.collection<Todo>('todos').observeById('2'), (todo) => todo?.title === 'while it was away');
  await reaches(a, 'idle');
  assert.equal((await a.checkpoint()).sequence, (await b.checkpoint()).sequence);
  await Promise.all([one.close(), two.close()]);
  await server.end();
});

test('when there is a network again it connects at once', { skip, timeout: 30_000 }, async (t) => {
  const page = new EventTarget();
  const listening = new Set<unknown>();
  const scope = globalThis as Record<string, unknown>;
  scope['addEventListener'] = (type: string, run: () => void) => (listening.add(run), page.addEventListener(type, run));
  scope['removeEventListener'] = (type: string, run: () => void) => (listening.delete(run), page.removeEventListener(type, run));
  t.after(() => (delete scope['addEventListener'], delete scope['removeEventListener']));
  const server = await Server.start();
  await server.kill();
  const db = await open();
  // No delay ever ends, so it does not try again by itself.
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const sync = createSyncEngine(db, { serverUrl: server.url, authToken: 'sesame', useWebSocket });
  await sync.start();
  await until(sync.getStats(), ({ lastError }) => lastError?.code === 'connect');
  await server.run();
  page.dispatchEvent(new Event('online'));
  await reaches(sync, 'idle');
  assert.equal(listening.size, 1);
  await sync.stop();
  assert.equal(listening.size, 0);
  await db.close();
  await server.end();
});

test('a rule of the application decides a conflict, and the journal keeps what lost', { skip, timeout: 60_000 }, async () => {
  const server = await Server.start();
  const options = { serverUrl: server.url, authToken: 'sesame', useWebSocket, pullInterval: 100 };
  const [one, two] = [await open(), await open()];
  const conflicts: unknown[] = [];
  const a = createSyncEngine(one, options);
  const b = createSyncEngine(two, {
    ...options,
    conflictStrategy: async (conflict) => {
      conflicts.push([conflict.collection, conflict.documentId, conflict.baseDocument?.['n'], conflict.localDocument?.['n'], conflict.remoteDocument?.['n']]);
      await Promise.resolve();
      return { document: { ...conflict.remoteDocument, n: 7 }, because: 'seven it is' };
    },
  });
  const told: number[] = [];
  const stopListening = b.onConflict((entry) => told.push(entry.number));
  await one.collection<Todo>('todos').insert({ _id: '1', title: 'x', n: 0 });
  await Promise.all([a.start(), b.start()]);
  await a.forceSync();
  await b.forceSync();
  await b.stop();
  await one.collection<Todo>('todos').update('1', { n: 1 });
  await two.collection<Todo>('todos').update('1', { n: 2 });
  await a.forceSync();
  await b.start();
  await b.forceSync();
  await a.forceSync();
  assert.deepEqual(conflicts, [['todos', '1', 0, 2, 1]]);
  for (const db of [one, two]) assert.equal((await db.collection<Todo>('todos').get('1'))?.n, 7);
  const [entry] = await two.journal.list<Todo>({ state: 'open' });
  assert.ok(entry !== undefined);
  assert.deepEqual([entry.kind, entry.winner, entry.reason], ['conflict', 'merged', 'seven it is']);
  const [document] = entry.documents;
  assert.deepEqual(
    [document?.base?.document?.n, document?.local.document, document?.remote?.document?.n],
    [0, { _id: '1', title: 'x', n: 2 }, 1],
  );
  assert.equal((await two.journal.explain(entry.number)).decidedBy, 'application');
  await until(b.getStats(), (stats) => stats.conflictCount === 1);
  assert.deepEqual(told, [entry.number]);
  stopListening();
  const [restored] = await two.journal.restore<Todo>(entry.number);
  assert.equal(restored?.n, 2);
  await assert.rejects(two.journal.dismiss(entry.number), withCode('journal-entry-closed'));
  await b.forceSync();
  await a.forceSync();
  assert.equal((await one.collection<Todo>('todos').get('1'))?.n, 2);
  await Promise.all([one.close(), two.close()]);
  await server.end();
});

test('a wrong token is an error until there is a better one', { skip, timeout: 60_000 }, async () => {
  const server = await Server.start();
  const db = await open();
  const asked: string[] = [];
  const sync = createSyncEngine(db, {
    serverUrl: server.url,
    authToken: 'wrong',
    useWebSocket,
    getAuthToken: (reason) => {
      asked.push(reason);
      throw new Error('signed out');
    },
  });
  await sync.start();
  await reaches(sync, 'error');
  assert.ok(isPocketError(sync.getStats().getSnapshot().lastError, 'unauthorized'));
  assert.deepEqual(asked.slice(0, 1), ['refused']);
  await sync.setAuthToken('sesame');
  await reaches(sync, 'idle');
  await db.close();
  await server.end();
});

test('a database leaves its server with its documents, or without them', { skip, timeout: 60_000 }, async () => {
  const [first, second] = [await Server.start(), await Server.start()];
  const db = await open();
  const options = { authToken: 'sesame', useWebSocket };
  const a = createSyncEngine(db, { ...options, serverUrl: first.url });
  await db.collection<Todo>('todos').insert({ _id: '1', title: 'x' });
  await a.start();
  await a.forceSync();
  assert.equal(await a.detach(), 1);
  assert.equal(a.getStatus().getSnapshot(), 'offline');
  await a.destroy();
  const b = createSyncEngine(db, { ...options, serverUrl: second.url });
  await b.start();
  await b.forceSync();
  assert.equal(await b.pendingChanges(), 0);
  assert.deepEqual(await b.wipe(), { documents: 1, pending: 0, journaled: 0 });
  assert.equal(await db.collection('todos').count(), 0);
  await b.start();
  await b.forceSync();
  assert.equal((await db.collection<Todo>('todos').get('1'))?.title, 'x');
  await db.close();
  await Promise.all([first.end(), second.end()]);
});
