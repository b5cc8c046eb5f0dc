// The WebAssembly in browsers and workers: bundlers see the `new URL(…, import.meta.url)` and bring the file. It imports nothing
// that the rest of the package needs, too: bundlers would make a file of its own of that.

export * from './wasm/pocket_web.js';
export { default } from './wasm/pocket_web.js';

/** Where it lies. */
export const place: string | URL = new URL('./wasm/pocket_web_bg.wasm', import.meta.url);

/** Reads it from a file; here only `fetch` reads anything. */
export const readFile: undefined | ((place: string | URL) => Promise<Uint8Array>) = undefined;
