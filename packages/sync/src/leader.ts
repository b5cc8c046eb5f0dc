// Which of several tabs runs the sync engine, and how the others use it. Nothing in here knows of the engine, of the page
// or of time: locks, channels and clocks come from outside.

import { PocketError, isPocketError } from '@pocket/core';
import type { ChannelLike } from '@pocket/core/internal';
import { report, toPocketError } from '@pocket/core/internal';

import { Alone } from './alone.js';
import type { Content, Kept, Message } from './messages.js';
import { VERSION } from './messages.js';
import { GRACE_MS, PING_MS, SILENCE_MS } from './times.js';

/** As much of `navigator.locks` as is needed. */
export interface LocksLike {
  request(name: string, options: { readonly steal?: boolean; readonly signal?: AbortSignal }, held: () => Promise<void>): Promise<unknown>;
}

/** What a team of tabs needs of the page. */
export interface TeamEnvironment {
  /** The locks of this site; without them each tab leads. */
  readonly locks: LocksLike | undefined;
  /** A channel to the other tabs; without one each tab leads. */
  channel(name: string): ChannelLike | undefined;
  /** Now, in milliseconds. */
  now(): number;
  /** The time of day, which all tabs share, in milliseconds. */
  date(): number;
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
 * there but does not answer (frozen by the browser) is robbed of it, and stops its engine when it goes on and hears of that:
 * until then there may be two. The server ends the older session of a client with `replaced`, and what was sent twice takes
 * effect once. What must not run beside an engine at all is done by {@link Team.alone}.
 */
export class Team {
  readonly #name: string;
  readonly #environment: TeamEnvironment;
  readonly #worker: Worker;
  readonly #listener: TeamListener;
  /** What the engine of this tab is for; tabs with another one are no team. */
  readonly #purpose: string;
  readonly #id: string;
  readonly #channel: ChannelLike | undefined;
  readonly #exclusion: Alone;
  /** Until when something runs alone here. */
  #alone: Promise<void> | undefined;
  readonly #kept = new Map<string, Kept>();
  #attempt: Attempt | undefined;
  /** Set while this tab takes part. */
  #started: Promise<void> | undefined;
  #settleStart: { resolve(): void; reject(error: PocketError): void } | undefined;
  #isLeader = false;
  /** Whether the engine is stopping here. */
  #isStopping = false;
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
  constructor(name: string | undefined, environment: TeamEnvironment, worker: Worker, purpose: string, listener: TeamListener) {
    this.#name = name ?? '';
    this.#purpose = purpose;
    this.#environment = environment;
    this.#worker = worker;
    this.#listener = listener;
    this.#id = environment.id();
    this.#channel = name === undefined ? undefined : environment.channel(name);
    if (this.#channel !== undefined) this.#channel.onmessage = ({ data }) => this.#received(data);
    this.#exclusion = new Alone(this.#name, {
      locks: this.#locks,
      hasChannel: this.#channel !== undefined,
      now: () => environment.now(),
      after: (ms, run) => environment.after(ms, run),
      halt: () => {
        this.#post({ kind: 'halt' });
        this.#post({ kind: 'ping' });
      },
    });
  }

  /** Without a channel a leader could not be heard, so that each tab leads. */
  get #locks(): LocksLike | undefined {
    return this.#channel === undefined ? undefined : this.#environment.locks;
  }

  /** Whether this tab leads. */
  get isLeader(): boolean {
    return this.#isLeader;
  }

  /** Takes part. Resolves when this tab leads and its engine has started, or when it has heard of the one who leads. */
  start(): Promise<void> {
    this.#started ??= new Promise<void>((resolve, reject) => {
      const settle = { resolve, reject };
      this.#settleStart = settle;
      const begin = (): void => {
        if (this.#settleStart !== settle) return;
        // What runs alone runs beside no engine of this tab, either.
        if (this.#alone !== undefined) return void this.#alone.then(begin);
        this.#post({ kind: 'hello' });
        const locks = this.#locks;
        if (locks === undefined) {
          this.#attempt = { withdraw: new AbortController(), release: () => undefined };
          return this.#lead(this.#attempt);
        }
        this.#follow();
        this.#campaign(locks, false);
      };
      begin();
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
    if (this.#isLeader) this.#resign();
    await this.#stopping;
    attempt?.release?.();
  }

  /** Leaves for good: nothing is heard or told any more. */
  async close(): Promise<void> {
    await this.stop();
    // Others must not take for frozen what still runs alone here.
    while (this.#alone !== undefined) await this.#alone;
    if (this.#channel === undefined) return;
    this.#channel.onmessage = null;
    this.#channel.close();
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
    if (this.#isLeader) this.#post({ kind: 'snapshot', snapshot, purpose: this.#purpose });
  }

  /** Tells the others something. */
  tell(topic: string, payload: unknown): void {
    this.#post({ kind: 'told', topic, payload });
  }

  /** Tells the others something that those hear, too, that come later; what this replaces they do not. */
  keep(topic: string, payload: unknown): void {
    const since = Math.max(this.#environment.date(), (this.#kept.get(topic)?.since ?? 0) + 1);
    const kept = { since, by: this.#id, payload };
    this.#kept.set(topic, kept);
    this.#post({ kind: 'kept', topic, kept });
  }

  /**
   * Stops the engines of all tabs, waits until they have stopped, and does something that none of them may run beside. They
   * stay stopped; one that is started meanwhile waits. Without locks such a one is stopped, too.
   *
   * A tab that is frozen stops when it goes on. Rejects with what `run` rejects with, as an error of Pocket.
   */
  alone<R>(run: () => Promise<R>): Promise<R> {
    const before = this.#alone;
    const answer = (async () => {
      await before;
      await this.stop();
      return this.#exclusion.run(run);
    })();
    const ends = (): void => {
      if (this.#alone === ended) this.#alone = undefined;
    };
    const ended: Promise<void> = answer.then(ends, ends);
    this.#alone = ended;
    return answer;
  }

  #post(content: Content): void {
    this.#channel?.postMessage({ ...content, from: this.#id, version: VERSION } satisfies Message);
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
    this.#post({ kind: 'leading' });
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
        this.#fail(toPocketError(error));
      },
    );
  }

  /** The engine cannot run here: whoever waits for its start hears of it, or the listener. */
  #fail(error: PocketError): void {
    const settle = this.#settleStart;
    this.#settleStart = undefined;
    if (settle === undefined) this.#listener.failed(error);
    void this.stop();
    settle?.reject(error);
  }

  /** Ends being the leader, but not taking part. */
  #resign(): void {
    this.#isLeader = false;
    this.#listener.leading(false);
    this.#isStopping = true;
    const starting = this.#starting.catch(() => undefined);
    const stopping = starting
      .then(() => this.#worker.stop())
      .catch(() => undefined)
      .then(() => {
        if (this.#stopping === stopping) this.#isStopping = false;
      });
    this.#stopping = stopping;
  }

  #lost(locks: LocksLike): void {
    this.#resign();
    this.#leader = undefined;
    this.#post({ kind: 'hello' });
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
    this.#ping();
  }

  #ping(): void {
    const { now, after } = this.#environment;
    this.#post({ kind: 'ping' });
    this.#silentSince ??= now();
    const isSilent = now() - this.#silentSince >= SILENCE_MS;
    this.#cancelPing?.();
    this.#cancelPing = after(isSilent ? GRACE_MS : PING_MS, () => {
      const locks = this.#locks;
      if (!isSilent || this.#silentSince === undefined || locks === undefined) return this.#ping();
      // Whatever comes of it, the next one to be suspected has its own time.
      this.#silentSince = undefined;
      this.#campaign(locks, true);
      this.#ping();
    });
  }

  /** Whether it is the state of a leader whose engine is for something else. Earlier versions do not tell what for. */
  #isOfOthers({ from, purpose }: { readonly from: string; readonly purpose?: string }): boolean {
    if (this.#isLeader || this.#started === undefined || (this.#leader ?? from) !== from) return false;
    return purpose !== undefined && purpose !== this.#purpose;
  }

  /** Whether a message comes from whom this tab takes for the leader, who thereby shows to be there. */
  #isFromLeader(from: string): boolean {
    if (this.#isLeader || this.#started === undefined) return false;
    this.#leader ??= from;
    if (this.#leader !== from) return false;
    this.#silentSince = undefined;
    this.#joined();
    return true;
  }

  #received(data: unknown): void {
    // A fault in one message is none of those that come after it.
    try {
      if (typeof data === 'object' && data !== null && 'kind' in data && 'from' in data) this.#heard(data as Message);
    } catch (error) {
      report(error);
    }
  }

  #heard(message: Message): void {
    switch (message.kind) {
      case 'hello':
        return this.#greet();
      case 'ping':
        if (this.#isLeader) this.#post({ kind: 'pong' });
        else if (this.#isStopping || this.#exclusion.isRunning) this.#post({ kind: 'busy' });
        return;
      case 'pong':
        this.#exclusion.answered();
        // An answer that was lost while this page stood still is asked for again; one that is on its way came before this.
        if (this.#isFromLeader(message.from)) for (const id of [...this.#pending.keys()]) this.#deliver(id);
        return;
      case 'busy':
        // Its engine still stops, or it does something alone: it gives the lock back by itself.
        this.#exclusion.answered();
        this.#silentSince = undefined;
        return;
      case 'leading':
        if (this.#isLeader || this.#started === undefined) return;
        this.#leader = message.from;
        this.#isFromLeader(message.from);
        for (const id of [...this.#pending.keys()]) this.#deliver(id);
        return;
      case 'halt':
        void this.stop();
        return this.#listener.halted();
      default:
        if (message.version === VERSION) this.#understood(message);
    }
  }

  #understood(message: Message): void {
    switch (message.kind) {
      case 'snapshot':
        if (this.#isOfOthers(message)) return this.#fail(new PocketError('already-syncing', `this database syncs with ${message.purpose}, and not with ${this.#purpose}: stop that engine first, which may be one of another tab`));
        if (this.#isFromLeader(message.from)) this.#listener.snapshot(message.snapshot);
        return;
      case 'told':
        if (this.#started !== undefined) this.#listener.told(message.topic, message.payload);
        return;
      case 'kept':
        return this.#learn(message.topic, message.kept);
      case 'call':
        if (this.#isLeader) this.#answer(message.from, message.id, message.method);
        return;
      case 'result':
        if (message.to === this.#id) this.#settle(message.id, message.error);
        return;
    }
  }

  /** Tells a tab that begins what there is to know. */
  #greet(): void {
    if (this.#exclusion.mustHalt) this.#post({ kind: 'halt' });
    for (const [topic, kept] of this.#kept) {
      // Whoever said it may be the only one to know.
      if (this.#isLeader || kept.by === this.#id) this.#post({ kind: 'kept', topic, kept });
    }
    if (this.#isLeader) this.publish(this.#worker.snapshot());
  }

  #learn(topic: string, kept: Kept): void {
    const known = this.#kept.get(topic);
    if (known !== undefined && (known.since > kept.since || (known.since === kept.since && known.by >= kept.by))) return;
    this.#kept.set(topic, kept);
    this.#listener.told(topic, kept.payload);
  }

  /** Does what another tab asked for. */
  #answer(from: string, id: number, method: string): void {
    const key = `${from}/${id}`;
    if (this.#running.has(key)) return;
    this.#running.add(key);
    const result = { kind: 'result', to: from, id } as const;
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
    if (!this.#isLeader) return this.#post({ kind: 'call', id, method: pending.method });
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
