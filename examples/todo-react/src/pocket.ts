// The database of this device, and the engine that syncs it.

import { Database } from '@pocket/core';
import { createIndexedDBStorage } from '@pocket/storage-indexeddb';
import { createMemoryStorage } from '@pocket/storage-memory';
import { createSyncEngine } from '@pocket/sync';
import type { SyncEngine, SyncStats } from '@pocket/sync';

import { openOnce } from './openOnce';
import type { Collections } from './todos';

/** Where the list is kept: in the browser's storage, or in this window only. */
export type Keeping = 'stored' | 'window';

export interface Pocket {
  readonly database: Database<Collections>;
  readonly sync: SyncEngine;
  readonly keeping: Keeping;
  close(): Promise<void>;
}

/** The server is where the page comes from; `VITE_SYNC_URL` names another one at build time. */
function serverUrl(): string {
  const { protocol, host } = window.location;
  return import.meta.env.VITE_SYNC_URL ?? `${protocol === 'https:' ? 'wss' : 'ws'}://${host}/sync`;
}

/** Whether another window has taken over the connection. */
export function isReplaced(stats: SyncStats): boolean {
  return stats.lastError?.code === 'replaced';
}

async function open(keeping: Keeping): Promise<Pocket> {
  const storage = keeping === 'stored' ? createIndexedDBStorage() : createMemoryStorage();
  const database = await Database.create<Collections>({
    name: 'todo',
    storage,
    collections: [{ name: 'todos', sync: true, indexes: [{ fields: ['position'] }] }],
  });
  // Field by field: one device may change the title while another one ticks it off.
  const sync = createSyncEngine(database, { serverUrl: serverUrl(), conflictStrategy: 'merge' });
  const start = (): void => {
    // It does not need the server: without one it is offline. What goes wrong is in its stats, where the page reads it.
    sync.start().catch(() => undefined);
  };
  start();
  const onFocus = (): void => {
    // Where windows cannot agree on one that syncs (by plain HTTP from another machine browsers have no locks), it is the one
    // that is looked at.
    if (isReplaced(sync.getStats().getSnapshot())) void sync.stop().then(start, start);
    // Another window may have stopped it for all, to leave a server. Where it runs, this does nothing.
    else start();
  };
  window.addEventListener('focus', onFocus);
  const close = (): Promise<void> => {
    window.removeEventListener('focus', onFocus);
    // It ends the sync of this window, too.
    return database.close();
  };
  return { database, sync, keeping, close };
}

/** Opens the database once, however often a component asks; where the list is kept somewhere else, what was open is closed. */
export const openPocket = openOnce(open, reportError);
