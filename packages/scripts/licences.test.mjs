// What `npm pack` puts into the packages.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const packages = fileURLToPath(new URL('..', import.meta.url));

test('each package is packed with its licences', () => {
  const workspaces = ['core', 'storage-indexeddb', 'storage-memory', 'sync', 'react'];
  const told = execFileSync('npm', ['pack', '--dry-run', '--json', ...workspaces.flatMap((name) => ['-w', name])], {
    cwd: packages,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const json = JSON.parse(told.slice(told.search(/[[{]/)));
  const packed = Array.isArray(json) ? json : Object.values(json);
  assert.deepEqual(packed.map(({ name }) => name).sort(), workspaces.map((name) => `@pocket/${name}`).sort());
  for (const { name, files } of packed) {
    const paths = files.map(({ path }) => path);
    for (const path of ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'dist/index.js']) assert.ok(paths.includes(path), `${name} lacks ${path}`);
  }
});
