/// <reference types="node" />
// The WebAssembly in Node: a file, and `fetch` reads no files there.

import * as files from 'node:fs/promises';

export * from './wasm/pocket_web.js';
export { default } from './wasm/pocket_web.js';

/** Where it lies. */
export const place: string | URL = new URL('./wasm/pocket_web_bg.wasm', import.meta.url);

/** Reads it from a file. */
export const readFile: undefined | ((place: string | URL) => Promise<Uint8Array>) = (from) => files.readFile(from);
