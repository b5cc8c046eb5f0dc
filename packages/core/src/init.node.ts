/// <reference types="node" />
// Loads the WebAssembly in Node, from its file: there `fetch` reads no files.

import { readFile } from 'node:fs/promises';

import init, * as module from './wasm/pocket_web.js';
import type { RawModule } from './face.js';

/** Loads and starts it. */
export async function initialise(): Promise<RawModule> {
  const bytes = await readFile(new URL('./wasm/pocket_web_bg.wasm', import.meta.url));
  await init({ module_or_path: bytes });
  return module as unknown as RawModule;
}
