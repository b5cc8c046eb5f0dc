'use client';
/**
 * React hooks for `@pocket/core` and `@pocket/sync`.
 *
 * @packageDocumentation
 */

export { PocketProvider, useCollection, useDatabase } from './context.js';
export type { PocketProviderProps } from './context.js';
export { useMutation } from './mutation.js';
export type { Mutation } from './mutation.js';
export { useDocument, useFindOne, useLiveQuery, useQuery, useSuspenseLiveQuery } from './queries.js';
export type { BuildQuery, LiveQueryOptions, QueryOptions, SuspenseResult } from './queries.js';
export type { Result } from './store.js';
export { useObservable, useOnlineStatus, useSync, useSyncStats, useSyncStatus } from './sync.js';
export type { Sync } from './sync.js';
