import type { AnyDocument, Collection, Filter, LiveOptions, LiveQuery, Query, Stored } from '@pocket/core';
import { PocketError } from '@pocket/core';
import { encodeQuery, toPocketError } from '@pocket/core/internal';
import type { DependencyList } from 'react';
import { useMemo, useSyncExternalStore } from 'react';

import { usePocket } from './context.js';
import type { Result } from './store.js';
import { Store, fixed, shared } from './store.js';

/** How a query of a component runs. */
export interface QueryOptions {
  /** Whether it runs; true unless set. While it does not, there is no data and nothing is loading. */
  readonly enabled?: boolean | undefined;
}

/** How a live query of a component runs. */
export interface LiveQueryOptions extends QueryOptions, LiveOptions {}

/** Makes the query of a component, out of the one for all documents of its collection. */
export type BuildQuery<T, R> = (query: Query<T>) => Query<T, R>;

type Shown<V> = Pick<Store<V>, 'subscribe' | 'getSnapshot' | 'getServerSnapshot' | 'suspend'>;

const NONE: never[] = [];
const NOBODY = fixed<never[]>(NONE);
const NOTHING = fixed<null>(null);

/** The collection of this name, or why there is none. */
function useFound<T extends object>(collection: string | Collection<T>): Collection<T> | PocketError {
  const { database } = usePocket();
  // Anything else is for the database to refuse.
  if (typeof collection === 'object' && collection !== null) return collection;
  try {
    return database.collection<T>(collection);
  } catch (error) {
    const failure = toPocketError(error);
    return failure;
  }
}

/** The query of a component. */
function built<T extends object, R>(found: Collection<T>, build: BuildQuery<T, R> | null | undefined): Query<T, R> {
  const all = found.find();
  if (!build) return all as unknown as Query<T, R>;
  const query: unknown = build(all);
  if (typeof query === 'object' && query !== null && 'spec' in query) return query as Query<T, R>;
  throw new PocketError('bad-query', 'the function that builds a query answers no query; perhaps a `return` is missing');
}

/** Bytes as a key of a map. */
function textOf(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** An error is made anew at each try; its text tells whether it is another one. */
function same(found: object): unknown {
  return found instanceof Error ? found.message : found;
}

/** Shows what a query finds, as it changes. */
function liveStore<T extends object, R>(collection: Collection<T>, query: Query<T, R>, debounceMs: number): Store<R[]> {
  const key = `live/${query.collection}/${debounceMs}/${textOf(encodeQuery(query.spec))}`;
  return shared<R[]>(collection, key, NONE, (next, failed) => {
    const live: LiveQuery<R> = query.live({ debounceMs });
    live.subscribe((state) => next(state.data), failed);
    return live;
  });
}

function useLiveStore<T extends object, R>(
  collection: string | Collection<T>,
  build: BuildQuery<T, R> | null | undefined,
  deps: DependencyList,
  { enabled = true, debounceMs = 0 }: LiveQueryOptions,
): Shown<R[]> {
  const found = useFound(collection);
  return useMemo(() => {
    if (!enabled) return NOBODY;
    if (found instanceof Error) return fixed<R[]>(NONE, found);
    try {
      return liveStore(found, built(found, build), debounceMs);
    } catch (error) {
      return fixed<R[]>(NONE, toPocketError(error));
    }
    // `build` is a new function at each render; what it depends on is in `deps`, as for `useMemo`.
  }, [same(found), enabled, debounceMs, ...deps]);
}

/**
 * What a query finds, kept up to date.
 *
 * `build` runs again when one of `deps` changes, as with `useMemo`. Equal queries share one live query. A document that did
 * not change stays the same object, and the component renders only when the result changes. Errors come in `error`.
 */
export function useLiveQuery<T extends object = AnyDocument, R = Stored<T>>(
  collection: string | Collection<T>,
  build?: BuildQuery<T, R> | null,
  deps: DependencyList = [],
  options: LiveQueryOptions = {},
): Result<R[]> {
  const store = useLiveStore(collection, build, deps, options);
  return useSyncExternalStore(store.subscribe, store.getSnapshot, store.getServerSnapshot);
}

/** What a Suspense hook gives: there always is a result. */
export type SuspenseResult<V> = Omit<Result<V>, 'isLoading'>;

/**
 * As {@link useLiveQuery}, for a component below `<Suspense>`: it waits for the first result. An error before there is one
 * goes to the error boundary; later ones come in `error`.
 */
export function useSuspenseLiveQuery<T extends object = AnyDocument, R = Stored<T>>(
  collection: string | Collection<T>,
  build?: BuildQuery<T, R> | null,
  deps: DependencyList = [],
  options: LiveOptions = {},
): SuspenseResult<R[]> {
  const store = useLiveStore(collection, build, deps, options);
  store.suspend();
  // What a server rendered here had its data, too.
  return useSyncExternalStore(store.subscribe, store.getSnapshot, store.getSnapshot);
}

/** What a query finds when the component is mounted, and on `refresh()`. Otherwise as {@link useLiveQuery}. */
export function useQuery<T extends object = AnyDocument, R = Stored<T>>(
  collection: string | Collection<T>,
  build?: BuildQuery<T, R> | null,
  deps: DependencyList = [],
  { enabled = true }: QueryOptions = {},
): Result<R[]> {
  const found = useFound(collection);
  const store = useMemo((): Shown<R[]> => {
    if (!enabled) return NOBODY;
    if (found instanceof Error) return fixed<R[]>(NONE, found);
    try {
      const query = built(found, build);
      return shared<R[]>(found, `once/${textOf(encodeQuery(query.spec))}`, NONE, (next, failed) => {
        let asked = 0;
        const read = (): void => {
          asked += 1;
          const mine = asked;
          // An older answer never replaces a newer one.
          const newest = <A>(tell: (answer: A) => void) => (answer: A) => {
            if (mine === asked) tell(answer);
          };
          query.all().then(newest(next), newest((error: unknown) => failed(toPocketError(error))));
        };
        read();
        return {
          refresh: read,
          close: () => {
            asked += 1;
          },
        };
      });
    } catch (error) {
      return fixed<R[]>(NONE, toPocketError(error));
    }
  }, [same(found), enabled, ...deps]);
  return useSyncExternalStore(store.subscribe, store.getSnapshot, store.getServerSnapshot);
}

/** The document with an id, kept up to date; null while there is none, and while `id` is null or undefined. */
export function useDocument<T extends object = AnyDocument>(
  collection: string | Collection<T>,
  id: string | null | undefined,
): Result<Stored<T> | null> {
  const found = useFound(collection);
  const store = useMemo((): Shown<Stored<T> | null> => {
    if (id === null || id === undefined) return NOTHING;
    if (found instanceof Error) return fixed<Stored<T> | null>(null, found);
    return shared<Stored<T> | null>(found, `document/${id}`, null, (next, failed) => {
      const observe = () => found.observeById(id).subscribe((document) => document !== undefined && next(document), failed);
      let subscription = observe();
      return {
        refresh: () => {
          subscription.unsubscribe();
          subscription = observe();
        },
        close: () => subscription.unsubscribe(),
      };
    });
  }, [same(found), id]);
  return useSyncExternalStore(store.subscribe, store.getSnapshot, store.getServerSnapshot);
}

/** The first document that matches a filter, by id, kept up to date; null while there is none. Equal filters are one. */
export function useFindOne<T extends object = AnyDocument>(
  collection: string | Collection<T>,
  filter: Filter<T>,
  { enabled = true, debounceMs = 0 }: LiveQueryOptions = {},
): Result<Stored<T> | null> {
  const found = useFound(collection);
  let key: string;
  try {
    key = textOf(encodeQuery({ filter, limit: 1 }));
  } catch (error) {
    key = toPocketError(error).message;
  }
  const store = useMemo((): Shown<Stored<T> | null> => {
    if (!enabled) return NOTHING;
    if (found instanceof Error) return fixed<Stored<T> | null>(null, found);
    return shared<Stored<T> | null>(found, `one/${debounceMs}/${key}`, null, (next, failed) => {
      const live = found.find(filter).limit(1).live({ debounceMs });
      live.subscribe((state) => next(state.data[0] ?? null), failed);
      return live;
    });
    // The key stands for the filter.
  }, [same(found), enabled, debounceMs, key]);
  return useSyncExternalStore(store.subscribe, store.getSnapshot, store.getServerSnapshot);
}
