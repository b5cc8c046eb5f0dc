// Loads the WebAssembly in browsers and workers: bundlers see the `new URL(…, import.meta.url)` inside and bring the file.

import init, * as module from './wasm/pocket_web.js';
import type { RawModule } from './face.js';

/** Loads and starts it, from another place if one is given. */
export async function initialise(url?: string): Promise<RawModule> {
  await (url === undefined ? init() : init({ module_or_path: url }));
  return module as unknown as RawModule;
}
