import type { RawModule, RawStorage } from './face.js';

/** Opens the storage once the WebAssembly is there. */
export const openStorage: unique symbol = Symbol('pocket.openStorage');

/**
 * Where a database lies. `createIndexedDBStorage()` and `createMemoryStorage()` make them; one object may be used for
 * several databases, and each of those lies apart by its name.
 */
export interface Storage {
  /** What it is, for messages. */
  readonly kind: string;
  /**
   * The name under which other tabs see the same data, for a storage whose engine tells none. IndexedDB's tells the name of
   * its store, and nobody else sees what is in memory.
   */
  readonly sharedAs?: () => string;
  /** Whether a database asks the browser to keep its data when it opens. */
  readonly persist: boolean;
  /** For `@pocket/core` itself. */
  readonly [openStorage]: (module: RawModule) => RawStorage;
}
