// Loads the WebAssembly, and says what is wrong and what to do where it cannot be had: most who meet that are setting up
// their page, and see nothing but this.

import { ENGINE_NOT_LOADED } from './codes.js';
import { PocketError } from './error.js';
import type { RawModule } from './face.js';

/** The script that belongs to the WebAssembly. */
interface Glue {
  /** Compiles and starts it. */
  readonly default: (from: { module_or_path: Response | Uint8Array }) => Promise<unknown>;
}

const GUIDE = 'see "For others to use" in the guide "Getting started in the browser"';

/** The error of an engine that cannot be had. */
function notLoaded(why: string, cause?: unknown): PocketError {
  return new PocketError(ENGINE_NOT_LOADED, `the engine of Pocket cannot be loaded: ${why}`, { cause });
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Loads the script, fetches or reads the WebAssembly, from another place if one is given, and starts it. */
export async function loadEngine(url: string | undefined): Promise<RawModule> {
  // Only when it is needed, so that importing the package touches neither the network nor the disk.
  const glue = await import('#wasm').catch((error: unknown) => {
    throw notLoaded(`its script cannot be loaded (${said(error)}); see that all files of the build are served, and reload a page that is older than they are`, error);
  });
  const { place, readFile } = glue;
  const isFetched = readFile === undefined || (url !== undefined && /^(https?|data|blob):/.test(url));
  if (isFetched) return fetched(glue, url ?? place);
  let bytes: Uint8Array;
  try {
    bytes = await readFile(url === undefined ? place : url.startsWith('file:') ? new URL(url) : url);
  } catch (error) {
    const todo = 'leave @pocket/core out of what is bundled for Node, or say by `wasmUrl` where its file `pocket_web_bg.wasm` lies';
    throw notLoaded(`its file cannot be read (${said(error)}); ${todo}`, error);
  }
  return started(glue, bytes, String(url ?? 'its file'));
}

async function fetched(glue: Glue, place: string | URL): Promise<RawModule> {
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
async function started(glue: Glue, module_or_path: Response | Uint8Array, what: string): Promise<RawModule> {
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
  // Browsers name what WebAssembly begins with, or call it magic, where there is something else.
  const isCut = !/magic|\\0asm/i.test(message);
  if (error instanceof WebAssembly.CompileError && isCut) {
    return `${what} is no whole WebAssembly: it was cut off or changed on its way; see what a proxy, a service worker or the build makes of it (${message})`;
  }
  if (error instanceof WebAssembly.CompileError) {
    return `${what} is no WebAssembly: most likely the server answers a page in its place, as it does for files that are not there (${message}); ${GUIDE}`;
  }
  return `${what} does not start: ${message}`;
}
