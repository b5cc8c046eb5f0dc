import { pageEnvironment } from '@pocket/core/internal';

import type { LocksLike, TeamEnvironment } from './leader.js';

/** The page this runs in. Nothing is looked up before an engine is made. */
export const pageTeam: TeamEnvironment = {
  get locks() {
    const { navigator } = globalThis as { navigator?: { locks?: LocksLike } };
    return navigator?.locks;
  },
  channel: (name) => pageEnvironment.channel(name),
  // Not `Date.now`, which may be set back.
  now: () => performance.now(),
  date: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  // `crypto.randomUUID` is not there in insecure contexts.
  id: () => [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, '0')).join(''),
};

/** Calls when the browser has a network again. What is given back ends that; where nobody tells of networks, nothing happens. */
export function onOnline(run: () => void): () => void {
  const page = globalThis as Partial<Pick<typeof globalThis, 'addEventListener' | 'removeEventListener'>>;
  page.addEventListener?.('online', run);
  return () => page.removeEventListener?.('online', run);
}
