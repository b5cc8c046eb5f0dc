// Loads the WebAssembly in browsers and workers: bundlers see the `new URL(…, import.meta.url)` and bring the file.

import * as glue from './wasm/pocket_web.js';
import { fetched } from './engine.js';
import type { RawModule } from './face.js';

/** Loads and starts it, from another place if one is given. */
export function initialise(url?: string): Promise<RawModule> {
  return fetched(glue, url ?? new URL('./wasm/pocket_web_bg.wasm', import.meta.url));
}
