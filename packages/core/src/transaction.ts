import { collectionName, encodeDocument, encodePatch, idText } from './check.js';
import { decodeRow } from './decode.js';
import { PocketError, calling, settled } from './error.js';
import type { RawTransaction } from './raw.js';
import type { AnyCollections, AnyDocument, DocumentOf, Insertable, Patch, Stored, TypedName } from './types.js';

/**
 * Changes that take effect together, or not at all: here, and on every device they sync to.
 *
 * It reads documents as they are stored, without its own changes; if one of them is changed by somebody else before the
 * commit, nothing is written and the function runs again.
 */
export class Transaction<C extends object = AnyCollections> {
  readonly #raw: RawTransaction;
  #ended = false;
  #freed = false;

  /** @internal */
  constructor(raw: RawTransaction) {
    this.#raw = raw;
  }

  /** A collection within this transaction; what its documents look like is told by the type of the database. */
  collection<N extends TypedName<C>>(name: N): TransactionCollection<DocumentOf<C, N>>;
  /** A collection within this transaction. `T` is what its documents look like. */
  collection<T extends object = string extends keyof C ? AnyDocument : never>(
    name: string extends keyof C ? string : [T] extends [never] ? TypedName<C> : string,
  ): TransactionCollection<T>;
  collection(name: string): TransactionCollection<any> {
    return new TransactionCollection(collectionName(name), () => this.#open());
  }

  #open(): RawTransaction {
    if (this.#ended) throw new PocketError('closed', 'the transaction has ended; await everything inside of its function');
    return this.#raw;
  }

  /** @internal */
  async commit(): Promise<void> {
    this.#ended = true;
    await settled(() => this.#raw.commit());
  }

  /**
   * Ends it, whether it was committed or not, and lets go of the WebAssembly's memory: a commit alone does not.
   *
   * @internal
   */
  abandon(): void {
    this.#ended = true;
    if (this.#freed) return;
    this.#freed = true;
    this.#raw.free();
  }
}

/** A collection within a transaction: nothing is written before the transaction's function has ended. */
export class TransactionCollection<T extends object = AnyDocument> {
  /** Its name. */
  readonly name: string;
  readonly #open: () => RawTransaction;

  /** @internal */
  constructor(name: string, open: () => RawTransaction) {
    this.name = name;
    this.#open = open;
  }

  /** The document with this id as it is stored, without the changes of this transaction, or null. */
  async get(id: string): Promise<Stored<T> | null> {
    const bytes = await settled(() => this.#open().get(this.name, idText(id)));
    return bytes === undefined ? null : ((decodeRow(bytes)?.data ?? null) as Stored<T> | null);
  }

  /** Adds a new document and gives its id. The commit fails with `document-exists` if there is one. */
  insert(document: Insertable<T>): string {
    return calling(() => this.#open().insert(this.name, encodeDocument(document)));
  }

  /** Adds or replaces a document and gives its id. */
  upsert(document: Insertable<T>): string {
    return calling(() => this.#open().upsert(this.name, encodeDocument(document)));
  }

  /** Sets fields of a document. The commit fails with `document-not-found` if there is none. */
  update(id: string, patch: Patch<T>): void {
    calling(() => this.#open().update(this.name, idText(id), encodePatch(patch)));
  }

  /** Deletes a document. */
  delete(id: string): void {
    calling(() => this.#open().delete(this.name, idText(id)));
  }

  /** Deletes a document with all that is kept of it. */
  hardDelete(id: string): void {
    calling(() => this.#open().hardDelete(this.name, idText(id)));
  }
}
