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

/** A database's connection to those of other tabs. */
export interface TabsConnection {
  /** Takes no message any more, but goes on telling what is committed here. */
  stopHearing(): void;
  /** Ends both. */
  close(): void;
}

/** How many messages may wait to be taken; above that, reading again is less work. */
export const BACKLOG = 1_000;

/**
 * Connects a database with those of other tabs.
 *
 * Messages are taken in the order they came. What cannot be taken, was too much, or was committed between opening and
 * connecting is made up for by reading again.
 */
export function connectTabs(name: string, database: TabsDatabase, environment: TabsEnvironment): TabsConnection {
  const channel = environment.channel(name);
  if (channel === undefined) return { stopHearing: () => undefined, close: () => undefined };
  let isDeaf = false;
  let isTaking = false;
  let waiting: Uint8Array[] = [];
  let mustReadAgain = false;
  const next = async (): Promise<void> => {
    if (mustReadAgain) {
      mustReadAgain = false;
      return database.catchUp();
    }
    const message = waiting.shift();
    if (message !== undefined) await database.committedElsewhere(message).catch(() => (isDeaf ? undefined : database.catchUp()));
  };
  const take = async (): Promise<void> => {
    if (isTaking) return;
    isTaking = true;
    while (!isDeaf && (mustReadAgain || waiting.length > 0)) {
      try {
        await next();
      } catch (error) {
        if (!isDeaf) report(error);
      }
    }
    isTaking = false;
  };
  const readAgain = (): void => {
    // It finds what all these messages tell.
    waiting = [];
    mustReadAgain = true;
    void take();
  };
  channel.onmessage = ({ data }) => {
    if (!(data instanceof Uint8Array)) return;
    if (waiting.length >= BACKLOG) return readAgain();
    waiting.push(data);
    void take();
  };
  const silence = database.committed((message) => channel.postMessage(message));
  const forget = environment.onResume(readAgain);
  readAgain();
  const stopHearing = (): void => {
    if (isDeaf) return;
    isDeaf = true;
    waiting = [];
    forget();
    channel.onmessage = null;
  };
  return {
    stopHearing,
    close: () => {
      stopHearing();
      silence();
      channel.close();
    },
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
    for (const data of told) {
      // One that cannot be taken must not take the others with it.
      try {
        relay.onmessage?.({ data });
      } catch (error) {
        report(error);
      }
    }
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
