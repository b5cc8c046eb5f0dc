import type { Database, JournalEntry, Observable } from '@pocket/core';
import { PocketError } from '@pocket/core';
import { Listeners, Subject, decodeEntry, internals, rawModule, report, settled } from '@pocket/core/internal';
import type { RawHandle, RawSync } from '@pocket/core/internal';

import { Team } from './leader.js';
import type { Worker } from './leader.js';
import type { SyncOptions } from './options.js';
import { checkCollections, destination, namedAsHere, rawOptions } from './options.js';
import { onOnline, pageTeam } from './page.js';
import type { Snapshot, SyncCheckpoint, SyncProgress, SyncStats, SyncStatus, Wiped } from './status.js';
import { NOTHING, readSnapshot } from './status.js';

/** What tabs tell each other beside the leader's state. */
const TOKEN = 'token';
const CONFLICT = 'conflict';

/**
 * Carries changes to the server and back, in the background.
 *
 * Each tab has an engine, but one of them, the *leader*, has the connection; the others show its state and pass on to it
 * what they are asked for. Another one takes over in less than a second when the leader closes or is frozen.
 */
export class SyncEngine {
  readonly #raw: RawSync;
  readonly #team: Team;
  readonly #status = new Subject<SyncStatus>(NOTHING.status);
  readonly #stats = new Subject<SyncStats>(NOTHING.stats);
  readonly #progress = new Subject<SyncProgress>(NOTHING.progress);
  readonly #isLeader = new Subject(false);
  readonly #conflicts = new Listeners<JournalEntry>();
  /** Whether it connects by itself. */
  readonly #autoRetry: boolean;
  /** The database need not end this engine any more. */
  readonly #forget: () => void;
  /** Shows what waits in the outbox before the start. */
  #resting: RawHandle | undefined;
  #destroyed: Promise<void> | undefined;
  /** Throws where the options name collections that cannot sync. */
  readonly #checkNames: () => void;

  /** @internal */
  constructor(database: Database<any>, options: SyncOptions, environment = pageTeam) {
    const { json, hooks } = rawOptions(options);
    this.#autoRetry = options.autoRetry ?? true;
    const { raw, sharedAs, closing } = internals(database);
    if (database.isClosed) throw new PocketError('closed', `the database \`${database.name}\` is closed`);
    const { RawSync } = rawModule();
    try {
      this.#raw = new RawSync(raw, json, hooks);
    } catch (error) {
      throw namedAsHere(error);
    }
    const name = sharedAs === undefined ? undefined : `pocket:${sharedAs}:sync`;
    this.#checkNames = () => checkCollections(options, database.listCollections());
    this.#team = new Team(name, environment, this.#worker(), destination(options), {
      leading: (isLeader) => this.#isLeader.set(isLeader),
      snapshot: (snapshot) => this.#show(snapshot),
      told: (topic, payload) => this.#told(topic, payload),
      halted: () => this.#goOffline(),
      failed: (error) => {
        this.#status.set('error');
        this.#stats.set({ ...this.#stats.getSnapshot(), lastError: error });
      },
    });
    this.#forget = closing(() => this.destroy());
    this.#show(this.#raw.snapshot());
    this.#resting = this.#raw.watch((snapshot) => reporting(() => this.#show(snapshot)));
  }

  /** The leader's part. */
  #worker(): Worker {
    let handles: RawHandle[] = [];
    let forget = (): void => undefined;
    return {
      start: async () => {
        await this.#raw.start().catch((error: unknown) => {
          throw namedAsHere(error);
        });
        handles = [
          // The others first: what this tab cannot take, they may.
          this.#raw.watch((snapshot) => {
            this.#team.publish(snapshot);
            reporting(() => this.#show(snapshot));
          }),
          this.#raw.conflicts((entry) => {
            this.#team.tell(CONFLICT, entry);
            reporting(() => this.#told(CONFLICT, entry));
          }),
        ];
        // Rather than wait for the next attempt, which may be half a minute away. If it fails, the status says so.
        if (this.#autoRetry) forget = onOnline(() => void this.#raw.forceSync().catch(() => undefined));
      },
      stop: async () => {
        forget();
        for (const handle of handles) (handle.close(), handle.free());
        handles = [];
        await settled(() => this.#raw.stop());
      },
      call: (method) =>
        settled(() => {
          if (method === 'push') return this.#raw.push();
          return method === 'pull' ? this.#raw.pull() : this.#raw.forceSync();
        }),
      snapshot: () => this.#raw.snapshot(),
    };
  }

  /**
   * Starts: works offline, too, and resolves when this tab syncs or has heard of the one that does. Calling it again does
   * nothing.
   *
   * Rejects with `config` and `plaintext-refused` when the options contradict themselves, name collections that this database
   * does not have or does not sync, or let a token travel unencrypted; `already-syncing` while an engine with another server
   * or namespace runs on this database, in this tab or another one; `destroyed`. That the database belongs to another server,
   * namespace or user (`other-lineage`, `other-namespace`, `other-user`) is found later: the status is `error` then, and
   * {@link detach} and {@link wipe} are the ways out.
   */
  async start(): Promise<void> {
    this.#alive();
    this.#checkNames();
    this.#endResting();
    await this.#team.start();
  }

  /** Stops this tab's part; it can be started again. Other tabs go on syncing. */
  async stop(): Promise<void> {
    if (this.#destroyed !== undefined) return;
    await this.#team.stop();
    this.#goOffline();
  }

  /** Stops for good, and lets go of what it holds. Closing the database does that, too. */
  destroy(): Promise<void> {
    this.#destroyed ??= this.#destroy();
    return this.#destroyed;
  }

  async #destroy(): Promise<void> {
    this.#endResting();
    try {
      await this.#team.close();
      this.#goOffline();
      await settled(() => this.#raw.destroy());
    } finally {
      this.#raw.free();
      this.#forget();
    }
  }

  /**
   * Makes a complete pass: resolves when all that was written before is settled and all that the server had is here. Refused
   * changes do not fail it; they are in the journal.
   *
   * Rejects with what keeps it from connecting, at once (`connect`, `timeout`, `unauthorized`, …), with `connect` after
   * `maxRetryAttempts` lost connections, at once with `server-full` while the server's disk is full (what waits is sent by
   * itself once there is room), `stopped`, `direction`.
   */
  async forceSync(): Promise<void> {
    this.#alive();
    await this.#team.call('forceSync');
  }

  /** Sends what waits, and resolves when it is settled. Rejects as {@link forceSync}. */
  async push(): Promise<void> {
    this.#alive();
    await this.#team.call('push');
  }

  /** Reads what the server has, and resolves when it is here. Rejects as {@link forceSync}. */
  async pull(): Promise<void> {
    this.#alive();
    await this.#team.call('pull');
  }

  /**
   * Says who this is from now on, in all tabs. An engine that waits for a better token connects again at once; a connection
   * that is open goes on. Rejects with `config` when it can be no token, `plaintext-refused`, `destroyed`.
   */
  async setAuthToken(token: string | null): Promise<void> {
    this.#alive();
    const next: unknown = token ?? undefined;
    if (next !== undefined && typeof next !== 'string') throw new PocketError('config', `a token is text, or null for none, not a ${typeof next}`);
    await settled(() => this.#raw.setAuthToken(next));
    this.#team.keep(TOKEN, token);
  }

  /** Where sync stands. */
  getStatus(): Observable<SyncStatus> {
    return this.#status;
  }

  /** What happened so far. */
  getStats(): Observable<SyncStats> {
    return this.#stats;
  }

  /** How much is left. */
  getProgress(): Observable<SyncProgress> {
    return this.#progress;
  }

  /** Whether this tab has the connection. */
  get isLeader(): Observable<boolean> {
    return this.#isLeader;
  }

  /** How many mutations wait to be sent or settled, whether the engine runs or not. */
  async pendingChanges(): Promise<number> {
    this.#alive();
    return await settled(() => this.#raw.pendingChanges());
  }

  /** How far the server's feed is read and stored. */
  async checkpoint(): Promise<SyncCheckpoint> {
    this.#alive();
    const { seq, ...rest } = JSON.parse(await settled(() => this.#raw.checkpoint())) as { seq: number } & Omit<SyncCheckpoint, 'sequence'>;
    return { sequence: seq, ...rest };
  }

  /** Calls with each new entry of the journal, in every tab in which the engine runs. What is given back ends that. */
  onConflict(listener: (entry: JournalEntry) => void): () => void {
    const subscription = this.#conflicts.add(listener);
    return () => subscription.unsubscribe();
  }

  /**
   * Leaves the server this database belongs to, and keeps all documents: whatever server the next start meets gets all of
   * them. It stops the engines of all tabs. The way out of `other-lineage`, `other-namespace` and `other-user`. Answers
   * how many mutations wait.
   */
  async detach(): Promise<number> {
    this.#alive();
    const waiting = await this.#team.alone(() => settled(() => this.#raw.detach()));
    this.#goOffline();
    return waiting;
  }

  /**
   * Leaves the server this database belongs to, and removes the documents of all synced collections, also those that were
   * never sent, with the outbox and the journal. It stops the engines of all tabs.
   */
  async wipe(): Promise<Wiped> {
    this.#alive();
    const wiped = await this.#team.alone(() => settled(() => this.#raw.wipe()));
    this.#goOffline();
    return JSON.parse(wiped) as Wiped;
  }

  #alive(): void {
    if (this.#destroyed !== undefined) throw new PocketError('destroyed', 'the sync engine was destroyed; make a new one');
  }

  #show(json: string): void {
    const before: Snapshot = {
      status: this.#status.getSnapshot(),
      stats: this.#stats.getSnapshot(),
      progress: this.#progress.getSnapshot(),
    };
    const now = readSnapshot(json, before);
    // The status last: whoever hears that it is `error` finds the error.
    this.#stats.set(now.stats);
    this.#progress.set(now.progress);
    this.#status.set(now.status);
  }

  #told(topic: string, payload: unknown): void {
    if (topic === TOKEN) {
      settled(() => this.#raw.setAuthToken((payload as string | null) ?? undefined)).catch(report);
    } else if (topic === CONFLICT && payload instanceof Uint8Array) this.#conflicts.next(decodeEntry(payload));
  }

  #endResting(): void {
    this.#resting?.close();
    this.#resting?.free();
    this.#resting = undefined;
  }

  #goOffline(): void {
    this.#status.set('offline');
  }
}

/** Calls, and reports a fault rather than throw it at the engine. */
function reporting(run: () => void): void {
  try {
    run();
  } catch (error) {
    report(error);
  }
}

/**
 * Makes the sync engine of a database. It is there at once; `start()` begins.
 *
 * @throws PocketError `config`, with the name of an option that does not exist, is missing or has a wrong value. What
 * contradicts something else is told by `start()` at the latest. `closed`, when the database is.
 */
export function createSyncEngine(database: Database<any>, options: SyncOptions): SyncEngine {
  return new SyncEngine(database, options);
}
