// Live results that components share. React may render without mounting, mount twice and unmount for a moment: a store
// begins with its first listener, and ends a while after the last one has gone.

import type { PocketError } from '@pocket/core';
import { toPocketError } from '@pocket/core/internal';

/** What hooks give. It is the same object until something in it changes. */
export interface Result<V> {
  /** The newest value; a value that stands for nothing (`[]`, null) before the first one. */
  readonly data: V;
  /** Whether the first value is still to come. */
  readonly isLoading: boolean;
  /** What went wrong last; null once there is a value again. */
  readonly error: PocketError | null;
  /** Reads again; always the same function for a query. */
  readonly refresh: () => void;
}

/** What a store shows, while it runs. */
export interface Running {
  refresh(): void;
  close(): void;
}

/** Begins to show something. It may call `next` at once. */
export type Open<V> = (next: (value: V) => void, failed: (error: PocketError) => void) => Running;

/** How long a store without listeners goes on, in milliseconds. */
export const LINGER_MS = 5_000;

/** Stores by what they show. */
export type Registry = Map<string, Store<unknown>>;

/** Something shown to components. */
export class Store<V> {
  readonly #open: Open<V>;
  readonly #initial: Result<V>;
  #result: Result<V>;
  #running: Running | undefined;
  #listeners: readonly (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #loaded: Promise<void> | undefined;
  readonly #registry: Registry;
  readonly #key: string;

  constructor(registry: Registry, key: string, empty: V, open: Open<V>) {
    this.#registry = registry;
    this.#key = key;
    this.#open = open;
    const refresh = (): void => this.#running?.refresh();
    this.#initial = { data: empty, isLoading: true, error: null, refresh };
    this.#result = this.#initial;
    this.#endLater();
  }

  /** For `useSyncExternalStore`. */
  readonly subscribe = (listener: () => void): (() => void) => {
    // A wrapper, since the same function may subscribe twice.
    const own = (): void => listener();
    this.#listeners = [...this.#listeners, own];
    clearTimeout(this.#timer);
    this.#begin();
    return () => {
      this.#listeners = this.#listeners.filter((other) => other !== own);
      if (this.#listeners.length === 0) this.#endLater();
    };
  };

  /** The newest result. */
  readonly getSnapshot = (): Result<V> => this.#result;

  /** What a server renders, and a page that takes over from it. */
  readonly getServerSnapshot = (): Result<V> => this.#initial;

  /**
   * For Suspense: throws what React waits for until there is a value, and the error if there is none.
   *
   * Nobody listens yet then, so it lives until it is forgotten or mounted.
   */
  suspend(): void {
    if (!this.#result.isLoading && this.#result.error !== null && this.#result.data === this.#initial.data) {
      // Whoever tries again gets another one.
      this.#forget();
      throw this.#result.error;
    }
    if (!this.#result.isLoading) return;
    this.#loaded ??= new Promise((resolve) => {
      const leave = this.subscribe(() => {
        if (this.#result.isLoading) return;
        resolve();
        leave();
      });
      if (!this.#result.isLoading) {
        resolve();
        leave();
      }
    });
    throw this.#loaded;
  }

  #begin(): void {
    if (this.#running !== undefined) return;
    if (!this.#registry.has(this.#key)) this.#registry.set(this.#key, this as Store<unknown>);
    let isCurrent = true;
    const { refresh } = this.#initial;
    const told = (result: Result<V>): void => {
      if (isCurrent) this.#tell(result);
    };
    const failed = (error: PocketError): void => told({ data: this.#result.data, isLoading: false, error, refresh });
    // Set at first: what is opened may call at once.
    let opened: Running | undefined;
    this.#running = {
      refresh: () => opened?.refresh(),
      close: () => {
        isCurrent = false;
        opened?.close();
      },
    };
    try {
      opened = this.#open((data) => told({ data, isLoading: false, error: null, refresh }), failed);
    } catch (error) {
      this.#running = undefined;
      failed(toPocketError(error));
    }
  }

  #tell(result: Result<V>): void {
    const { data, isLoading, error } = this.#result;
    if (Object.is(data, result.data) && isLoading === result.isLoading && error === result.error) return;
    this.#result = result;
    for (const listener of this.#listeners) listener();
  }

  #endLater(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#running?.close();
      this.#running = undefined;
      this.#forget();
    }, LINGER_MS);
    // In Node, as on a server that renders pages, nobody waits for that.
    (this.#timer as { unref?: () => void }).unref?.();
  }

  #forget(): void {
    if (this.#registry.get(this.#key) === this) this.#registry.delete(this.#key);
  }
}

/** What never changes, for hooks that have nothing to show. */
export function fixed<V>(data: V, error: PocketError | null = null): Pick<Store<V>, 'subscribe' | 'getSnapshot' | 'getServerSnapshot' | 'suspend'> {
  const result: Result<V> = { data, isLoading: false, error, refresh: () => undefined };
  const snapshot = (): Result<V> => result;
  return {
    subscribe: () => () => undefined,
    getSnapshot: snapshot,
    getServerSnapshot: snapshot,
    suspend: () => {
      if (error !== null) throw error;
    },
  };
}

const registries = new WeakMap<object, Registry>();

/** The store of this key that belongs to an owner; made when there is none. */
export function shared<V>(owner: object, key: string, empty: V, open: Open<V>): Store<V> {
  let registry = registries.get(owner);
  if (registry === undefined) {
    registry = new Map();
    registries.set(owner, registry);
  }
  const known = registry.get(key) as Store<V> | undefined;
  if (known !== undefined) return known;
  const store = new Store(registry, key, empty, open);
  registry.set(key, store as Store<unknown>);
  return store;
}
