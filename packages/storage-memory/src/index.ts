/**
 * Memory as the storage of a database: for tests, for servers that render pages, for Node.
 *
 * @packageDocumentation
 */

import type { Storage } from '@pocket/core';
import { openStorage } from '@pocket/core/internal';

/**
 * Keeps databases in memory. Each `Database.create` begins with an empty one, and closing the database or leaving the page
 * loses it; other tabs do not see it.
 */
export function createMemoryStorage(): Storage {
  return {
    kind: 'memory',
    persist: false,
    sharedAs: () => undefined,
    [openStorage]: (module) => module.RawStorage.memory(),
  };
}
