import { changeEvents } from './changes.js';
import { encodeDocument, encodeDocuments, idText, idTexts, optionJson, optionObject, text } from './check.js';
import type { CollectionCore } from './collection-core.js';
import type { Row } from './decode.js';
import { decodeRow, decodeRows } from './decode.js';
import { encode, isBytes, isDate } from './encode.js';
import { ending } from './ending.js';
import { PocketError, calling, settled, toPocketError } from './error.js';
import type { Events, Observable } from './observable.js';
import { Shared } from './observable.js';
import { Query, documents } from './query.js';
import type { Shapes } from './shape.js';
import { checkShape } from './shape.js';
import type {
  AnyDocument,
  Change,
  Filter,
  IndexConfig,
  IndexField,
  IndexInfo,
  Insertable,
  Patch,
  Stored,
  StoredDocument,
} from './types.js';

const INDEX: Shapes<IndexConfig> = { name: 'text', fields: 'any', unique: 'flag', sparse: 'flag', filter: 'any' };
const INDEX_FIELD: Shapes<IndexField> = { field: 'text', order: ['asc', 'desc'] };

/** Indexes as JSON: dates and bytes of a filter as `docs/values.md` writes them. */
export function indexJson(config: IndexConfig): Record<string, unknown> {
  optionObject(config, 'an index');
  const what = `the index${typeof config.name === 'string' ? ` \`${config.name}\`` : ''}`;
  checkShape(what, config, INDEX);
  if (!Array.isArray(config.fields)) throw new PocketError('config', `\`fields\` of ${what} is an array of dotted paths`, { path: 'fields' });
  for (const field of config.fields as readonly unknown[]) {
    if (typeof field === 'string') continue;
    optionObject(field, `a field of ${what}`);
    checkShape(what, field as IndexField, INDEX_FIELD, 'fields.');
    if ((field as Partial<IndexField>).field === undefined) throw new PocketError('config', `a field of ${what} has no \`field\``, { path: 'fields.field' });
  }
  const { filter, ...rest } = config;
  if (filter === undefined) return rest;
  // Refuses what JSON would silently leave out or turn into null.
  encode(filter, { undefined: 'refuse', code: 'config' });
  return { ...rest, filter: jsonValue(filter) };
}

function jsonValue(value: unknown): unknown {
  if (typeof value === 'bigint') {
    if (Number.isSafeInteger(Number(value))) return Number(value);
    throw new PocketError('config', `the filter of an index cannot hold ${value}, which is beyond 2^53`);
  }
  if (typeof value !== 'object' || value === null) return value;
  if (isDate(value)) return { $date: value.toISOString() };
  if (isBytes(value)) return { $binary: btoa(Array.from(value, (byte) => String.fromCharCode(byte)).join('')) };
  if (Array.isArray(value)) return value.map(jsonValue);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, jsonValue(inner)]));
}

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
    const bytes = await settled(() => this.#core.raw().update(idText(id), encodeDocument(patch)));
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

  /** Deletes all documents, and says how many there were. */
  clear(): Promise<number> {
    return settled(() => this.#core.raw().clear());
  }

  /** Begins a query: of all documents, or of those that match a filter. */
  find(filter?: Filter<T>): Query<T> {
    return new Query(this.#core, filter === undefined ? {} : { filter });
  }

  /** The first document that matches, by id, or null. Rejects with `bad-query`. */
  findOne(filter: Filter<T>): Promise<Stored<T> | null> {
    return this.find(filter).first();
  }

  /** How many documents there are, or match. Deleted ones never count. */
  count(filter?: Filter<T>): Promise<number> {
    return this.find(filter).count();
  }

  /**
   * Each change of a document here, in the order of commits, whoever made it: this tab, another one, or sync. A listener
   * that falls far behind is told {@link Lagged} once, instead.
   */
  changes(): Events<Change<T>> {
    return this.#changes;
  }

  /**
   * The document with this id, kept up to date while somebody listens; null while it is not there, `undefined` before it
   * was read.
   */
  observeById(id: string): Observable<Stored<T> | null | undefined> {
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
   * Makes an index, and resolves when queries can use it. One that is there already is left as it is.
   *
   * Rejects with `config`, and with `index-unique-violation` where documents already break it.
   */
  createIndex(config: IndexConfig): Promise<void> {
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
