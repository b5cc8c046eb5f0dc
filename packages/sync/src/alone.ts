// What no engine of any tab may run beside: asks for the lock without taking it from whoever still answers.

import { toPocketError } from '@pocket/core/internal';

import type { LocksLike } from './leader.js';
import { GRACE_MS, PING_MS, SILENCE_MS } from './times.js';

/** What doing something alone needs of the tab's team. */
export interface AloneEnvironment {
  /** Without them, all that can be done is to wait until no other tab answers. */
  readonly locks: LocksLike | undefined;
  /** Whether there is a channel, by which others can be told and heard. */
  readonly hasChannel: boolean;
  /** Now, in milliseconds. */
  now(): number;
  /** Runs something later; what is given back cancels that. */
  after(ms: number, run: () => void): () => void;
  /** Tells all other tabs to stop their engines, and asks whether one of them still runs. */
  halt(): void;
}

/**
 * Does something that no engine may run beside.
 *
 * Other tabs are told to stop until the lock is had, as one may start meanwhile. One that answers is waited for, however long
 * its engine takes to stop; one that does not (frozen by the browser) is robbed of the lock.
 */
export class Alone {
  readonly #name: string;
  readonly #environment: AloneEnvironment;
  /** Since when nobody has answered. */
  #silentSince: number | undefined;
  #cancel: (() => void) | undefined;
  #isRunning = false;
  #hasLock = false;

  /** For the tabs that share this lock. */
  constructor(name: string, environment: AloneEnvironment) {
    this.#name = name;
    this.#environment = environment;
  }

  /** Whether it is being done, so that others must wait. */
  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Whether nothing but telling them keeps engines from starting beside it. */
  get mustHalt(): boolean {
    return this.#isRunning && !this.#hasLock;
  }

  /** Another tab runs an engine, or does something alone. */
  answered(): void {
    this.#silentSince = undefined;
  }

  /** Does it, once; rejects with what it rejects with, as an error of Pocket. */
  async run<R>(action: () => Promise<R>): Promise<R> {
    const { locks, hasChannel } = this.#environment;
    const begin = async (): Promise<R> => {
      this.#cancel?.();
      this.#isRunning = true;
      try {
        return await action();
      } catch (error) {
        throw toPocketError(error);
      } finally {
        this.#isRunning = false;
        this.#hasLock = false;
      }
    };
    // Nobody to be told, nobody to be heard.
    if (!hasChannel) return begin();
    return locks === undefined ? this.#quiet(begin) : this.#locked(locks, begin);
  }

  #quiet<R>(begin: () => Promise<R>): Promise<R> {
    return new Promise((resolve, reject) => this.#knock(() => void begin().then(resolve, reject)));
  }

  #locked<R>(locks: LocksLike, begin: () => Promise<R>): Promise<R> {
    return new Promise((resolve, reject) => {
      let done: Promise<void> | undefined;
      // It may be granted twice: in the moment it was withdrawn, and then by force.
      const held = (): Promise<void> => {
        this.#hasLock = true;
        done ??= begin().then(resolve, reject);
        return done;
      };
      const withdraw = new AbortController();
      const ask = (options: Parameters<LocksLike['request']>[1]): void => {
        locks.request(this.#name, options, held).catch((error: unknown) => {
          if (this.#isRunning) {
            // Robbed, as this page did not answer in time. What was begun goes on, so the robber must stop.
            this.#hasLock = false;
            this.#environment.halt();
          }
          if (done !== undefined || (withdraw.signal.aborted && (error as { name?: unknown }).name === 'AbortError')) return;
          // Locks cannot be had here at all, as in a sandboxed frame.
          this.#cancel?.();
          done = this.#quiet(begin).then(resolve, reject);
        });
      };
      this.#knock(() => {
        withdraw.abort();
        ask({ steal: true });
      });
      ask({ signal: withdraw.signal });
    });
  }

  /** Tells and asks the others, until nobody answers. */
  #knock(silent: () => void): void {
    this.#silentSince = undefined;
    const round = (): void => {
      const { now, after, halt } = this.#environment;
      halt();
      this.#silentSince ??= now();
      const isSilent = now() - this.#silentSince >= SILENCE_MS;
      this.#cancel = after(isSilent ? GRACE_MS : PING_MS, () => {
        // In the time of grace a page that was itself frozen hears the answers that wait for it.
        if (isSilent && this.#silentSince !== undefined) silent();
        else round();
      });
    };
    round();
  }
}
