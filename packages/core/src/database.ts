import { changeEvents } from './changes.js';
import { collectionName, kindOf, noFurther, optionArray, optionJson, optionObject } from './check.js';
import { Collection } from './collection.js';
import { CollectionCore } from './collection-core.js';
import { PocketError, calling, isPocketError, report, settled } from './error.js';
import { Journal } from './journal.js';
import { Line } from './line.js';
import type { Events } from './observable.js';
import type { RawDatabase } from './raw.js';
import { loadModule } from './raw.js';
import type { Limits, MigrationConfig } from './settings.js';
import { checkLimits, checkVersions, collectionJson, rawMigration, rawRules } from './settings.js';
import type { Shapes } from './shape.js';
import { checkShape } from './shape.js';
import type { Storage } from './storage.js';
import { openStorage } from './storage.js';
import type { TabsConnection } from './tabs.js';
import { connectTabs, pageEnvironment } from './tabs.js';
import { Transaction } from './transaction.js';
import type { AnyCollections, AnyDocument, Change, CollectionConfig, CollectionConfigOf, DocumentOf, TypedName } from './types.js';

/** How a database is opened. */
export interface DatabaseOptions<C extends object = AnyCollections> {
  /** Its name: each name is a database of its own. */
  readonly name: string;
  /** Where it lies: `createIndexedDBStorage()` or `createMemoryStorage()`. */
  readonly storage: Storage;
  /** The collections it has. Others that were made before stay. */
  readonly collections?: readonly CollectionConfigOf<C>[] | undefined;
  /** The version of the application's schema; 1 unless set. An older database needs the migrations that lead to it. */
  readonly schemaVersion?: number | undefined;
  /** What leads from older versions of the schema to this one. */
  readonly migrations?: readonly MigrationConfig[] | undefined;
  /** How large documents and messages may be. */
  readonly limits?: Limits | undefined;
  /** Whether a document of an unknown collection that sync brings makes that collection; true unless set. */
  readonly acceptUnknownCollections?: boolean | undefined;
  /**
   * When a write counts as done. `strict`, unless set: once it survives a loss of power. `relaxed`: once it survives a crash of
   * the program. Storage that cannot tell them apart does what it can.
   */
  readonly durability?: 'strict' | 'relaxed' | undefined;
  /**
   * Where the engine, `pocket_web_bg.wasm`, is loaded from; as a text, relative to the page. Beside the package's own script
   * unless set, which bundlers see by themselves. It counts for the first database of a page, which loads it for all.
   */
  readonly wasmUrl?: string | URL | undefined;
}

const OPTIONS: Shapes<DatabaseOptions<any>> = {
  name: 'text',
  storage: 'any',
  collections: 'any',
  schemaVersion: 'some',
  migrations: 'any',
  limits: 'any',
  acceptUnknownCollections: 'flag',
  durability: ['strict', 'relaxed'],
  wasmUrl: 'any',
};

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

/** How often a transaction runs when somebody else was faster. */
const TRANSACTION_ATTEMPTS = 16;

/** What the packages of Pocket know of a database beside what is public. */
export interface DatabaseInternals {
  /** The database of the WebAssembly. */
  readonly raw: RawDatabase;
  /** The migrations it was opened with. */
  readonly migrations: readonly MigrationConfig[];
  /** The name under which other tabs see the same data; `undefined` when nobody else sees it. */
  readonly sharedAs: string | undefined;
  /** Something that must end before the database closes; what is given back forgets it. */
  closing(close: () => Promise<void>): () => void;
}

const opened = new WeakMap<object, DatabaseInternals>();

const ANOTHER_COPY = 'another copy of @pocket/core: there are two in this program, which `npm ls @pocket/core` shows';

/** What is not public of a database. */
export function internals(database: Database<any>): DatabaseInternals {
  const found = opened.get(database);
  if (found !== undefined) return found;
  const isForeign = typeof (database as Partial<Database<any>> | null | undefined)?.listCollections === 'function';
  const why = isForeign
    ? `this database was opened by ${ANOTHER_COPY}`
    : `a database is what \`await Database.create(…)\` gives, not ${database instanceof Promise ? 'a promise of it; await it first' : kindOf(database)}`;
  throw new PocketError('config', why, { path: 'database' });
}

/**
 * A database on this device.
 *
 * `C` says what its documents look like, by the names of their collections; nothing checks at run time that they do:
 *
 * ```ts
 * const db = await Database.create<{ todos: Todo; notes: Note }>({ name: 'my-app', storage, collections: [{ name: 'todos' }, { name: 'notes' }] });
 * const todos = db.collection('todos'); // a Collection<Todo>; a name that is not there is no name
 * ```
 */
export class Database<C extends object = AnyCollections> {
  readonly #raw: RawDatabase;
  readonly #collections = new Map<string, { readonly core: CollectionCore; readonly collection: Collection<object> }>();
  readonly #events = new Set<() => void>();
  readonly #changes: Events<Change<AnyDocument>>;
  readonly #closing = new Set<() => Promise<void>>();
  /** Transactions that run again. */
  readonly #overtaken = new Line();
  readonly #tabs: TabsConnection | undefined;
  #closed: Promise<void> | undefined;
  /** What conflicts and refusals left. */
  readonly journal: Journal;
  /** Its name. */
  readonly name: string;
  /** Who this device is to the server; a copy of the database gets another one. */
  readonly clientId: string;

  private constructor(raw: RawDatabase, migrations: readonly MigrationConfig[], sharedAs: string | undefined) {
    if ((raw as unknown) === undefined) throw new PocketError('config', 'a database is opened by `await Database.create(…)`, not by `new`');
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
    opened.set(this, { raw, migrations, sharedAs, closing: (close) => (this.#closing.add(close), () => this.#closing.delete(close)) });
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
  static async create<C extends object = AnyCollections>(options: DatabaseOptions<C>): Promise<Database<C>> {
    optionObject(options, 'what `Database.create` takes');
    checkShape<DatabaseOptions<any>>('`Database.create`', options, OPTIONS);
    if ((options.name as unknown) === undefined) throw new PocketError('config', '`name` is missing', { path: 'name' });
    if (options.name === '') throw new PocketError('config', '`name` is empty', { path: 'name' });
    const { storage, migrations, collections: given, wasmUrl, ...rest } = options;
    const collections = given as readonly CollectionConfig<string, any>[] | undefined;
    if (typeof (storage as Storage | undefined)?.[openStorage] !== 'function') {
      // A storage knows the copy of this package that it was made with by a symbol.
      const isForeign = typeof (storage as Partial<Storage> | undefined)?.persist === 'boolean';
      if (isForeign) throw new PocketError('config', `the storage is one of ${ANOTHER_COPY}`, { path: 'storage' });
      const what = storage === undefined ? 'missing' : `no storage but ${kindOf(storage)}`;
      throw new PocketError('config', `\`storage\` is ${what}; make one by createIndexedDBStorage() or createMemoryStorage()`, { path: 'storage' });
    }
    if (collections !== undefined) optionArray(collections, '`collections`', 'collections');
    if (migrations !== undefined) optionArray(migrations, '`migrations`', 'migrations');
    if (rest.limits !== undefined) checkLimits(rest.limits);
    if (wasmUrl !== undefined && typeof wasmUrl !== 'string' && !(wasmUrl instanceof URL)) {
      throw new PocketError('config', '`wasmUrl` is text or a URL', { path: 'wasmUrl' });
    }
    const json = optionJson({ ...rest, collections: (collections ?? []).map((config, at) => collectionJson(config, `collections.${at}.`)) });
    const rules = rawRules(collections ?? [], (at) => `collections.${at}.`);
    const steps = migrations?.map((config, at) => rawMigration(config, `migrations.${at}.`));
    checkVersions(migrations ?? [], rest.schemaVersion);
    const openRaw = (): Promise<RawDatabase> => settled(async () => {
      const module = await loadModule(wasmUrl);
      return module.RawDatabase.open(json, storage[openStorage](module), steps, rules);
    });
    const raw = await openRaw().catch((error: unknown) => {
      // Another one, whose prefix and name read alike, was made in the same moment, and has the place. The next attempt sees it.
      if (isPocketError(error, 'other-name')) return openRaw();
      throw error;
    });
    if (storage.persist) void raw.requestPersistence().catch(() => undefined);
    // The WebAssembly knows what the store is called; two names that read alike are two stores.
    return new Database<C>(raw, migrations ?? [], raw.sharedAs ?? storage.sharedAs?.());
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
   * A collection; always the same object for a name. What its documents look like is told by the type of the database.
   *
   * @throws PocketError `collection-not-found` (name it in `collections`, or make it by `createCollection`), `closed`.
   */
  collection<N extends TypedName<C>>(name: N): Collection<DocumentOf<C, N>>;
  /**
   * A collection; always the same object for a name. `T` is what its documents look like; it must be named where the type of
   * the database does not have this collection.
   *
   * @throws PocketError `collection-not-found` (name it in `collections`, or make it by `createCollection`), `closed`.
   */
  collection<T extends object = string extends keyof C ? AnyDocument : never>(
    name: string extends keyof C ? string : [T] extends [never] ? TypedName<C> : string,
  ): Collection<T>;
  collection(name: string): Collection<any> {
    const raw = this.#open();
    let known = this.#collections.get(name);
    if (known === undefined) {
      const core = new CollectionCore(calling(() => raw.collection(collectionName(name))));
      known = { core, collection: new Collection<object>(core) };
      this.#collections.set(name, known);
    }
    return known.collection as unknown as Collection<any>;
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
    return settled(() => this.#open().createCollection(optionJson(collectionJson(config)), rawRules([config], () => '')));
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
   * meanwhile, the function *runs again*, so it should do nothing but read and write in the transaction. Those of this tab that
   * run again do so one after the other, so that any number of them may be about one document. Rejects with
   * `transaction-too-large` (1,000 changes, half a message), `transaction-conflict` when others were faster 16 times, and what
   * the writes reject with.
   */
  async transaction<R>(run: (transaction: Transaction<C>) => R | PromiseLike<R>): Promise<R> {
    if (typeof run !== 'function') throw new PocketError('config', `\`transaction\` takes a function, not ${kindOf(run)}`);
    const began = this.#overtaken.begin();
    try {
      return await this.#attempt(run);
    } catch (error) {
      if (!isPocketError(error, 'transaction-conflict')) throw error;
    }
    return this.#overtaken.turn(began, async () => {
      for (let attempt = 2; ; attempt += 1) {
        try {
          return await this.#attempt(run);
        } catch (error) {
          if (!isPocketError(error, 'transaction-conflict') || attempt >= TRANSACTION_ATTEMPTS) throw error;
        }
      }
    });
  }

  async #attempt<R>(run: (transaction: Transaction<C>) => R | PromiseLike<R>): Promise<R> {
    const transaction = new Transaction<C>(calling(() => this.#open().transaction()));
    try {
      const answer = await run(transaction);
      await transaction.commit();
      return answer;
    } finally {
      transaction.abandon();
    }
  }

  /** Each change of a document in any collection, in the order of commits; see {@link Collection.changes}. */
  changes(): Events<Change<AnyDocument>> {
    noFurther(arguments.length, 0, '`changes()` takes nothing; give the listener to its `subscribe`');
    return this.#changes;
  }

  /** What it has and does at the moment. */
  async stats(): Promise<DatabaseStats> {
    return JSON.parse(await settled(() => this.#open().stats())) as DatabaseStats;
  }

  /**
   * Deletes the documents whose time to live is over, and says how many there were. Opening the database does it, and so does
   * sync, about once a minute; an application that stays open for long without sync calls it now and then. What a server has
   * heard of only sync deletes, by the server's time; until then nobody sees it here.
   */
  expire(): Promise<number> {
    return settled(() => this.#open().expire());
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
