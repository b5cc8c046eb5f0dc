import assert from 'node:assert/strict';
import { test } from 'node:test';

import { window } from './dom.js';
import { end, items, show } from './app.js';
import type { Observable } from '@pocket/core';
import { useOnlineStatus, useSync, useSyncStats, useSyncStatus } from '@pocket/react';
import type { SyncEngine, SyncStats, SyncStatus } from '@pocket/sync';
import { act } from '@testing-library/react';
import type { ReactElement } from 'react';

/** Something that can be watched and set. */
class Value<T> implements Observable<T> {
  #listeners: ((value: T) => void)[] = [];
  constructor(public value: T) {}

  set(value: T): void {
    this.value = value;
    for (const listener of this.#listeners) listener(value);
  }

  getSnapshot(): T {
    return this.value;
  }

  subscribe(next: (value: T) => void): { unsubscribe(): void } {
    this.#listeners = [...this.#listeners, next];
    next(this.value);
    return { unsubscribe: () => (this.#listeners = this.#listeners.filter((other) => other !== next)) };
  }

  get watchers(): number {
    return this.#listeners.length;
  }
}

function engine(): { sync: SyncEngine; status: Value<SyncStatus>; stats: Value<SyncStats>; calls: string[] } {
  const status = new Value<SyncStatus>('offline');
  const stats = new Value({ pushCount: 0 } as SyncStats);
  const [progress, isLeader] = [new Value({ pushLeft: 0 }), new Value(true)];
  const calls: string[] = [];
  const call = (name: string) => () => {
    calls.push(name);
    return Promise.resolve();
  };
  const sync = {
    getStatus: () => status,
    getStats: () => stats,
    getProgress: () => progress,
    isLeader,
    ...Object.fromEntries(['start', 'stop', 'forceSync', 'push', 'pull'].map((name) => [name, call(name)])),
  };
  return { sync: sync as unknown as SyncEngine, status, stats, calls };
}

test('the status renders when it changes, and only then', async () => {
  const db = await items();
  const { sync, status, stats } = engine();
  let renders = 0;
  const Badge = (): ReactElement => {
    renders += 1;
    return <p>{useSyncStatus()}</p>;
  };
  const app = await show(db, <Badge />, { sync });
  assert.deepEqual([app.text(), renders], ['offline', 1]);
  await act(() => status.set('syncing'));
  await act(() => status.set('syncing'));
  await act(() => stats.set({ pushCount: 1 } as SyncStats));
  assert.deepEqual([app.text(), renders], ['syncing', 2]);
  app.unmount();
  assert.equal(status.watchers, 0);
  await end(db);
});

test('useSync gives everything, and controls that stay the same', async () => {
  const db = await items();
  const { sync, stats, calls } = engine();
  const seen: ReturnType<typeof useSync>[] = [];
  const Panel = (): ReactElement => {
    const all = useSync();
    seen.push(all);
    return <p>{`${all.status} ${all.stats?.pushCount} ${all.isLeader} ${useSyncStats()?.pushCount}`}</p>;
  };
  const app = await show(db, <Panel />, { sync, strict: true });
  await act(() => stats.set({ pushCount: 3 } as SyncStats));
  assert.equal(app.text(), 'offline 3 true 3');
  const [first, last] = [seen[0], seen.at(-1)];
  assert.ok(first !== undefined && last !== undefined);
  for (const name of ['start', 'stop', 'forceSync', 'push', 'pull'] as const) await last[name]();
  assert.deepEqual(calls, ['start', 'stop', 'forceSync', 'push', 'pull']);
  await app.show(<Panel />);
  assert.equal(seen.at(-1)?.forceSync, last.forceSync);
  await end(db);
});

test('without an engine sync is offline, and its controls say what is missing', async () => {
  const db = await items();
  let control: () => Promise<void> = () => assert.fail('not mounted');
  const Panel = (): ReactElement => {
    const all = useSync();
    control = all.forceSync;
    return <p>{`${all.status} ${String(all.stats)} ${String(all.engine)}`}</p>;
  };
  const app = await show(db, <Panel />);
  assert.equal(app.text(), 'offline null null');
  await assert.rejects(control(), /no `sync`/);
  await end(db);
});

test('the online status follows the browser', async () => {
  const db = await items();
  const Badge = (): ReactElement => <p>{useOnlineStatus() ? 'online' : 'offline'}</p>;
  const app = await show(db, <Badge />);
  assert.equal(app.text(), 'online');
  const say = (online: boolean): void => {
    Object.defineProperty(window.navigator, 'onLine', { value: online, configurable: true });
    window.dispatchEvent(new window.Event(online ? 'online' : 'offline'));
  };
  await act(() => say(false));
  assert.equal(app.text(), 'offline');
  await act(() => say(true));
  assert.equal(app.text(), 'online');
  await end(db);
});
