// Which of several tabs runs the sync engine, and how the others use it. Nothing in here knows of the engine, of the page
// or of time: locks, channels and clocks come from outside.

import { PocketError, isPocketError } from '@pocket/core';
import type { ChannelLike } from '@pocket/core/internal';
import { toPocketError } from '@pocket/core/internal';

/** How often a follower asks whether the leader is there, in milliseconds. */
export const PING_MS = 250;

/** How long a leader may leave that unanswered before it is suspected, in milliseconds. */
export const SILENCE_MS = 500;

/**
 * How long a suspected leader has, in milliseconds; with it a takeover takes less than a second. In that time a follower that
 * was itself frozen hears the answers that wait for it.
 */
export const GRACE_MS = 100;

/** As much of `navigator.locks` as is needed. */
export interface LocksLike {
  request(name: string, options: { readonly steal?: boolean; readonly signal?: AbortSignal }, held: () => Promise<void>): Promise<unknown>;
}

/** What a team of tabs needs of the page. */
export interface TeamEnvironment {
  /** The locks of this site; without them each tab is alone. */
  readonly locks: LocksLike | undefined;
  /** A channel to the other tabs; without one each tab is alone. */
  channel(name: string): ChannelLike | undefined;
  /** Now, in milliseconds. */
  now(): number;
  /** Runs something later; what is given back cancels that. */
  after(ms: number, run: () => void): () => void;
  /** A name that no other tab has. */
  id(): string;
}

/** What the leader runs. */
export interface Worker {
  /** This tab leads from now on. */
  start(): Promise<void>;
  /** It does not any more. */
  stop(): Promise<void>;
  /** Does what this tab or another one asks for. */
  call(method: string): Promise<void>;
  /** The newest state, as text for the others. */
  snapshot(): string;
}

/** What a tab hears of its team. */
export interface TeamListener {
  /** Whether this tab leads. */
  leading(isLeader: boolean): void;
  /** The leader's state. */
  snapshot(snapshot: string): void;
  /** Something another tab told all. */
  told(topic: string, payload: unknown): void;
  /** All tabs were told to stop, and this one does. */
  halted(): void;
  /** The engine did not start here, when this tab took over. */
  failed(error: PocketError): void;
}

type Message =
  | { readonly kind: 'hello' | 'ping' | 'pong' | 'leading' | 'halt'; readonly from: string }
  | { readonly kind: 'snapshot'; readonly from: string; readonly snapshot: string }
  | { readonly kind: 'told'; readonly from: string; readonly topic: string; readonly payload: unknown }
  | { readonly kind: 'call'; readonly from: string; readonly id: number; readonly method: string }
  | { readonly kind: 'result'; readonly from: string; readonly to: string; readonly id: number; readonly error?: { readonly code: string; readonly message: string } };

/** A wish to lead: a request for the lock. */
interface Attempt {
  readonly withdraw: AbortController;
  /** Gives the lock back; there is one while this tab has it. */
  release: (() => void) | undefined;
}

interface Pending {
  readonly method: string;
  resolve(): void;
  reject(error: PocketError): void;
}

const stopped = (): PocketError => new PocketError('stopped', 'the sync engine does not run; start it first');

/**
 * One tab's part in its team.
 *
 * Whoever has the lock leads. The lock passes to the next tab when its holder closes, stops or crashes. A holder that is
 * there but does not answer (frozen by the browser) is robbed of it. Two leaders for a moment are harmless: the server ends
 * the older session, and what was sent twice takes effect once.
 */
export class Team {
  readonly #name: string;
  readonly #environment: TeamEnvironment;
  readonly #worker: Worker;
  readonly #listener: TeamListener;
  readonly #id: string;
  #channel: ChannelLike | undefined;
  #attempt: Attempt | undefined;
  /** Set while this tab takes part. */
  #started: Promise<void> | undefined;
  #settleStart: { resolve(): void; reject(error: PocketError): void } | undefined;
  #isLeader = false;
  /** Until when the engine is starting here. */
  #starting: Promise<void> = Promise.resolve();
  /** Until when the engine is stopping here. */
  #stopping: Promise<void> = Promise.resolve();
  /** Who leads, as far as this tab knows. */
  #leader: string | undefined;
  /** Since when the leader has left pings unanswered. */
  #silentSince: number | undefined;
  #cancelPing: (() => void) | undefined;
  #calls = 0;
  readonly #pending = new Map<number, Pending>();
  /** Calls of other tabs that run here now, so that one that is sent twice runs once. */
  readonly #running = new Set<string>();

  /** For the tabs that share this name; without a name, this tab is alone. */
  constructor(name: string | undefined, environment: TeamEnvironment, worker: Worker, listener: TeamListener) {
    this.#name = name ?? '';
    this.#environment = name === undefined ? { ...environment, locks: undefined } : environment;
    this.#worker = worker;
    this.#listener = listener;
    this.#id = environment.id();
  }

  /** Whether this tab leads. */
  get isLeader(): boolean {
    return this.#isLeader;
  }

  /** Takes part. Resolves when this tab leads and its engine has started, or when it has heard of the one who leads. */
  start(): Promise<void> {
    this.#started ??= new Promise<void>((resolve, reject) => {
      this.#settleStart = { resolve, reject };
      const { locks } = this.#environment;
      this.#channel = locks === undefined ? undefined : this.#environment.channel(this.#name);
      if (locks === undefined || this.#channel === undefined) {
        this.#attempt = { withdraw: new AbortController(), release: () => undefined };
        return this.#lead(this.#attempt);
      }
      this.#channel.onmessage = ({ data }) => this.#heard(data as Message);
      this.#follow();
      this.#campaign(locks, false);
    });
    return this.#started;
  }

  /** Leaves. A leader gives the lock back when its engine has stopped; calls that are not answered reject with `stopped`. */
  async stop(): Promise<void> {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    this.#started = undefined;
    this.#settleStart?.reject(stopped());
    this.#settleStart = undefined;
    this.#cancelPing?.();
    this.#leader = undefined;
    for (const pending of this.#pending.values()) pending.reject(stopped());
    this.#pending.clear();
    attempt?.withdraw.abort();
    if (this.#channel !== undefined) {
      this.#channel.onmessage = null;
      this.#channel.close();
      this.#channel = undefined;
    }
    if (this.#isLeader) this.#resign();
    await this.#stopping;
    attempt?.release?.();
  }

  /** Has the leader do something, whoever that is: asks the next one again if it goes. Rejects with `stopped`. */
  call(method: string): Promise<void> {
    if (this.#started === undefined) return Promise.reject(stopped());
    return new Promise((resolve, reject) => {
      this.#calls += 1;
      this.#pending.set(this.#calls, { method, resolve, reject });
      this.#deliver(this.#calls);
    });
  }

  /** Tells the others the leader's state. */
  publish(snapshot: string): void {
    if (this.#isLeader) this.#post({ kind: 'snapshot', from: this.#id, snapshot });
  }

  /** Tells the others something. */
  tell(topic: string, payload: unknown): void {
    this.#post({ kind: 'told', from: this.#id, topic, payload });
  }

  /** Stops the engines of all tabs, and does something that none of them may run beside. They stay stopped. */
  async alone<R>(run: () => Promise<R>): Promise<R> {
    await this.stop();
    const { locks } = this.#environment;
    const channel = locks === undefined ? undefined : this.#environment.channel(this.#name);
    if (locks === undefined || channel === undefined) return run();
    channel.postMessage({ kind: 'halt', from: this.#id } satisfies Message);
    try {
      return await new Promise<R>((resolve, reject) => {
        locks
          .request(this.#name, { steal: true }, async () => {
            await run().then(resolve, reject);
          })
          .catch(reject);
      });
    } finally {
      channel.close();
    }
  }

  #post(message: Message): void {
    this.#channel?.postMessage(message);
  }

  #campaign(locks: LocksLike, steal: boolean): void {
    const attempt: Attempt = { withdraw: new AbortController(), release: undefined };
    this.#attempt?.withdraw.abort();
    this.#attempt = attempt;
    const held = (): Promise<void> =>
      new Promise((resolve) => {
        // Withdrawn in the moment it was granted.
        if (this.#attempt !== attempt) return resolve();
        attempt.release = resolve;
        this.#lead(attempt);
      });
    // A request that steals is granted at once, and may not have a signal.
    const options = steal ? { steal } : { signal: attempt.withdraw.signal };
    locks.request(this.#name, options, held).catch((error: unknown) => {
      if (this.#attempt !== attempt) return;
      // It was stolen: this tab did not answer in time. It goes on as a follower.
      if (attempt.release !== undefined) return this.#lost(locks);
      // Locks cannot be had here at all, as in a sandboxed frame.
      if ((error as { name?: unknown }).name !== 'AbortError') this.#lead(attempt);
    });
  }

  #lead(attempt: Attempt): void {
    this.#cancelPing?.();
    this.#isLeader = true;
    this.#leader = this.#id;
    this.#post({ kind: 'leading', from: this.#id });
    this.#listener.leading(true);
    this.#starting = this.#stopping.then(() => (this.#attempt === attempt ? this.#worker.start() : undefined));
    this.#starting.then(
      () => {
        if (this.#attempt !== attempt) return;
        this.#joined();
        this.publish(this.#worker.snapshot());
        for (const id of [...this.#pending.keys()]) this.#deliver(id);
      },
      (error: unknown) => {
        if (this.#attempt !== attempt) return;
        const settle = this.#settleStart;
        this.#settleStart = undefined;
        if (settle === undefined) this.#listener.failed(toPocketError(error));
        void this.stop();
        settle?.reject(toPocketError(error));
      },
    );
  }

  /** Ends being the leader, but not taking part. */
  #resign(): void {
    this.#isLeader = false;
    this.#listener.leading(false);
    const starting = this.#starting.catch(() => undefined);
    this.#stopping = starting.then(() => this.#worker.stop()).catch(() => undefined);
  }

  #lost(locks: LocksLike): void {
    this.#resign();
    this.#leader = undefined;
    this.#follow();
    this.#campaign(locks, false);
    for (const id of [...this.#pending.keys()]) this.#deliver(id);
  }

  #joined(): void {
    this.#settleStart?.resolve();
    this.#settleStart = undefined;
  }

  #follow(): void {
    this.#silentSince = undefined;
    this.#post({ kind: 'hello', from: this.#id });
    this.#ping();
  }

  #ping(): void {
    const { now, after } = this.#environment;
    this.#post({ kind: 'ping', from: this.#id });
    this.#silentSince ??= now();
    const isSilent = now() - this.#silentSince >= SILENCE_MS;
    this.#cancelPing?.();
    this.#cancelPing = after(isSilent ? GRACE_MS : PING_MS, () => {
      const { locks } = this.#environment;
      if (!isSilent || this.#silentSince === undefined || locks === undefined) return this.#ping();
      // Whatever comes of it, the next one to be suspected has its own time.
      this.#silentSince = undefined;
      this.#campaign(locks, true);
      this.#ping();
    });
  }

  /** Whether a message comes from whom this tab takes for the leader, who thereby shows to be there. */
  #isFromLeader(from: string): boolean {
    if (this.#isLeader) return false;
    this.#leader ??= from;
    if (this.#leader !== from) return false;
    this.#silentSince = undefined;
    this.#joined();
    return true;
  }

  #heard(message: Message): void {
    switch (message.kind) {
      case 'hello':
        if (this.#isLeader) this.publish(this.#worker.snapshot());
        return;
      case 'ping':
        if (this.#isLeader) this.#post({ kind: 'pong', from: this.#id });
        return;
      case 'pong':
        // An answer that was lost while this page stood still is asked for again; one that is on its way came before this.
        if (this.#isFromLeader(message.from)) for (const id of [...this.#pending.keys()]) this.#deliver(id);
        return;
      case 'leading':
        if (this.#isLeader) return;
        this.#leader = message.from;
        this.#isFromLeader(message.from);
        for (const id of [...this.#pending.keys()]) this.#deliver(id);
        return;
      case 'snapshot':
        if (this.#isFromLeader(message.from)) this.#listener.snapshot(message.snapshot);
        return;
      case 'told':
        return this.#listener.told(message.topic, message.payload);
      case 'call':
        if (this.#isLeader) this.#answer(message.from, message.id, message.method);
        return;
      case 'result':
        if (message.to === this.#id) this.#settle(message.id, message.error);
        return;
      case 'halt':
        void this.stop();
        return this.#listener.halted();
    }
  }

  /** Does what another tab asked for. */
  #answer(from: string, id: number, method: string): void {
    const key = `${from}/${id}`;
    if (this.#running.has(key)) return;
    this.#running.add(key);
    const result = { kind: 'result', from: this.#id, to: from, id } as const;
    this.#work(method)
      .then(
        () => this.#post(result),
        (error: unknown) => {
          // One who lost the lead gives no answer: the next leader is asked again.
          const { code, message } = toPocketError(error);
          if (this.#isLeader) this.#post({ ...result, error: { code, message } });
        },
      )
      .finally(() => this.#running.delete(key));
  }

  #deliver(id: number): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    if (!this.#isLeader) return this.#post({ kind: 'call', from: this.#id, id, method: pending.method });
    const key = `${this.#id}/${id}`;
    if (this.#running.has(key)) return;
    this.#running.add(key);
    this.#work(pending.method)
      .then(
        () => this.#settle(id),
        (error: unknown) => {
          if (this.#isLeader || this.#started === undefined) this.#settle(id, toPocketError(error));
        },
      )
      .finally(() => this.#running.delete(key));
  }

  async #work(method: string): Promise<void> {
    await this.#starting;
    await this.#worker.call(method);
  }

  #settle(id: number, error?: { readonly code: string; readonly message: string }): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (error === undefined) pending?.resolve();
    else pending?.reject(isPocketError(error) ? error : new PocketError(error.code, error.message));
  }
}
