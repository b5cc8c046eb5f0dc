// The face of the WebAssembly, which `cargo xtask web` puts into `dist/wasm/`. It is written by hand: the module must have
// what stands here, and `test/face.test.ts` fails where it has not. Bytes are MessagePack by `docs/values.md` unless said
// otherwise. A ROW is the array [id, rev, updatedAt (ms), body], ROWS is an array of rows with nil for a hole. Whatever
// fails throws, or rejects with, an `Error` that has `code`.

export type Bytes = Uint8Array;
/** Ends a subscription. `free()` does the same. */
export interface RawHandle { close(): void; free(): void }

/** Where a database lies: built synchronously, opened by RawDatabase.open. */
export interface RawStorage {
  free(): void;
}

export interface RawDatabase {
  readonly name: string; readonly clientId: string; readonly schemaVersion: number; readonly sharedAs?: string;
  collection(name: string): RawCollection;            // throws collection-not-found
  createCollection(config: string, rules?: unknown): Promise<void>;  // JSON and rules as in open
  hasCollection(name: string): boolean;
  listCollections(): string;                           // JSON array of configs
  deleteCollection(name: string): Promise<number>;
  transaction(): RawTransaction;
  changes(listener: (event: Bytes) => void): RawHandle;   // see CHANGE
  stats(): Promise<string>;                            // JSON { sequence, pendingChanges, openConflicts, collections, liveQueries }
  expire(): Promise<number>;                           // how many were deleted
  close(): Promise<void>;
  // tabs
  committed(listener: (message: Bytes) => void): RawHandle;  // what this handle committed, opaque, for the others
  committedElsewhere(message: Bytes): Promise<void>;
  catchUp(): Promise<void>;                            // read again what others committed
  // journal
  journalList(options: string): Promise<Bytes>;        // options JSON { after?, limit?, kind?, collection?, state? }; array of ENTRY
  journalGet(number: number): Promise<Bytes>;          // ENTRY
  journalExplain(number: number): Promise<Bytes>;      // map with base, local, remote, decidedBy, rule, winner, …
  journalRestore(number: number): Promise<Bytes>;      // ROWS
  journalDismiss(number: number): Promise<void>;
  persistence(): Promise<string>;                      // IndexedDB: 'persistent' | 'best-effort' | 'unknown'
  requestPersistence(): Promise<string>;
  free(): void;
}
// CHANGE = map { collection, operation: 'insert'|'update'|'delete', documentId, document: body|nil, previousDocument: body|nil, isFromSync, timestamp: int ms, sequence }
//        | map { lagged: { from, to } }
// ENTRY  = map { number, kind, state, collection, documentId, …, versions with bodies } (camelCase of JournalEntry's public fields; packages passes it on)

export interface RawCollection {
  readonly name: string;
  insert(document: Bytes): Promise<Bytes>;             // document: map, `_id` inside or not; answer ROW
  insertMany(documents: Bytes): Promise<Bytes>;        // array of maps; ROWS
  upsert(document: Bytes): Promise<Bytes>; upsertMany(documents: Bytes): Promise<Bytes>;
  get(id: string): Promise<Bytes | undefined>;         // ROW
  getMany(ids: string[]): Promise<Bytes>;              // ROWS with holes
  update(id: string, patch: Bytes): Promise<Bytes>;    // ROW
  delete(id: string): Promise<void>; deleteMany(ids: string[]): Promise<void>; hardDelete(id: string): Promise<void>;
  clear(): Promise<number>;
  /** query: map { filter?, sort?: [[path, 'asc'|'desc']…], skip?, limit?, after?, before?, include?, exclude? } (QuerySpec's form). */
  find(query: Bytes): Promise<Bytes>;                  // ROWS
  page(query: Bytes): Promise<Bytes>;                  // map { rows: ROWS, start?, end? cursors as str, hasMore… as core's Page has it }
  count(query: Bytes): Promise<number>;
  explain(query: Bytes, analyze: boolean): Promise<string>;   // JSON
  changes(listener: (event: Bytes) => void): RawHandle;
  observeById(id: string, listener: (row: Bytes | undefined) => void, error: (error: Error) => void): RawHandle;
  /** step: map { sequence, changes: [[kind 'r'|'m'|'u'|'i', at, to|nil, ROW|nil]…] }, to be applied in order to the list before, which is empty at first. */
  live(query: Bytes, debounceMs: number, step: (step: Bytes) => void, error: (error: Error) => void): RawLive;
  liveCount(query: Bytes, debounceMs: number, value: (count: number) => void, error: (error: Error) => void): RawLive;
  createIndex(config: string): Promise<void>;          // JSON { name?, fields: [path | {field, order}], unique?, sparse?, filter? }
  dropIndex(name: string): Promise<void>;
  indexes(): string;                                   // JSON
  free(): void;
}
export interface RawLive extends RawHandle { refresh(): void }

/** Everything but `free` fails after `commit`; the memory goes with `free`, also then. */
export interface RawTransaction {
  get(collection: string, id: string): Promise<Bytes | undefined>;
  insert(collection: string, document: Bytes): string;  // the id
  upsert(collection: string, document: Bytes): string;
  update(collection: string, id: string, patch: Bytes): void;
  delete(collection: string, id: string): void;
  hardDelete(collection: string, id: string): void;
  commit(): Promise<void>;
  free(): void;
}

export interface RawSync {
  start(): Promise<void>; stop(): Promise<void>; destroy(): Promise<void>;
  forceSync(): Promise<void>; push(): Promise<void>; pull(): Promise<void>;
  setAuthToken(token: string | undefined): Promise<void>;
  /** Newest snapshot at once and at each change: JSON { status, stats: {…, lastSyncAt, lastError: {code, message} | null}, progress }. */
  watch(listener: (snapshot: string) => void): RawHandle;
  snapshot(): string;
  conflicts(listener: (entry: Bytes) => void): RawHandle;   // ENTRY
  pendingChanges(): Promise<number>;
  checkpoint(): Promise<string>;                         // JSON
  detach(): Promise<number>; wipe(): Promise<string>;
  free(): void;
}

/** The module itself: its classes and functions. */
export interface RawModule {
  readonly RawStorage: {
    memory(): RawStorage;
    /** options: JSON {"prefix"?: string, "durability"?: "strict"|"relaxed"} */
    indexedDb(options: string): RawStorage;
  };
  readonly RawDatabase: {
    /**
     * options: JSON { name, collections: [{ name, sync?, indexes?, conflictStrategy?, ttl? }], schemaVersion?, limits?,
     * acceptUnknownCollections?, durability? }. migrations: array of { version, collection, migrate(body bytes, id) ->
     * bytes | null | undefined }, may be undefined. rules: { [collection]: (body bytes, id) -> text | undefined },
     * which has a JSON pointer and a message for each violation, with NULs between them; may be undefined.
     */
    open(options: string, storage: RawStorage, migrations?: unknown, rules?: unknown): Promise<RawDatabase>;
  };
  readonly RawSync: {
    /**
     * options: JSON of SyncConfig (snake_case names of the Rust options). hooks: { token?(reason: string): string |
     * Promise<string>, resolve?: { '*'?: fn, [collection]: fn } }, fn(conflict: Bytes) -> Bytes | Promise<Bytes>;
     * conflict = map { collection, documentId, localDocument, remoteDocument, baseDocument, timestamp }, answer = map
     * { resolution: 'local'|'remote'|'merged'|'deleted'|'document', document?, because? }
     */
    new (database: RawDatabase, options: string, hooks: unknown): RawSync;
  };
  version(): string;
}
