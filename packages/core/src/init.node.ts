/// <reference types="node" />
// Loads the WebAssembly in Node, from its file: there `fetch` reads no files.

import { readFile } from 'node:fs/promises';

import init, * as module from './wasm/pocket_web.js';
import type { RawModule } from './face.js';

/** Loads and starts it, from another place if one is given: the URL of a file, a path, or what `fetch` reads. */
export async function initialise(url?: string): Promise<RawModule> {
  const isFetched = url !== undefined && /^(https?|data|blob):/.test(url);
  const module_or_path = isFetched ? await fetch(url) : await readFile(place(url));
  await init({ module_or_path });
  return module as unknown as RawModule;
}

function place(url: string | undefined): string | URL {
  if (url === undefined) return new URL('./wasm/pocket_web_bg.wasm', import.meta.url);
  return url.startsWith('file:') ? new URL(url) : url;
}
