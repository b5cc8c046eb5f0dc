// What this package knows of the WebAssembly: its classes, and where storage is made. Nothing here is public.

import type { RawModule } from './face.js';

export type { RawCollection, RawDatabase, RawHandle, RawLive, RawModule, RawStorage, RawSync, RawTransaction } from './face.js';

let loaded: Promise<RawModule> | undefined;
let ready: RawModule | undefined;

/** Loads the WebAssembly, once for all databases. After a failure the next call tries again. */
export function loadModule(): Promise<RawModule> {
  loaded ??= load().catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function load(): Promise<RawModule> {
  // Only when it is needed, so that importing the package touches neither the network nor the disk.
  const { initialise } = await import('#wasm');
  ready = await initialise();
  return ready;
}

/** The WebAssembly; there is one as soon as there is a database. */
export function rawModule(): RawModule {
  if (ready === undefined) throw new Error('no database was opened yet');
  return ready;
}
