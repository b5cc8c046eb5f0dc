import assert from 'node:assert/strict';
import { test } from 'node:test';

import { blocks } from './check-snippets.mjs';

const fence = '```';

test('blocks of TypeScript are found with their lines, and others are left aside', () => {
  const text = ['# x', `${fence}ts`, 'const a = 1;', fence, `${fence}rust`, 'let b = 1;', fence, `${fence}tsx`, 'const c = <p />;', fence].join('\n');
  assert.deepEqual(blocks(text), [
    { line: 3, lines: ['const a = 1;'] },
    { line: 9, lines: ['const c = <p />;'] },
  ]);
});

test('a block that goes on belongs to the one before it, whatever stands between', () => {
  const text = [`${fence}ts`, 'const a = 1;', fence, `${fence}sh`, 'ls', fence, `${fence}ts continued`, 'a + 1;', fence].join('\n');
  assert.deepEqual(blocks(text), [{ line: 2, lines: ['const a = 1;', '', 'a + 1;'] }]);
});

test('a fence inside of a longer one is text', () => {
  const text = [`${fence}${fence}md`, `${fence}ts`, 'nonsense', fence, `${fence}${fence}`].join('\n');
  assert.deepEqual(blocks(text), []);
});

test('a block that does not end is an error', () => {
  assert.throws(() => blocks(`${fence}ts\nconst a = 1;`), /does not end/);
});
