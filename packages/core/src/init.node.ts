/// <reference types="node" />
// Loads the WebAssembly in Node, from its file: there `fetch` reads no files.

import { readFile } from 'node:fs/promises';

import * as glue from './wasm/pocket_web.js';
import { fetched, notLoaded, said, started } from './engine.js';
import type { RawModule } from './face.js';

/** Loads and starts it, from another place if one is given: the URL of a file, a path, or what `fetch` reads. */
export async function initialise(url?: string): Promise<RawModule> {
  if (url !== undefined && /^(https?|data|blob):/.test(url)) return fetched(glue, url);
  let bytes: Uint8Array;
  try {
    bytes = await readFile(place(url));
  } catch (error) {
    const todo = 'leave @pocket/core out of what is bundled for Node, or say by `wasmUrl` where its file `pocket_web_bg.wasm` lies';
    throw notLoaded(`its file cannot be read (${said(error)}); ${todo}`, error);
  }
  return started(glue, bytes, String(url ?? 'its file'));
}

function place(url: string | undefined): string | URL {
  if (url === undefined) return new URL('./wasm/pocket_web_bg.wasm', import.meta.url);
  return url.startsWith('file:') ? new URL(url) : url;
}
