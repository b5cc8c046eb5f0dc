/**
 * Memory as the storage of a database: for tests, for servers that render pages, for Node.
 *
 * @packageDocumentation
 */

import type { Storage } from '@pocket/core';
import { checkShape, openStorage } from '@pocket/core/internal';

/**
 * Keeps databases in memory. Each `Database.create` begins with an empty one, and closing the database or leaving the page
 * loses it; other tabs do not see it. It takes no options.
 */
export function createMemoryStorage(): Storage {
  // From JavaScript it may be given what only other storages know.
  if (arguments[0] !== undefined) checkShape('`createMemoryStorage`', arguments[0] as object, {});
  return {
    kind: 'memory',
    persist: false,
    [openStorage]: (module) => module.RawStorage.memory(),
  };
}
