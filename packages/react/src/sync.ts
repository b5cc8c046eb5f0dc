import type { Observable } from '@pocket/core';
import { PocketError } from '@pocket/core';
import { Subject } from '@pocket/core/internal';
import type { SyncEngine, SyncProgress, SyncStats, SyncStatus } from '@pocket/sync';
import { useCallback, useMemo, useSyncExternalStore } from 'react';

import { usePocket } from './context.js';

/** The value of an observable; the component renders when it changes. */
export function useObservable<T>(observable: Observable<T>): T {
  const subscribe = useCallback(
    (changed: () => void) => {
      const subscription = observable.subscribe(changed);
      return () => subscription.unsubscribe();
    },
    [observable],
  );
  const snapshot = useCallback(() => observable.getSnapshot(), [observable]);
  return useSyncExternalStore(subscribe, snapshot, snapshot);
}

const OFFLINE = new Subject<SyncStatus>('offline');
const NO_STATS = new Subject<SyncStats | null>(null);
const NO_PROGRESS = new Subject<SyncProgress | null>(null);
const NO_LEADER = new Subject(false);

/** Where sync stands: `idle`, `syncing`, `error` or `offline`; without an engine `offline`. */
export function useSyncStatus(): SyncStatus {
  const { sync } = usePocket();
  return useObservable(sync?.getStatus() ?? OFFLINE);
}

/** What sync did so far; null without an engine. */
export function useSyncStats(): SyncStats | null {
  const { sync } = usePocket();
  return useObservable<SyncStats | null>(sync?.getStats() ?? NO_STATS);
}

/** The state of sync, and what can be done about it. */
export interface Sync {
  /** The engine; null without one. */
  readonly engine: SyncEngine | null;
  /** Where it stands. */
  readonly status: SyncStatus;
  /** What happened so far; null without an engine. */
  readonly stats: SyncStats | null;
  /** How much is left; null without an engine. */
  readonly progress: SyncProgress | null;
  /** Whether this tab has the connection. */
  readonly isLeader: boolean;
  /** Starts the engine. As with the others: the same function at each render; without an engine it rejects with `config`. */
  readonly start: () => Promise<void>;
  /** Stops this tab's part. */
  readonly stop: () => Promise<void>;
  /** Makes a complete pass. */
  readonly forceSync: () => Promise<void>;
  /** Sends what waits. */
  readonly push: () => Promise<void>;
  /** Reads what the server has. */
  readonly pull: () => Promise<void>;
}

/** Everything about sync. A component that needs only the status should use {@link useSyncStatus} and renders less often. */
export function useSync(): Sync {
  const { sync: engine } = usePocket();
  const status = useSyncStatus();
  const stats = useSyncStats();
  const progress = useObservable<SyncProgress | null>(engine?.getProgress() ?? NO_PROGRESS);
  const isLeader = useObservable(engine?.isLeader ?? NO_LEADER);
  const controls = useMemo(() => {
    const control = (run: (engine: SyncEngine) => Promise<void>) => async () => {
      if (engine === null) throw new PocketError('config', 'the <PocketProvider> above has no `sync`');
      await run(engine);
    };
    return {
      start: control((sync) => sync.start()),
      stop: control((sync) => sync.stop()),
      forceSync: control((sync) => sync.forceSync()),
      push: control((sync) => sync.push()),
      pull: control((sync) => sync.pull()),
    };
  }, [engine]);
  return useMemo(() => ({ engine, status, stats, progress, isLeader, ...controls }), [engine, status, stats, progress, isLeader, controls]);
}

function subscribeOnline(changed: () => void): () => void {
  globalThis.addEventListener('online', changed);
  globalThis.addEventListener('offline', changed);
  return () => {
    globalThis.removeEventListener('online', changed);
    globalThis.removeEventListener('offline', changed);
  };
}

/**
 * Whether the browser believes to have a network; true on a server. That it has one does not mean that the sync server is
 * reached: {@link useSyncStatus} tells that.
 */
export function useOnlineStatus(): boolean {
  return useSyncExternalStore(
    subscribeOnline,
    () => navigator.onLine,
    () => true,
  );
}
