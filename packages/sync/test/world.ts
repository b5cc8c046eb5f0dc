// A site with tabs that can be frozen and closed, on a clock that the test moves. Whatever reaches a tab (a message, a timer,
// a lock) waits while it is frozen, as in a browser.

import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';

import { isPocketError } from '@pocket/core';
import type { ChannelLike } from '@pocket/core/internal';

import type { LocksLike, TeamEnvironment, TeamListener, Worker } from '../dist/leader.js';
import { Team } from '../dist/leader.js';

interface Timer {
  readonly at: number;
  readonly tab: Tab;
  readonly run: () => void;
}

interface Request {
  readonly tab: Tab;
  readonly held: () => Promise<void>;
  resolve(): void;
  reject(error: Error): void;
}

const aborted = (): Error => Object.assign(new Error('the lock was taken away'), { name: 'AbortError' });

export class World {
  now = 0;
  timers: Timer[] = [];
  readonly channels = new Set<Channel>();
  holder: Request | undefined;
  queue: Request[] = [];
  readonly tabs: Tab[] = [];
  /** Which messages get lost. */
  lost: (message: { readonly kind?: string }) => boolean = () => false;

  tab(name: string, options: { readonly locks?: LocksLike | 'none'; readonly purpose?: string } = {}): Tab {
    const tab = new Tab(this, name, options.locks, options.purpose);
    this.tabs.push(tab);
    return tab;
  }

  /** The names of the tabs whose engine runs. */
  get running(): string[] {
    return this.tabs.filter((tab) => tab.isRunning && !tab.isClosed).map((tab) => tab.name);
  }

  /** Another channel of a tab, as that of a script of another version. */
  channel(tab: Tab): ChannelLike {
    return new Channel(tab);
  }

  /** Lets everything happen that needs no time. */
  async settle(): Promise<void> {
    // Each turn lets all promises that are settled call on; chains here are shorter than this.
    for (let count = 0; count < 12; count += 1) await turn();
  }

  /** Lets so many milliseconds pass. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    await this.settle();
    for (;;) {
      const next = this.timers.filter((timer) => timer.at <= end).sort((one, two) => one.at - two.at)[0];
      if (next === undefined) break;
      this.timers.splice(this.timers.indexOf(next), 1);
      this.now = Math.max(this.now, next.at);
      next.tab.reach(next.run, 'timer');
      await this.settle();
    }
    this.now = end;
  }

  request(request: Request, steal: boolean): void {
    if (steal && this.holder !== undefined) {
      const robbed = this.holder;
      this.holder = undefined;
      robbed.tab.reach(() => robbed.reject(aborted()));
    }
    if (steal) this.queue.unshift(request);
    else this.queue.push(request);
    this.grant();
  }

  grant(): void {
    if (this.holder !== undefined) return;
    const next = this.queue.shift();
    if (next === undefined) return;
    this.holder = next;
    next.tab.reach(() => {
      void next.held().then(() => {
        next.resolve();
        if (this.holder !== next) return;
        this.holder = undefined;
        this.grant();
      });
    });
  }
}

class Channel {
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  readonly #tab: Tab;

  constructor(tab: Tab) {
    this.#tab = tab;
    tab.world.channels.add(this);
  }

  postMessage(message: unknown): void {
    const data = structuredClone(message) as { readonly kind?: string } | null;
    if (data?.kind !== undefined && this.#tab.world.lost(data)) return;
    for (const other of this.#tab.world.channels) {
      if (other === this) continue;
      // Later, as in a browser, and not at all if it was closed meanwhile.
      queueMicrotask(() => other.#tab.reach(() => this.#tab.world.channels.has(other) && other.onmessage?.({ data })));
    }
  }

  close(): void {
    this.#tab.world.channels.delete(this);
  }

  get tab(): Tab {
    return this.#tab;
  }
}

/** A call that an engine was asked to make. */
export interface Asked {
  readonly tab: string;
  readonly method: string;
  done(): void;
  fail(error: unknown): void;
}

export class Tab {
  readonly world: World;
  readonly name: string;
  readonly team: Team;
  isRunning = false;
  isClosed = false;
  /** Why its engine does not start. */
  refusal: Error | undefined;
  /** What holds its engine up while it stops. */
  stopping: Promise<void> = Promise.resolve();
  #frozen: (() => void)[] | undefined;
  readonly heard: string[] = [];
  readonly asked: Asked[] = [];
  state = 'none';
  /** What its listener throws at. */
  fault: (what: string) => boolean = () => false;

  constructor(world: World, name: string, locks: LocksLike | 'none' | undefined, purpose = 'one server') {
    this.world = world;
    this.name = name;
    const environment: TeamEnvironment = {
      locks: locks === 'none' ? undefined : (locks ?? this.#locks()),
      channel: () => new Channel(this),
      now: () => world.now,
      date: () => world.now,
      after: (ms, run) => {
        const timer = { at: world.now + ms, tab: this, run };
        world.timers.push(timer);
        return () => {
          world.timers = world.timers.filter((other) => other !== timer);
        };
      },
      id: () => name,
    };
    const worker: Worker = {
      start: async () => {
        await Promise.resolve();
        if (this.refusal !== undefined) throw this.refusal;
        this.isRunning = true;
        this.state = `state of ${name}`;
      },
      stop: async () => {
        await this.stopping;
        this.isRunning = false;
        for (const asked of this.asked.splice(0)) asked.fail(Object.assign(new Error('stopped'), { code: 'stopped' }));
      },
      call: (method) =>
        new Promise<void>((resolve, reject) => {
          this.asked.push({ tab: name, method, done: resolve, fail: reject });
        }),
      snapshot: () => this.state,
    };
    const listener: TeamListener = {
      leading: (isLeader) => this.heard.push(isLeader ? 'leads' : 'follows'),
      snapshot: (snapshot) => this.heard.push(snapshot),
      told: (topic, payload) => {
        const what = `${topic}: ${String(payload)}`;
        if (this.fault(what)) throw new Error(`cannot take ${what}`);
        this.heard.push(what);
      },
      halted: () => this.heard.push('halted'),
      failed: (error) => this.heard.push(`failed: ${error.code}`),
    };
    this.team = new Team('site', environment, worker, purpose, listener);
  }

  #locks(): LocksLike {
    const { world } = this;
    return {
      request: (_name, { steal, signal }, held) =>
        new Promise<void>((resolve, reject) => {
          const request: Request = { tab: this, held, resolve, reject };
          signal?.addEventListener('abort', () => {
            if (!world.queue.includes(request)) return;
            world.queue = world.queue.filter((other) => other !== request);
            reject(aborted());
          });
          world.request(request, steal === true);
        }),
    };
  }

  /** Something reaches the tab: now, when it goes on, or never. */
  reach(run: () => void, what: 'timer' | 'event' = 'event'): void {
    if (this.isClosed) return;
    if (this.#frozen === undefined) return run();
    // Timers come first when it goes on: the answers that would calm them are still to be heard.
    if (what === 'timer') this.#frozen.unshift(run);
    else this.#frozen.push(run);
  }

  freeze(): void {
    this.#frozen = [];
  }

  thaw(): void {
    const waiting = this.#frozen ?? [];
    this.#frozen = undefined;
    for (const run of waiting) run();
  }

  /** As when the user closes it, or it crashes. */
  close(): void {
    this.isClosed = true;
    const { world } = this;
    for (const channel of [...world.channels]) if (channel.tab === this) channel.close();
    world.timers = world.timers.filter((timer) => timer.tab !== this);
    world.queue = world.queue.filter((request) => request.tab !== this);
    if (world.holder?.tab !== this) return;
    world.holder = undefined;
    world.grant();
  }
}

/** Tabs that have started; the first of them leads. */
export async function started(...names: string[]): Promise<{ world: World; tabs: Tab[] }> {
  const world = new World();
  const tabs = names.map((name) => world.tab(name));
  for (const tab of tabs) {
    void tab.team.start();
    await world.settle();
  }
  assert.deepEqual(world.running, names.slice(0, 1));
  return { world, tabs };
}

/** How a promise ended, as far as it has. */
export function watched(promise: Promise<unknown>): { outcome: string } {
  const seen = { outcome: 'waits' };
  promise.then(
    () => (seen.outcome = 'done'),
    (error: unknown) => (seen.outcome = isPocketError(error) ? error.code : `no error of Pocket: ${String(error)}`),
  );
  return seen;
}

/** The newest of what was heard. */
export const last = <V>(values: readonly V[]): V => {
  const value = values.at(-1);
  assert.ok(value !== undefined);
  return value;
};
