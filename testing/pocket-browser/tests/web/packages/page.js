// What the scripts of the tests use: everything the packages export, and a database with a sync engine.
import * as core from '@pocket/core';
import { createIndexedDBStorage } from '@pocket/storage-indexeddb';
import { createMemoryStorage } from '@pocket/storage-memory';
import { createSyncEngine } from '@pocket/sync';

Object.assign(globalThis, core, { createIndexedDBStorage, createMemoryStorage, createSyncEngine });

// Opens `db` with the collection `notes`; more options are those of `Database.create`.
globalThis.open = async (options = {}) => {
  globalThis.db = await core.Database.create({
    name: 'app',
    storage: createIndexedDBStorage(),
    collections: [{ name: 'notes', sync: true }],
    ...options,
  });
  globalThis.notes = db.collection('notes');
};

// Starts `sync`, and keeps every status and number of statistics that it tells.
globalThis.start = async (serverUrl, authToken, options = {}) => {
  globalThis.sync = createSyncEngine(db, { serverUrl, authToken, retryDelay: 20, maxRetryAttempts: 2, ...options });
  globalThis.statuses = [];
  sync.getStatus().subscribe((status) => statuses.push(status));
  await sync.start();
};

globalThis.current = () => sync.getStatus().getSnapshot();
globalThis.stats = () => sync.getStats().getSnapshot();

// `ok`, or the code that a promise rejects with; anything without a code is a mistake.
globalThis.codeOf = async (promise) => {
  try {
    await promise;
    return 'ok';
  } catch (error) {
    if (!(error instanceof core.PocketError) || !(error instanceof Error) || error.message === '') throw error;
    return error.code;
  }
};

// The documents of a collection in JSON, as the command line and the core write them.
globalThis.exported = async (collection) => (await collection.getAll()).map(plain);

const plain = (value) => {
  if (value instanceof Date) return { $date: value.toISOString() };
  if (value instanceof Uint8Array) return { $binary: btoa(String.fromCharCode(...value)) };
  if (typeof value === 'bigint') return { bigint: String(value) };
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
};

document.title = 'ready';
