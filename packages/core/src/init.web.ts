// Loads the WebAssembly in browsers and workers: bundlers see the `new URL(…, import.meta.url)` inside and bring the file.

import init, * as module from './wasm/pocket_web.js';
import type { RawModule } from './face.js';

/** Loads and starts it. */
export async function initialise(): Promise<RawModule> {
  await init();
  return module as unknown as RawModule;
}
