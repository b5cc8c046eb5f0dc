import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { RawCollection, RawDatabase, RawHandle, RawLive, RawModule, RawStorage, RawSync, RawTransaction } from '../dist/face.js';
import { loadModule } from '../dist/raw.js';

// A name that is missing here, or that the face does not have, is an error of types.
type Names<C> = Record<keyof C, true>;

const classes: {
  RawStorage: Names<RawStorage>;
  RawDatabase: Names<RawDatabase>;
  RawCollection: Names<RawCollection>;
  RawTransaction: Names<RawTransaction>;
  RawHandle: Names<RawHandle>;
  RawLive: Names<RawLive>;
  RawSync: Names<RawSync>;
} = {
  RawStorage: { free: true },
  RawDatabase: {
    name: true,
    sharedAs: true,
    clientId: true,
    schemaVersion: true,
    collection: true,
    createCollection: true,
    hasCollection: true,
    listCollections: true,
    deleteCollection: true,
    transaction: true,
    changes: true,
    stats: true,
    expire: true,
    close: true,
    committed: true,
    committedElsewhere: true,
    catchUp: true,
    journalList: true,
    journalGet: true,
    journalExplain: true,
    journalRestore: true,
    journalDismiss: true,
    persistence: true,
    requestPersistence: true,
    free: true,
  },
  RawCollection: {
    name: true,
    insert: true,
    insertMany: true,
    upsert: true,
    upsertMany: true,
    get: true,
    getMany: true,
    update: true,
    delete: true,
    deleteMany: true,
    hardDelete: true,
    clear: true,
    find: true,
    page: true,
    count: true,
    explain: true,
    changes: true,
    observeById: true,
    live: true,
    liveCount: true,
    createIndex: true,
    dropIndex: true,
    indexes: true,
    free: true,
  },
  RawTransaction: { get: true, insert: true, upsert: true, update: true, delete: true, hardDelete: true, commit: true, free: true },
  RawHandle: { close: true, free: true },
  RawLive: { close: true, free: true, refresh: true },
  RawSync: {
    start: true,
    stop: true,
    destroy: true,
    forceSync: true,
    push: true,
    pull: true,
    setAuthToken: true,
    watch: true,
    snapshot: true,
    conflicts: true,
    pendingChanges: true,
    checkpoint: true,
    detach: true,
    wipe: true,
    free: true,
  },
};

const statics = { RawStorage: ['memory', 'indexedDb'], RawDatabase: ['open'] } as const satisfies Partial<
  Record<keyof RawModule, readonly string[]>
>;

test('the WebAssembly has the face that the packages rely on', async () => {
  const module = (await loadModule()) as unknown as Record<string, { prototype: object } | undefined>;
  const missing: string[] = [];
  for (const [name, members] of Object.entries(classes)) {
    const prototype = module[name]?.prototype;
    for (const member of Object.keys(members)) if (prototype === undefined || !(member in prototype)) missing.push(`${name}.${member}`);
  }
  for (const [name, members] of Object.entries(statics)) {
    for (const member of members) if (!(member in (module[name] ?? {}))) missing.push(`${name}::${member}`);
  }
  assert.deepEqual(missing, []);
});
