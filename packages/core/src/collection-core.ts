import { PocketError } from './error.js';
import type { RawCollection } from './raw.js';

/** What a collection, its queries and its live queries share: the collection of the WebAssembly, while it is open. */
export class CollectionCore {
  /** Its name. */
  readonly name: string;
  #raw: RawCollection | undefined;
  #ended: PocketError | undefined;
  readonly #open = new Set<() => void>();

  constructor(raw: RawCollection) {
    this.name = raw.name;
    this.#raw = raw;
  }

  /**
   * The collection of the WebAssembly.
   *
   * @throws PocketError `closed`, or `collection-not-found` once it was deleted.
   */
  raw(): RawCollection {
    if (this.#raw === undefined) throw this.#ended ?? new PocketError('closed', `the database of \`${this.name}\` is closed`);
    return this.#raw;
  }

  /** Something that must end before the database does; what is given back forgets it. */
  opened(close: () => void): () => void {
    this.#open.add(close);
    return () => this.#open.delete(close);
  }

  /** Ends everything that was opened, and lets go of the WebAssembly's memory; `why` unless the database is closed. */
  close(why?: PocketError): void {
    this.#ended = why;
    for (const close of [...this.#open]) close();
    this.#open.clear();
    this.#raw?.free();
    this.#raw = undefined;
  }
}
