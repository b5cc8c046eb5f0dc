import { PocketError } from '@pocket/core';

/**
 * Where sync stands. `idle`: connected, nothing waits to be sent, and everything the server has told of is here. `syncing`:
 * connected, and something is on its way. `offline`: there is no connection, or the engine does not run. `error`: something
 * needs attention; `lastError` says what.
 */
export type SyncStatus = 'idle' | 'syncing' | 'error' | 'offline';

/** What happened since the engine was made. In several tabs, the engine of the leader. */
export interface SyncStats {
  /** Mutations whose outcome the server told, whatever it was. */
  readonly pushCount: number;
  /** Records received and applied. */
  readonly pullCount: number;
  /** Conflicts met, whoever won; each has an entry in the journal. */
  readonly conflictCount: number;
  /** Mutations the server refused; each has an entry in the journal. */
  readonly rejectedCount: number;
  /** Mutations sent a second time after a lost connection. */
  readonly resentCount: number;
  /** Times the server said that this device should hold something else; everything is read again then. */
  readonly differenceCount: number;
  /** Mutations that wait for their outcome. */
  readonly pendingCount: number;
  /** Conflicts that wait for a function of the application. */
  readonly undecidedCount: number;
  /** Entries of the journal that nobody has looked after. */
  readonly openConflicts: number;
  /** Whether so many of them are open that somebody should look: more than 1,000. */
  readonly journalOverfull: boolean;
  /** Mutations that stay here since `collections` leaves out what they touch. */
  readonly leftOutCount: number;
  /** The last moment everything was in step, by the server's clock, in milliseconds since 1970; null: never yet. */
  readonly lastSyncAt: number | null;
  /** What went wrong last; null once everything is in step again. */
  readonly lastError: PocketError | null;
}

/** How much is left, both ways. */
export interface SyncProgress {
  /** Mutations that wait for their outcome. */
  readonly pushLeft: number;
  /** Documents to be read, at the most. */
  readonly pullLeft: number;
  /** Whether everything there was when the first sync began is here. */
  readonly firstSyncComplete: boolean;
  /** Whether everything is being read again; nothing is sent before that is done. */
  readonly resyncing: boolean;
}

/** How far the server's feed is read and stored. */
export interface SyncCheckpoint {
  /** The last place read. */
  readonly sequence: number;
  /** Which history of the server it belongs to; null before the first page. */
  readonly epoch: string | null;
  /** Whether everything is being read again. */
  readonly resyncing: boolean;
}

/** What `wipe` removed. */
export interface Wiped {
  /** Documents of synced collections. */
  readonly documents: number;
  /** Mutations that no server had settled. */
  readonly pending: number;
  /** Entries of the journal. */
  readonly journaled: number;
}

/** Everything that can be watched, at one moment. */
export interface Snapshot {
  readonly status: SyncStatus;
  readonly stats: SyncStats;
  readonly progress: SyncProgress;
}

/** As it is before anything ran. */
export const NOTHING: Snapshot = {
  status: 'offline',
  stats: {
    pushCount: 0,
    pullCount: 0,
    conflictCount: 0,
    rejectedCount: 0,
    resentCount: 0,
    differenceCount: 0,
    pendingCount: 0,
    undecidedCount: 0,
    openConflicts: 0,
    journalOverfull: false,
    leftOutCount: 0,
    lastSyncAt: null,
    lastError: null,
  },
  progress: { pushLeft: 0, pullLeft: 0, firstSyncComplete: false, resyncing: false },
};

/** Reads a snapshot, keeping every part of the one before that is the same. */
export function readSnapshot(json: string, before: Snapshot): Snapshot {
  const read = JSON.parse(json) as Snapshot;
  const raw = read.stats.lastError as { code: string; message: string } | null;
  const same = before.stats.lastError;
  const lastError =
    raw === null ? null : same?.code === raw.code && same.message === raw.message ? same : new PocketError(raw.code, raw.message);
  return {
    status: read.status,
    stats: kept({ ...NOTHING.stats, ...read.stats, lastError }, before.stats),
    progress: kept({ ...NOTHING.progress, ...read.progress }, before.progress),
  };
}

function kept<T extends object>(now: T, before: T): T {
  const keys = Object.keys(now) as (keyof T)[];
  return keys.every((key) => Object.is(now[key], before[key])) ? before : now;
}
