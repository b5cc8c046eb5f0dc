import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

/** Whatever reads one of these ends the program. */
const BROWSER = ['window', 'document', 'self', 'navigator', 'indexedDB', 'localStorage', 'BroadcastChannel', 'WebSocket', 'Worker', 'fetch', 'crypto', 'location'];

test('importing every package touches nothing of the browser, and loads no WebAssembly', () => {
  const packages = ['core', 'storage-memory', 'storage-indexeddb', 'sync', 'react'];
  const program = `
    for (const name of ${JSON.stringify(BROWSER)}) {
      Object.defineProperty(globalThis, name, { configurable: true, get() { throw new Error('read ' + name); } });
    }
    WebAssembly.instantiate = WebAssembly.instantiateStreaming = WebAssembly.Module = () => { throw new Error('WebAssembly'); };
    for (const name of ${JSON.stringify(packages)}) {
      const module = await import('@pocket/' + name);
      if (Object.keys(module).length === 0) throw new Error(name + ' is empty');
    }
    console.log('imported');
  `;
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    // From where all of them can be found.
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    encoding: 'utf8',
  });
  assert.equal(run.stderr, '');
  assert.equal(run.stdout.trim(), 'imported');
});
