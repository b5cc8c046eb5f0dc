import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { blocks, check } from './check-snippets.mjs';

const fence = '```';

test('blocks of TypeScript are found with their lines, and others are left aside', () => {
  const text = ['# x', `${fence}ts`, 'const a = 1;', fence, `${fence}rust`, 'let b = 1;', fence, `${fence}tsx`, 'const c = <p />;', fence].join('\n');
  assert.deepEqual(blocks(text), [
    { file: undefined, parts: [{ line: 3, lines: ['const a = 1;'] }] },
    { file: undefined, parts: [{ line: 9, lines: ['const c = <p />;'] }] },
  ]);
});

test('a block that goes on belongs to the one before it, whatever stands between', () => {
  const text = [`${fence}ts`, 'const a = 1;', fence, `${fence}sh`, 'ls', fence, `${fence}ts continued`, 'a + 1;', fence].join('\n');
  const parts = [
    { line: 2, lines: ['const a = 1;'] },
    { line: 8, lines: ['a + 1;'] },
  ];
  assert.deepEqual(blocks(text), [{ file: undefined, parts }]);
});

test('a fence inside of a longer one is text', () => {
  const text = [`${fence}${fence}md`, `${fence}ts`, 'nonsense', fence, `${fence}${fence}`].join('\n');
  assert.deepEqual(blocks(text), []);
});

test('a block that does not end is an error', () => {
  assert.throws(() => blocks(`${fence}ts\nconst a = 1;`), /does not end/);
});

/** Checks a document of these lines. */
function checked(...lines) {
  const build = join(dirname(dirname(fileURLToPath(import.meta.url))), 'build', 'snippets-test');
  mkdirSync(build, { recursive: true });
  const document = join(build, 'planted.md');
  writeFileSync(document, lines.join('\n'));
  try {
    return check([document], join(build, 'modules'));
  } finally {
    rmSync(build, { recursive: true });
  }
}

test('a snippet that is wrong fails, at its line in the document', () => {
  const opens = "const db = await Database.create({ name: 'x', storage: createMemoryStorage() });";
  const imports = ["import { Database } from '@pocket/core';", "import { createMemoryStorage } from '@pocket/storage-memory';"];
  const right = checked('# x', `${fence}ts`, ...imports, opens, fence);
  assert.deepEqual(right, { count: 1, ran: 0, isRight: true, said: '' });
  const wrong = checked('# x', `${fence}ts`, ...imports, opens, fence, 'And then:', `${fence}ts continued`, "db.collection('a').inserted({});", fence);
  assert.equal(wrong.isRight, false);
  assert.match(wrong.said, /planted\.md:9:20.*'inserted' does not exist/);
});

test('a block with the name of a file is what the other blocks import', () => {
  const exporting = [`${fence}ts file=numbers.ts`, 'export const one: number = 1;', fence];
  const importing = (what) => [`${fence}ts`, `import { one } from './numbers.js';`, `const it: ${what} = one;`, fence];
  assert.equal(checked(...exporting, ...importing('number')).isRight, true);
  const wrong = checked(...exporting, ...importing('string'));
  assert.equal(wrong.isRight, false);
  assert.match(wrong.said, /planted\.md:6:7/);
});

test('a snippet that is to be run is run, and fails when it throws or rejects, at its line', () => {
  const program = (...lines) => checked('# x', `${fence}ts run`, ...lines, fence);
  assert.deepEqual(program('await Promise.resolve(1);'), { count: 1, ran: 1, isRight: true, said: '' });
  for (const wrong of [program("throw new Error('planted');"), program("void Promise.reject(new Error('planted'));")]) {
    assert.deepEqual([wrong.ran, wrong.isRight], [1, false]);
    assert.match(wrong.said, /planted\.md:3: does not run: [^]*Error: planted/);
  }
});

test('a document without a snippet is no proof', () => {
  assert.throws(() => checked('# x'), /no snippet/);
});
