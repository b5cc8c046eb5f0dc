import { changeEvents } from './changes.js';
import { encodeDocument, encodeDocuments, encodePatch, idText, idTexts, noFurther, optionJson, text } from './check.js';
import type { CollectionCore } from './collection-core.js';
import type { Row } from './decode.js';
import { decodeRow, decodeRows } from './decode.js';
import { ending } from './ending.js';
import { PocketError, calling, settled, toPocketError } from './error.js';
import type { Events, Observable } from './observable.js';
import { Shared } from './observable.js';
import { Populated, referencesOf } from './populate.js';
import { Query, documents } from './query.js';
import { indexJson } from './settings.js';
import type {
  AnyDocument,
  Change,
  Filter,
  IndexConfig,
  IndexInfo,
  Insertable,
  Patch,
  Path,
  Stored,
  StoredDocument,
} from './types.js';

const FURTHER = 'a filter is all that is taken here; `sort`, `skip`, `limit` and the others are methods of the query that `find` gives';

function only<T>(row: Row | null): Stored<T> {
  if (row === null) throw new PocketError('internal', 'a write answered without a document');
  return row.data as Stored<T>;
}

/**
 * The documents of one kind. `T` is what they look like; nothing checks at run time that they do.
 *
 * Reads see every write that was acknowledged before. Writes resolve when they are durable, locally; they never wait for a
 * network. All methods reject with a {@link PocketError}: beside the codes they name, `closed` after `Database.close`,
 * and what the storage says (`storage`, `storage-full`, `corrupt`).
 */
export class Collection<T extends object = AnyDocument> {
  readonly #core: CollectionCore;
  readonly #changes: Events<Change<T>>;

  /** @internal */
  constructor(core: CollectionCore) {
    this.#core = core;
    this.#changes = changeEvents(
      (listener) => core.raw().changes(listener),
      (close) => core.opened(close),
    );
  }

  /** Its name. */
  get name(): string {
    return this.#core.name;
  }

  /**
   * Stores a new document and answers it with its `_id`.
   *
   * Rejects with `document-exists`, `bad-id`, `validation` (with the path of what no document may hold),
   * `document-too-large`, `index-unique-violation`.
   */
  async insert(document: Insertable<T>): Promise<Stored<T>> {
    const bytes = await settled(() => this.#core.raw().insert(encodeDocument(document)));
    return only(decodeRow(bytes));
  }

  /** Stores new documents, all or none. Rejects as {@link insert}. */
  async insertMany(many: readonly Insertable<T>[]): Promise<Stored<T>[]> {
    const bytes = await settled(() => this.#core.raw().insertMany(encodeDocuments(many)));
    return documents(decodeRows(bytes));
  }

  /** The document with this id, or null. */
  async get(id: string): Promise<Stored<T> | null> {
    return (await this.getDocument(id))?.data ?? null;
  }

  /** The document with this id and what the database knows of it, or null. */
  async getDocument(id: string): Promise<StoredDocument<T> | null> {
    const bytes = await settled(() => this.#core.raw().get(idText(id)));
    const row = bytes === undefined ? null : decodeRow(bytes);
    if (row === null) return null;
    return { id: row.id, rev: row.rev, updatedAt: new Date(row.updatedAt), data: row.data as Stored<T> };
  }

  /** The documents with these ids, in their order, with null for each that is not there. */
  async getMany(ids: readonly string[]): Promise<(Stored<T> | null)[]> {
    const bytes = await settled(() => this.#core.raw().getMany(idTexts(ids)));
    return decodeRows(bytes).map((row) => (row === null ? null : (row.data as Stored<T>)));
  }

  /** All documents, by id. */
  getAll(): Promise<Stored<T>[]> {
    return this.find().all();
  }

  /**
   * Sets fields at the top of a document, as wholes, and leaves the others as they are. A property that is `undefined`
   * counts as left out.
   *
   * Rejects with `document-not-found`, `document-deleted`, and as {@link insert}.
   */
  async update(id: string, patch: Patch<T>): Promise<Stored<T>> {
    const bytes = await settled(() => this.#core.raw().update(idText(id), encodePatch(patch)));
    return only(decodeRow(bytes));
  }

  /** Stores a document, whether there is one with its id or not, as a whole. Rejects as {@link insert}. */
  async upsert(document: Insertable<T>): Promise<Stored<T>> {
    const bytes = await settled(() => this.#core.raw().upsert(encodeDocument(document)));
    return only(decodeRow(bytes));
  }

  /** Stores documents, all or none, whether there are ones with their ids or not. */
  async upsertMany(many: readonly Insertable<T>[]): Promise<Stored<T>[]> {
    const bytes = await settled(() => this.#core.raw().upsertMany(encodeDocuments(many)));
    return documents(decodeRows(bytes));
  }

  /** Deletes a document. Rejects with `document-not-found` or `document-deleted`. */
  delete(id: string): Promise<void> {
    return settled(() => this.#core.raw().delete(idText(id)));
  }

  /** Deletes documents, all or none. */
  deleteMany(ids: readonly string[]): Promise<void> {
    return settled(() => this.#core.raw().deleteMany(idTexts(ids)));
  }

  /** Deletes a document with all that is kept of it, in the journal too, here and on every device it synced to. */
  hardDelete(id: string): Promise<void> {
    return settled(() => this.#core.raw().hardDelete(idText(id)));
  }

  /**
   * Deletes all documents in one step, and says how many there were. It takes memory that grows with their number.
   */
  clear(): Promise<number> {
    return settled(() => this.#core.raw().clear());
  }

  /** Begins a query: of all documents, or of those that match a filter. */
  find(filter?: Filter<T>): Query<T> {
    noFurther(arguments.length, 1, FURTHER);
    return new Query(this.#core, filter === undefined ? {} : { filter });
  }

  /** The first document that matches, by id, or null. Rejects with `bad-query`. */
  async findOne(filter: Filter<T>): Promise<Stored<T> | null> {
    noFurther(arguments.length, 1, FURTHER);
    return this.find(filter).first();
  }

  /** How many documents there are, or match. Deleted ones never count. */
  async count(filter?: Filter<T>): Promise<number> {
    noFurther(arguments.length, 1, FURTHER);
    return this.find(filter).count();
  }

  /**
   * Each change of a document here, in the order of commits, whoever made it: this tab, another one, or sync. A listener
   * that falls far behind is told {@link Lagged} once, instead.
   */
  changes(): Events<Change<T>> {
    noFurther(arguments.length, 0, '`changes()` takes nothing; give the listener to its `subscribe`');
    return this.#changes;
  }

  /**
   * The document with this id, kept up to date while somebody listens; null while it is not there, `undefined` before it
   * was read.
   */
  observeById(id: string): Observable<Stored<T> | null | undefined> {
    noFurther(arguments.length, 1, '`observeById` takes an id alone; give the listener to the `subscribe` of what it answers');
    const core = this.#core;
    return new Shared<Stored<T> | null>((next, error) => {
      let rev: string | undefined;
      const told = (bytes: Uint8Array | undefined): void => {
        const row = bytes === undefined ? null : decodeRow(bytes);
        if (row !== null && row.rev === rev) return;
        rev = row?.rev;
        next(row === null ? null : (row.data as Stored<T>));
      };
      const handle = core.raw().observeById(idText(id), told, (failure) => error(toPocketError(failure)));
      return ending(handle, (end) => core.opened(end));
    });
  }

  /**
   * Reads, in one step, the documents of another collection that documents of this one refer to. The field holds an id or an
   * array of ids, and is a dotted path as in a query (`author`, `authors.id` of an array of objects); where it is missing or
   * null there is no reference. One that leads nowhere is told by {@link Populated.missing}, and is no error.
   *
   * ```ts
   * const found = await posts.getAll();
   * const writtenBy = await posts.populate(found, 'authorId', authors);
   * found.forEach((post, place) => console.log(post.title, writtenBy.one(place)?.name));
   * ```
   *
   * Rejects with `bad-query` when the field of a document holds anything but ids, `bad-id`.
   */
  async populate<R extends object>(found: readonly object[], field: Path<T>, others: Collection<R>): Promise<Populated<Stored<R>>> {
    text(field, 'the path of a reference', 'bad-query');
    const ids = found.map((document) => referencesOf(document, field));
    const wanted = [...new Set(ids.flat())];
    const read = await others.getMany(wanted);
    const known = new Map<string, Stored<R>>();
    for (const document of read) if (document !== null) known.set(document._id, document);
    return new Populated(ids, known, wanted.filter((id) => !known.has(id)));
  }

  /**
   * Makes an index, and resolves when queries can use it. One that is there already is left as it is.
   *
   * Rejects with `config`, and with `index-unique-violation` where documents already break it.
   */
  createIndex(config: IndexConfig<T>): Promise<void> {
    return settled(() => this.#core.raw().createIndex(optionJson(indexJson(config))));
  }

  /** Removes an index. Rejects with `index-not-found`. */
  dropIndex(name: string): Promise<void> {
    return settled(() => this.#core.raw().dropIndex(text(name, 'the name of an index', 'index-not-found')));
  }

  /** The indexes there are. */
  indexes(): IndexInfo[] {
    return JSON.parse(calling(() => this.#core.raw().indexes())) as IndexInfo[];
  }
}
