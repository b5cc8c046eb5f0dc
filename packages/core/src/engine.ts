// Loads the WebAssembly, and says what is wrong and what to do where it cannot be had: most who meet that are setting up
// their page, and see nothing but this.

import { ENGINE_NOT_LOADED } from './codes.js';
import { PocketError } from './error.js';
import type { RawModule } from './face.js';

/** The script that belongs to the WebAssembly. */
export interface Glue {
  /** Compiles and starts it. */
  readonly default: (from: { module_or_path: Response | Uint8Array }) => Promise<unknown>;
}

const GUIDE = 'see "For others to use" in the guide "Getting started in the browser"';

/** The error of an engine that cannot be had. */
export function notLoaded(why: string, cause?: unknown): PocketError {
  return new PocketError(ENGINE_NOT_LOADED, `the engine of Pocket cannot be loaded: ${why}`, { cause });
}

/** What an error says. */
export function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Fetches the WebAssembly, and starts it. */
export async function fetched(glue: Glue, place: string | URL): Promise<RawModule> {
  let response: Response;
  try {
    response = await fetch(place);
  } catch (error) {
    const todo = 'see that there is a network, that the file is served to this page, and that a Content-Security-Policy allows it in `connect-src`';
    throw notLoaded(`${place} cannot be fetched (${said(error)}); ${todo}`, error);
  }
  if (!response.ok) {
    throw notLoaded(`${place} answers ${response.status}; serve the file \`pocket_web_bg.wasm\` of @pocket/core there, or say by \`wasmUrl\` where it lies`);
  }
  const type = response.headers.get('content-type');
  return started(glue, response, `${place}${type === null ? '' : `, served as ${type},`}`);
}

/** Compiles and starts it; `what` names it in the error. */
export async function started(glue: Glue, module_or_path: Response | Uint8Array, what: string): Promise<RawModule> {
  try {
    await glue.default({ module_or_path });
  } catch (error) {
    throw notLoaded(advice(error, what), error);
  }
  return glue as unknown as RawModule;
}

function advice(error: unknown, what: string): string {
  const message = said(error);
  // All browsers name the policy or its word, each in a sentence of its own.
  if (/unsafe-eval|content security policy|\bCSP\b/i.test(message)) {
    return `the Content-Security-Policy of this page forbids WebAssembly; add 'wasm-unsafe-eval' to its \`script-src\` (${message}); ${GUIDE}`;
  }
  if (error instanceof WebAssembly.LinkError) return `${what} belongs to another version of @pocket/core than its script does; take both from one package (${message})`;
  if (error instanceof WebAssembly.CompileError) {
    return `${what} is no WebAssembly: most likely the server answers a page in its place, as it does for files that are not there (${message}); ${GUIDE}`;
  }
  return `${what} does not start: ${message}`;
}
