import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';

import type { ChannelLike, TabsDatabase, TabsEnvironment } from '../dist/tabs.js';
import { BACKLOG, WAITING, connectTabs, relayed } from '../dist/tabs.js';

/** A site whose tabs hear each other at once. */
class Site {
  readonly channels = new Set<ChannelLike>();
  readonly resumed: (() => void)[] = [];
  readonly environment: TabsEnvironment = {
    channel: () => {
      const channel: ChannelLike = {
        onmessage: null,
        postMessage: (data) => {
          for (const other of this.channels) if (other !== channel) other.onmessage?.({ data });
        },
        close: () => this.channels.delete(channel),
      };
      this.channels.add(channel);
      return channel;
    },
    onResume: (resumed) => {
      this.resumed.push(resumed);
      return () => this.resumed.splice(this.resumed.indexOf(resumed), 1);
    },
  };
}

class FakeDatabase implements TabsDatabase {
  readonly heard: string[] = [];
  reads = 0;
  commit: (message: Uint8Array) => void = () => assert.fail('nobody listens');
  take: (message: Uint8Array) => Promise<void> = () => Promise.resolve();

  committed(listener: (message: Uint8Array) => void): () => void {
    this.commit = listener;
    return () => {
      this.commit = () => undefined;
    };
  }

  async committedElsewhere(message: Uint8Array): Promise<void> {
    await this.take(message);
    this.heard.push(String(message[0]));
  }

  catchUp(): Promise<void> {
    this.reads += 1;
    // The first one is that after connecting.
    if (this.reads > 1) this.heard.push('read again');
    return Promise.resolve();
  }
}

test('what was committed between opening and connecting is read', async () => {
  const site = new Site();
  const database = new FakeDatabase();
  connectTabs('x', database, site.environment);
  await turn();
  assert.equal(database.reads, 1);
});

test('a tab that falls too far behind reads again once instead, and hears what comes later', async () => {
  const site = new Site();
  const [one, two] = [new FakeDatabase(), new FakeDatabase()];
  for (const database of [one, two]) connectTabs('x', database, site.environment);
  await turn();
  let release = (): void => undefined;
  two.take = (message) => (message[0] === 1 ? new Promise((resolve) => (release = resolve)) : Promise.resolve());
  one.commit(new Uint8Array([1]));
  for (let count = 0; count <= BACKLOG; count += 1) one.commit(new Uint8Array([2]));
  one.commit(new Uint8Array([3]));
  release();
  await turn();
  assert.deepEqual(two.heard, ['1', 'read again', '3']);
});

test('a database that has stopped hearing goes on telling', async () => {
  const site = new Site();
  const [one, two] = [new FakeDatabase(), new FakeDatabase()];
  const connection = connectTabs('x', one, site.environment);
  connectTabs('x', two, site.environment);
  await turn();
  connection.stopHearing();
  two.commit(new Uint8Array([1]));
  one.commit(new Uint8Array([2]));
  await turn();
  assert.deepEqual([one.heard, two.heard], [[], ['2']]);
});

test('what a tab commits is heard by the others, in order, and not by itself', async () => {
  const site = new Site();
  const [one, two] = [new FakeDatabase(), new FakeDatabase()];
  for (const database of [one, two]) connectTabs('x', database, site.environment);
  // The first takes longer than the second.
  let release = (): void => undefined;
  two.take = (message) => (message[0] === 1 ? new Promise((resolve) => (release = resolve)) : Promise.resolve());
  for (const number of [1, 2, 3]) one.commit(new Uint8Array([number]));
  await turn();
  assert.deepEqual(two.heard, []);
  release();
  await turn();
  assert.deepEqual(two.heard, ['1', '2', '3']);
  assert.deepEqual(one.heard, []);
});

test('a message that cannot be taken is made up for by reading again, and later ones are heard', async () => {
  const site = new Site();
  const [one, two] = [new FakeDatabase(), new FakeDatabase()];
  for (const database of [one, two]) connectTabs('x', database, site.environment);
  two.take = (message) => (message[0] === 1 ? Promise.reject(new Error('damaged')) : Promise.resolve());
  one.commit(new Uint8Array([1]));
  one.commit(new Uint8Array([2]));
  await turn();
  assert.deepEqual(two.heard, ['read again', '2']);
});

test('what is no message of Pocket is left aside', async () => {
  const site = new Site();
  const database = new FakeDatabase();
  connectTabs('x', database, site.environment);
  site.environment.channel('x')?.postMessage({ hello: 1 });
  await turn();
  assert.deepEqual(database.heard, []);
});

test('a page that was frozen reads again', async () => {
  const site = new Site();
  const database = new FakeDatabase();
  connectTabs('x', database, site.environment);
  await turn();
  for (const resumed of site.resumed) resumed();
  await turn();
  assert.deepEqual(database.heard, ['read again']);
});

test('a disconnected database neither hears nor tells, and leaves nothing behind', async () => {
  const site = new Site();
  const [one, two] = [new FakeDatabase(), new FakeDatabase()];
  connectTabs('x', one, site.environment);
  const disconnect = connectTabs('x', two, site.environment);
  one.commit(new Uint8Array([1]));
  disconnect.close();
  two.commit(new Uint8Array([2]));
  await turn();
  assert.deepEqual([one.heard, two.heard], [[], []]);
  assert.equal(site.channels.size, 1);
  assert.equal(site.resumed.length, 1);
});

test('without a channel a tab is alone', () => {
  const database = new FakeDatabase();
  const disconnect = connectTabs('x', database, { channel: () => undefined, onResume: () => assert.fail('asked') });
  disconnect.close();
});

/** A channel and a port of a page that can be frozen. */
function frozenPage(): { channel: ChannelLike; relay: ChannelLike; heard: unknown[]; thaw: () => void; closed: string[] } {
  const heard: unknown[] = [];
  const closed: string[] = [];
  const waiting: (() => void)[] = [];
  const channel: ChannelLike = { onmessage: null, postMessage: (message) => heard.push(`posted ${String(message)}`), close: () => closed.push('channel') };
  const port1 = { onmessage: null as (() => void) | null, close: () => closed.push('port') };
  const port2 = { postMessage: () => waiting.push(() => port1.onmessage?.()) };
  const relay = relayed(channel, () => ({ port1, port2 }) as unknown as MessageChannel);
  relay.onmessage = ({ data }) => heard.push(data);
  const thaw = (): void => {
    for (const wake of waiting.splice(0)) wake();
  };
  return { channel, relay, heard, thaw, closed };
}

test('a page that stands still hears what it was told when it goes on, in order', () => {
  const { channel, relay, heard, thaw, closed } = frozenPage();
  for (const data of [1, 2, 3]) channel.onmessage?.({ data });
  assert.deepEqual(heard, []);
  thaw();
  assert.deepEqual(heard, [1, 2, 3]);
  channel.onmessage?.({ data: 4 });
  thaw();
  relay.postMessage('out');
  assert.deepEqual(heard, [1, 2, 3, 4, 'posted out']);
  relay.close();
  assert.deepEqual(closed, ['channel', 'port']);
});

test('a page that stands still for long keeps the newest messages', () => {
  const { channel, heard, thaw } = frozenPage();
  for (let data = 0; data < WAITING + 5; data += 1) channel.onmessage?.({ data });
  thaw();
  assert.equal(heard.length, WAITING);
  assert.deepEqual([heard[0], heard.at(-1)], [5, WAITING + 4]);
});

test('a message that cannot be taken after standing still does not take the others with it', (t) => {
  const reported: unknown[] = [];
  t.mock.method(console, 'error', (error: unknown) => reported.push(error));
  const { channel, relay, thaw } = frozenPage();
  const heard: unknown[] = [];
  relay.onmessage = ({ data }) => {
    if (data === 2) throw new Error('damaged');
    heard.push(data);
  };
  for (const data of [1, 2, 3]) channel.onmessage?.({ data });
  thaw();
  assert.deepEqual(heard, [1, 3]);
  assert.deepEqual(reported.map(String), ['Error: damaged']);
});
