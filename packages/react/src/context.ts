import type { AnyCollections, AnyDocument, Collection, Database } from '@pocket/core';
import { PocketError } from '@pocket/core';
import type { SyncEngine } from '@pocket/sync';
import type { ReactElement, ReactNode } from 'react';
import { createContext, createElement, useContext, useMemo } from 'react';

interface Pocket {
  readonly database: Database<any>;
  readonly sync: SyncEngine | null;
}

const Context = createContext<Pocket | null>(null);

/** What {@link PocketProvider} gives to the components below it. */
export interface PocketProviderProps {
  /** The database. */
  readonly database: Database<any>;
  /** Its sync engine, when there is one. Starting it is up to the application. */
  readonly sync?: SyncEngine | null | undefined;
  /** The components. */
  readonly children?: ReactNode;
}

/**
 * Gives a database, and its sync engine, to all hooks below.
 *
 * @throws PocketError `config` for what is no database, as the promise of one.
 */
export function PocketProvider({ database, sync, children }: PocketProviderProps): ReactElement {
  if (typeof (database as Partial<Database<any>> | null | undefined)?.collection !== 'function') {
    throw new PocketError('config', '`database` of <PocketProvider> is what `Database.create` resolves to; await it first');
  }
  const value = useMemo(() => ({ database, sync: sync ?? null }), [database, sync]);
  return createElement(Context.Provider, { value }, children);
}

/** What the provider gave. */
export function usePocket(): Pocket {
  const value = useContext(Context);
  if (value === null) throw new PocketError('config', 'this hook needs a <PocketProvider> above it');
  return value;
}

/**
 * The database. `C` says what its documents look like, as with `Database.create`.
 *
 * @throws PocketError `config` without a {@link PocketProvider} above.
 */
export function useDatabase<C extends object = AnyCollections>(): Database<C> {
  return usePocket().database as Database<C>;
}

/**
 * A collection of the database; the same object each time.
 *
 * @throws PocketError `collection-not-found`.
 */
export function useCollection<T extends object = AnyDocument>(name: string): Collection<T> {
  return useDatabase().collection<T>(name);
}
