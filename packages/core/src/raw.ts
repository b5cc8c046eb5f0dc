// What this package knows of the WebAssembly: its classes, and where storage is made. Nothing here is public.

import { loadEngine } from './engine.js';
import { PocketError } from './error.js';
import type { RawModule } from './face.js';

export type { RawCollection, RawDatabase, RawHandle, RawLive, RawModule, RawStorage, RawSync, RawTransaction } from './face.js';

let loaded: Promise<RawModule> | undefined;
/** From where, if that was said. */
let from: string | undefined;
let ready: RawModule | undefined;

/**
 * Loads the WebAssembly, once for all databases: from the place that the first one says. After a failure the next call tries
 * again.
 */
export async function loadModule(url?: string | URL): Promise<RawModule> {
  const wanted = url === undefined ? undefined : String(url);
  if (loaded !== undefined && wanted !== undefined && wanted !== from) {
    const where = from === undefined ? 'the place beside its script' : from;
    throw new PocketError('config', `\`wasmUrl\` is ${wanted}, but the engine was loaded from ${where} already`, { path: 'wasmUrl' });
  }
  if (loaded === undefined) {
    from = wanted;
    loaded = load(wanted).catch((error: unknown) => {
      loaded = undefined;
      throw error;
    });
  }
  return loaded;
}

async function load(url: string | undefined): Promise<RawModule> {
  ready = await loadEngine(url);
  return ready;
}

/** The WebAssembly; there is one as soon as there is a database. */
export function rawModule(): RawModule {
  if (ready === undefined) throw new Error('no database was opened yet');
  return ready;
}
