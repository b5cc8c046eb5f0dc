import { changeEvents } from './changes.js';
import { collectionName, optionArray, optionJson, optionObject, text } from './check.js';
import { Collection, indexJson } from './collection.js';
import { CollectionCore } from './collection-core.js';
import { decode } from './decode.js';
import { encode } from './encode.js';
import { PocketError, calling, isPocketError, report, settled } from './error.js';
import { Journal } from './journal.js';
import type { Events } from './observable.js';
import type { RawDatabase } from './raw.js';
import { loadModule } from './raw.js';
import type { Shapes } from './shape.js';
import { checkShape } from './shape.js';
import type { Storage } from './storage.js';
import { openStorage } from './storage.js';
import type { TabsConnection } from './tabs.js';
import { connectTabs, pageEnvironment } from './tabs.js';
import { Transaction } from './transaction.js';
import type { AnyDocument, Change, CollectionConfig, Stored, TtlConfig } from './types.js';

/** How large documents and messages may be. */
export interface Limits {
  /** Bytes of one document; 1 MiB unless set, 16 MiB at the most. */
  readonly documentBytes?: number;
  /** Levels of arrays and maps in a document; 32 unless set, 100 at the most. */
  readonly documentDepth?: number;
  /** Values in a document; 65,536 unless set. */
  readonly documentNodes?: number;
  /** Bytes of one message of sync; 4 MiB unless set, 64 MiB at the most, and at least two documents. */
  readonly messageBytes?: number;
}

/** What becomes of the documents of a collection when the application's schema gets this version. */
export interface MigrationConfig {
  /** The version it leads to, from the one before; versions begin at 1, so the first migration is that to 2. */
  readonly version: number;
  /** The collection. */
  readonly collection: string;
  /**
   * The document in its new shape; null deletes it, `undefined` leaves it as it is.
   *
   * It must give the same answer whenever it gets the same document, and recognise one that has the new shape: it runs
   * once to see whether all can be migrated and again to do it, on every device. What it throws stops the migration.
   */
  migrate(document: Stored<AnyDocument>): object | null | undefined;
}

/** How a database is opened. */
export interface DatabaseOptions {
  /** Its name: each name is a database of its own. */
  readonly name: string;
  /** Where it lies: `createIndexedDBStorage()` or `createMemoryStorage()`. */
  readonly storage: Storage;
  /** The collections it has. Others that were made before stay. */
  readonly collections?: readonly CollectionConfig[];
  /** The version of the application's schema; 1 unless set. */
  readonly schemaVersion?: number;
  /** What leads from older versions of the schema to this one. */
  readonly migrations?: readonly MigrationConfig[];
  /** How large documents and messages may be. */
  readonly limits?: Limits;
  /** Whether a document of an unknown collection that sync brings makes that collection; true unless set. */
  readonly acceptUnknownCollections?: boolean;
  /**
   * When a write counts as done. `strict`, unless set: once it survives a loss of power. `relaxed`: once it survives a crash of
   * the program. Storage that cannot tell them apart does what it can.
   */
  readonly durability?: 'strict' | 'relaxed';
  /**
   * Where the engine, `pocket_web_bg.wasm`, is loaded from; as a text, relative to the page. Beside the package's own script
   * unless set, which bundlers see by themselves. It counts for the first database of a page, which loads it for all.
   */
  readonly wasmUrl?: string | URL;
}

const OPTIONS: Shapes<DatabaseOptions> = {
  name: 'text',
  storage: 'any',
  collections: 'any',
  schemaVersion: 'count',
  migrations: 'any',
  limits: 'any',
  acceptUnknownCollections: 'flag',
  durability: ['strict', 'relaxed'],
  wasmUrl: 'any',
};

const LIMITS: Shapes<Limits> = { documentBytes: 'count', documentDepth: 'count', documentNodes: 'count', messageBytes: 'count' };

const COLLECTION_OPTIONS: Shapes<CollectionConfig> = {
  name: 'text',
  sync: 'flag',
  conflictStrategy: ['last-write-wins', 'server-wins', 'client-wins', 'merge', 'custom'],
  indexes: 'any',
  ttl: 'any',
};

const MIGRATION: Shapes<MigrationConfig> = { version: 'count', collection: 'text', migrate: 'any' };

const TTL: Shapes<TtlConfig> = { field: 'text', afterMs: 'whole' };

/** What a database has and does at the moment. */
export interface DatabaseStats {
  /** The last local commit. */
  readonly sequence: number;
  /** Mutations that no server has settled yet. */
  readonly pendingChanges: number;
  /** Entries of the journal that nobody has looked after. */
  readonly openConflicts: number;
  /** How many collections there are. */
  readonly collections: number;
  /** Live queries and observed documents of this tab that are not closed. */
  readonly liveQueries: number;
}

/**
 * Whether the browser may remove the data of this site when the disk is nearly full: `persistent`: only the user can;
 * `best-effort`: it may; `unknown`: it cannot be told, or the storage has no such question.
 */
export type Persistence = 'persistent' | 'best-effort' | 'unknown';

/** How often a transaction runs again when somebody else was faster. */
const TRANSACTION_ATTEMPTS = 16;

function collectionJson(config: CollectionConfig): Record<string, unknown> {
  optionObject(config, 'a collection');
  const what = `the collection \`${config.name}\``;
  checkShape(what, config, COLLECTION_OPTIONS);
  const { indexes, ttl, ...rest } = config;
  if (ttl !== undefined) {
    optionObject(ttl, `\`ttl\` of ${what}`);
    checkShape(what, ttl, TTL, 'ttl.');
    if ((ttl.afterMs as unknown) === undefined) throw new PocketError('config', `\`ttl.afterMs\` of ${what} is missing`, { path: 'ttl.afterMs' });
  }
  if (indexes !== undefined) optionArray(indexes, '`indexes`');
  return { ...rest, ttl, indexes: indexes?.map(indexJson) };
}

function rawMigration(config: MigrationConfig): object {
  optionObject(config, 'a migration');
  checkShape('a migration', config, MIGRATION, 'migrations.');
  const { version, collection, migrate } = config;
  if ((collection as unknown) === undefined) throw new PocketError('config', '`collection` of a migration is missing', { path: 'migrations.collection' });
  if (typeof migrate !== 'function') throw new PocketError('config', '`migrate` of a migration is a function', { path: 'migrations' });
  return {
    version,
    collection,
    migrate: (bytes: Uint8Array, id: string): Uint8Array | null | undefined => {
      const answer = migrate({ _id: id, ...(decode(bytes) as object) });
      return answer === null || answer === undefined ? answer : encode(answer);
    },
  };
}

/** What the packages of Pocket know of a database beside what is public. */
export interface DatabaseInternals {
  /** The database of the WebAssembly. */
  readonly raw: RawDatabase;
  /** The name under which other tabs see the same data; `undefined` when nobody else sees it. */
  readonly sharedAs: string | undefined;
  /** Something that must end before the database closes; what is given back forgets it. */
  closing(close: () => Promise<void>): () => void;
}

const opened = new WeakMap<Database, DatabaseInternals>();

/** What is not public of a database. */
export function internals(database: Database): DatabaseInternals {
  const found = opened.get(database);
  if (found === undefined) throw new PocketError('config', 'this is no database of this copy of @pocket/core');
  return found;
}

/** A database on this device. */
export class Database {
  readonly #raw: RawDatabase;
  readonly #collections = new Map<string, { readonly core: CollectionCore; readonly collection: Collection<object> }>();
  readonly #events = new Set<() => void>();
  readonly #changes: Events<Change<AnyDocument>>;
  readonly #closing = new Set<() => Promise<void>>();
  readonly #tabs: TabsConnection | undefined;
  #closed: Promise<void> | undefined;
  /** What conflicts and refusals left. */
  readonly journal: Journal;
  /** Its name. */
  readonly name: string;
  /** Who this device is to the server; a copy of the database gets another one. */
  readonly clientId: string;

  private constructor(raw: RawDatabase, sharedAs: string | undefined) {
    this.#raw = raw;
    this.name = raw.name;
    this.clientId = raw.clientId;
    this.journal = new Journal(() => this.#open());
    this.#changes = changeEvents(
      (listener) => this.#open().changes(listener),
      (close) => {
        this.#events.add(close);
        return () => this.#events.delete(close);
      },
    );
    opened.set(this, { raw, sharedAs, closing: (close) => (this.#closing.add(close), () => this.#closing.delete(close)) });
    const tabs = {
      committed: (listener: (message: Uint8Array) => void) => {
        const handle = raw.committed(listener);
        return () => (handle.close(), handle.free());
      },
      committedElsewhere: (message: Uint8Array) => raw.committedElsewhere(message),
      catchUp: () => raw.catchUp(),
    };
    this.#tabs = sharedAs === undefined ? undefined : connectTabs(`pocket:${sharedAs}`, tabs, pageEnvironment);
  }

  /**
   * Opens a database, or makes it.
   *
   * Rejects with `config` (an unknown, wrong or contradictory option, by name), `bad-collection-name`, `storage` (with why the
   * browser does not let it), `storage-full`, `newer-format` (made by a later version), `migration`, `corrupt`.
   */
  static async create(options: DatabaseOptions): Promise<Database> {
    optionObject(options, 'what `Database.create` takes');
    checkShape('`Database.create`', options, OPTIONS);
    if (text(options.name, '`name`', 'config') === '') throw new PocketError('config', '`name` is empty', { path: 'name' });
    const { storage, migrations, collections, wasmUrl, ...rest } = options;
    if (typeof (storage as Storage | undefined)?.[openStorage] !== 'function') {
      throw new PocketError('config', '`storage` is missing; make one by createIndexedDBStorage() or createMemoryStorage()', { path: 'storage' });
    }
    if (collections !== undefined) optionArray(collections, '`collections`');
    if (migrations !== undefined) optionArray(migrations, '`migrations`');
    if (rest.limits !== undefined) {
      optionObject(rest.limits, '`limits`');
      checkShape('`Database.create`', rest.limits, LIMITS, 'limits.');
    }
    if (wasmUrl !== undefined && typeof wasmUrl !== 'string' && !(wasmUrl instanceof URL)) {
      throw new PocketError('config', '`wasmUrl` is text or a URL', { path: 'wasmUrl' });
    }
    const json = optionJson({ ...rest, collections: (collections ?? []).map(collectionJson) });
    const steps = migrations?.map(rawMigration);
    const raw = await settled(async () => {
      const module = await loadModule(wasmUrl);
      return module.RawDatabase.open(json, storage[openStorage](module), steps);
    });
    if (storage.persist) void raw.requestPersistence().catch(() => undefined);
    return new Database(raw, storage.sharedAs(options.name));
  }

  /** The version of the application's schema. */
  get schemaVersion(): number {
    return calling(() => this.#open().schemaVersion);
  }

  /** Whether it was closed. */
  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /**
   * A collection; always the same object for a name. `T` is what its documents look like.
   *
   * @throws PocketError `collection-not-found` (name it in `collections`, or make it by `createCollection`), `closed`.
   */
  collection<T extends object = AnyDocument>(name: string): Collection<T> {
    const raw = this.#open();
    let known = this.#collections.get(name);
    if (known === undefined) {
      const core = new CollectionCore(calling(() => raw.collection(collectionName(name))));
      known = { core, collection: new Collection<object>(core) };
      this.#collections.set(name, known);
    }
    return known.collection as unknown as Collection<T>;
  }

  /** Whether there is a collection of this name. */
  hasCollection(name: string): boolean {
    return calling(() => this.#open().hasCollection(collectionName(name)));
  }

  /** The settings of all collections. */
  listCollections(): CollectionConfig[] {
    return JSON.parse(calling(() => this.#open().listCollections())) as CollectionConfig[];
  }

  /** Makes a collection, or changes its settings. Rejects with `config`, `bad-collection-name`. */
  createCollection(config: CollectionConfig): Promise<void> {
    return settled(() => this.#open().createCollection(optionJson(collectionJson(config))));
  }

  /** Deletes the documents of a collection, then forgets it; says how many there were. Rejects with `collection-not-found`. */
  async deleteCollection(name: string): Promise<number> {
    const count = await settled(() => this.#open().deleteCollection(collectionName(name)));
    this.#collections.get(name)?.core.close(new PocketError('collection-not-found', `the collection \`${name}\` was deleted`));
    this.#collections.delete(name);
    return count;
  }

  /**
   * Makes all changes of a function take effect together, or none of them; answers what the function does.
   *
   * What the function throws ends it without a write. If a document that was read in it is changed by somebody else
   * meanwhile, the function *runs again*, so it should do nothing but read and write in the transaction. Rejects with
   * `transaction-too-large` (1,000 changes, half a message), `transaction-conflict` after 16 attempts, and what the writes
   * reject with.
   */
  async transaction<R>(run: (transaction: Transaction) => R | PromiseLike<R>): Promise<R> {
    for (let attempt = 1; ; attempt += 1) {
      const transaction = new Transaction(calling(() => this.#open().transaction()));
      try {
        const answer = await run(transaction);
        await transaction.commit();
        return answer;
      } catch (error) {
        if (!isPocketError(error, 'transaction-conflict') || attempt >= TRANSACTION_ATTEMPTS) throw error;
      } finally {
        transaction.abandon();
      }
    }
  }

  /** Each change of a document in any collection, in the order of commits; see {@link Collection.changes}. */
  changes(): Events<Change<AnyDocument>> {
    return this.#changes;
  }

  /** What it has and does at the moment. */
  async stats(): Promise<DatabaseStats> {
    return JSON.parse(await settled(() => this.#open().stats())) as DatabaseStats;
  }

  /** Whether the browser may remove its data. */
  async persistence(): Promise<Persistence> {
    return (await settled(() => this.#open().persistence())) as Persistence;
  }

  /** Asks the browser to keep its data, and says what it answered; some browsers ask the user. */
  async requestPersistence(): Promise<Persistence> {
    return (await settled(() => this.#open().requestPersistence())) as Persistence;
  }

  /** Closes it: live queries end, sync stops in this tab, and everything else fails with `closed`. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    // What does not end as it should does not keep the database from closing.
    for (const close of [...this.#closing]) await close().catch(report);
    this.#closing.clear();
    this.#tabs?.stopHearing();
    for (const close of [...this.#events]) close();
    for (const { core } of this.#collections.values()) core.close();
    this.#collections.clear();
    try {
      await settled(() => this.#raw.close());
      // Writes that were under way are committed now, but their listener is called in a task of its own.
      if (this.#tabs !== undefined) await new Promise((resolve) => setTimeout(resolve));
    } finally {
      this.#tabs?.close();
      this.#raw.free();
    }
  }

  #open(): RawDatabase {
    if (this.#closed !== undefined) throw new PocketError('closed', `the database \`${this.name}\` is closed`);
    return this.#raw;
  }
}
