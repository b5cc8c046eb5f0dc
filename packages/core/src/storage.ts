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
   * The name under which other tabs of this site see the same data, for a database of this name; `undefined` when nobody
   * else sees it.
   */
  sharedAs(database: string): string | undefined;
  /** Whether a database asks the browser to keep its data when it opens. */
  readonly persist: boolean;
  /** For `@pocket/core` itself. */
  readonly [openStorage]: (module: RawModule) => RawStorage;
}
