// Tabs of one database: each writes by itself, and tells the others what it committed.

import { report } from './error.js';

/** As much of a `BroadcastChannel` as is needed. */
export interface ChannelLike {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

/** What tabs need of the page they are in. */
export interface TabsEnvironment {
  /** A channel to the other tabs of this site; nothing where there is none. */
  channel(name: string): ChannelLike | undefined;
  /** Calls when this page goes on after it was frozen or kept in the background. What is given back ends that. */
  onResume(resumed: () => void): () => void;
}

/** What tabs need of their database. */
export interface TabsDatabase {
  /** Calls with each commit of this tab; what is given back ends that. */
  committed(listener: (message: Uint8Array) => void): () => void;
  /** Takes what another tab committed. */
  committedElsewhere(message: Uint8Array): Promise<void>;
  /** Reads again what others may have committed. */
  catchUp(): Promise<void>;
}

/**
 * Connects a database with those of other tabs. What is given back disconnects it.
 *
 * Messages are taken in the order they came. One that cannot be taken is made up for by reading again.
 */
export function connectTabs(name: string, database: TabsDatabase, environment: TabsEnvironment): () => void {
  const channel = environment.channel(name);
  if (channel === undefined) return () => undefined;
  let closed = false;
  let taken: Promise<void> = Promise.resolve();
  const then = (work: () => Promise<void>): void => {
    taken = taken.then(async () => {
      try {
        if (!closed) await work();
      } catch (error) {
        if (!closed) report(error);
      }
    });
  };
  channel.onmessage = ({ data }) => {
    if (!(data instanceof Uint8Array)) return;
    then(async () => {
      try {
        await database.committedElsewhere(data);
      } catch {
        if (!closed) await database.catchUp();
      }
    });
  };
  const silence = database.committed((message) => channel.postMessage(message));
  const forget = environment.onResume(() => then(() => database.catchUp()));
  return () => {
    closed = true;
    forget();
    silence();
    channel.onmessage = null;
    channel.close();
  };
}

/** How many messages a page that stands still keeps; older ones are lost. */
export const WAITING = 1_000;

/**
 * A channel that is silent while the browser has frozen the page. Messages of a `BroadcastChannel` reach a frozen page all the
 * same, and what it then begins in IndexedDB would not end, and would keep the other tabs from writing. A message port
 * waits, without the delays of timers in the background.
 */
export function relayed(channel: ChannelLike, ports: () => { readonly port1: MessagePort; readonly port2: MessagePort }): ChannelLike {
  const { port1, port2 } = ports();
  const relay: ChannelLike = {
    onmessage: null,
    postMessage: (message) => channel.postMessage(message),
    close: () => {
      channel.close();
      port1.close();
    },
  };
  let waiting: unknown[] = [];
  channel.onmessage = ({ data }) => {
    if (waiting.length === 0) port2.postMessage(null);
    waiting.push(data);
    // Whoever listens must bear that some are lost.
    if (waiting.length > WAITING) waiting.shift();
  };
  port1.onmessage = () => {
    const told = waiting;
    waiting = [];
    for (const data of told) relay.onmessage?.({ data });
  };
  return relay;
}

/** The page this runs in; in Node a channel reaches other threads, and does not keep the process alive. */
export const pageEnvironment: TabsEnvironment = {
  channel(name) {
    if (typeof BroadcastChannel !== 'function') return undefined;
    const channel = new BroadcastChannel(name) as unknown as ChannelLike & { unref?: () => void };
    channel.unref?.();
    return typeof document === 'undefined' ? channel : relayed(channel, () => new MessageChannel());
  },
  onResume(resumed) {
    if (typeof document === 'undefined') return () => undefined;
    const restored = (event: { readonly persisted?: boolean }): void => {
      if (event.persisted === true) resumed();
    };
    const listener = restored as unknown as EventListener;
    globalThis.addEventListener('pageshow', listener);
    document.addEventListener('resume', resumed);
    return () => {
      globalThis.removeEventListener('pageshow', listener);
      document.removeEventListener('resume', resumed);
    };
  },
};
