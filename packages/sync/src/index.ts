/**
 * Sync for `@pocket/core`: one engine for all tabs, offline first, conflicts resolved by a rule of yours.
 *
 * @packageDocumentation
 */

export { SyncEngine, createSyncEngine } from './engine.js';
export type { Conflict, ConflictRule, Resolution, ResolveConflict, Resolved, SyncOptions } from './options.js';
export type { SyncCheckpoint, SyncProgress, SyncStats, SyncStatus, Wiped } from './status.js';
