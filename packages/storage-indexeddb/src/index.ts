/**
 * IndexedDB as the storage of a database.
 *
 * @packageDocumentation
 */

import type { Storage } from '@pocket/core';
import { PocketError } from '@pocket/core';
import type { Shapes } from '@pocket/core/internal';
import { checkShape, openStorage } from '@pocket/core/internal';

/** How IndexedDB is used. */
export interface IndexedDBStorageOptions {
  /** Stands before the names of databases, so that two applications on one site do not meet; `pocket:` unless set. */
  readonly prefix?: string | undefined;
  /**
   * `strict` (unless set): a write is done when the browser has told the disk to keep it, and survives a loss of power.
   * `relaxed`: once the operating system has it; faster in some browsers, and a loss of power may cost the last writes.
   */
  readonly durability?: 'strict' | 'relaxed' | undefined;
  /**
   * Whether the browser is asked, when a database opens, to keep the data of this site even when the disk is nearly full;
   * true unless set. Some browsers ask the user. `database.persistence()` tells the answer.
   */
  readonly persist?: boolean | undefined;
}

const OPTIONS: Shapes<IndexedDBStorageOptions> = { prefix: 'text', durability: ['strict', 'relaxed'], persist: 'flag' };

/** Every name is made of it, also that under which tabs find each other: the WebAssembly is always told which it is. */
const PREFIX = 'pocket:';

/**
 * Keeps databases in the browser's IndexedDB. Tabs, windows and workers of one site share a database of one name.
 *
 * @throws PocketError `config` on an option that does not exist, or a value that it cannot have. Where the browser has no IndexedDB or blocks it,
 * `Database.create` rejects with `storage`.
 */
export function createIndexedDBStorage(options: IndexedDBStorageOptions = {}): Storage {
  checkShape('`createIndexedDBStorage`', options, OPTIONS);
  const { prefix = PREFIX, durability, persist = true } = options;
  const json = JSON.stringify({ prefix, durability });
  return {
    kind: 'indexeddb',
    persist,
    [openStorage]: (module) => {
      // In a browser it is there, or the engine says what keeps it from the page.
      const { indexedDB: factory, process: node } = globalThis as { indexedDB?: unknown; process?: { versions?: { node?: unknown } } };
      if (factory === undefined && node?.versions?.node !== undefined) {
        throw new PocketError('storage', 'there is no IndexedDB outside of browsers; take createMemoryStorage() of @pocket/storage-memory in Node, and open this one in the page only');
      }
      return module.RawStorage.indexedDb(json);
    },
  };
}
