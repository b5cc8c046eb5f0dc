import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import type { Plugin } from 'vite';

/** What the service worker refers to, and what is put in its place. */
const PLACEHOLDER = '__PRECACHE__';

/**
 * Tells the service worker which files the build has made, and a version that changes with any of them.
 *
 * The version is in the worker's own text: so a browser sees a new worker exactly when there is a new application.
 */
export function precache(): Plugin {
  let publicDir = '';
  return {
    name: 'precache',
    apply: 'build',
    enforce: 'post',
    configResolved(config) {
      publicDir = config.publicDir;
    },
    generateBundle(_, bundle) {
      const files = new Map<string, string | Uint8Array>();
      for (const name of readdirSync(publicDir)) files.set(`/${name}`, readFileSync(join(publicDir, name)));
      for (const [name, file] of Object.entries(bundle)) {
        if (name === 'sw.js') continue;
        files.set(`/${name}`, file.type === 'chunk' ? file.code : file.source);
      }
      const names = [...files.keys()].sort();
      const hash = createHash('sha256');
      for (const name of names) hash.update(`${name}\0`).update(files.get(name) ?? '');
      const worker = bundle['sw.js'];
      if (worker?.type !== 'chunk' || !worker.code.includes(PLACEHOLDER)) {
        this.error(`sw.js does not refer to ${PLACEHOLDER}`);
      }
      const version = hash.digest('hex').slice(0, 16);
      worker.code = worker.code.replaceAll(PLACEHOLDER, JSON.stringify({ version, files: names }));
    },
  };
}
