// What errors tell: their place, what they are as data, and whose they are.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Database, PocketError, isPocketError } from '@pocket/core';
import type { Collection } from '@pocket/core';
import { toPocketError } from '@pocket/core/internal';
import { createMemoryStorage } from '@pocket/storage-memory';

const root = new URL('../../../', import.meta.url);

async function items(): Promise<{ db: Database; items: Collection }> {
  const db = await Database.create({ name: 'errors', storage: createMemoryStorage(), collections: [{ name: 'items', indexes: [{ fields: ['u'], unique: true }] }] });
  return { db, items: db.collection('items') };
}

const at = (code: string, path: string | undefined) => (error: unknown) => {
  assert.ok(isPocketError(error), String(error));
  assert.deepEqual([error.code, error.path], [code, path], error.message);
  return true;
};

test('an error of a document says where in it', async () => {
  const { db, items: some } = await items();
  const wrong: [object, string, string][] = [
    [{ a: { b: [{ $c: 1 }] } }, 'validation', 'a.b.0.$c'],
    [{ 'a\0': 1 }, 'validation', 'a\0'],
    [{ _rev: 'x' }, 'validation', '_rev'],
    [{ _updatedAt: new Date() }, 'validation', '_updatedAt'],
    [{ _deleted: true }, 'validation', '_deleted'],
    [{ _id: 5 }, 'bad-id', '_id'],
    [{ _id: 'x'.repeat(257) }, 'bad-id', '_id'],
  ];
  for (const [document, code, path] of wrong) {
    await assert.rejects(some.insert(document), at(code, path));
    await assert.rejects(some.upsert(document), at(code, path));
    await assert.rejects(some.insertMany([{}, document]), at(code, `1.${path}`));
    await assert.rejects(db.transaction((tx) => tx.collection('items').insert(document)), at(code, path));
  }
  // Only at the top are these names of the system.
  await some.insert({ _id: '1', u: 1, inner: { _rev: 'x', _id: 5 } });
  await assert.rejects(some.update('1', { a: { $b: 1 } }), at('validation', 'a.$b'));
  await assert.rejects(some.update('1', { _id: '2' }), at('validation', '_id'));
  await assert.rejects(some.insert({ u: 1 }), at('index-unique-violation', 'u'));
  await db.close();
});

test('an error of a query says at which field, or at which part', async () => {
  const { db, items: some } = await items();
  const wrong: [object, string][] = [
    [some.find({ 'a.b': { $like: 1 } }), 'a.b'],
    [some.find({ a: { $elemMatch: { b: undefined } } }), 'a'],
    [some.find({ $or: [{ c: 1 }, { $not: { a: undefined } }] }), 'a'],
    [some.find({ n: 1 }).where('a.b').eq(undefined), 'a.b'],
    [some.find().where('a').in('x' as never), 'a'],
    [some.find().limit(-1), 'limit'],
    [some.find().skip(NaN), 'skip'],
    [some.find().sort('n', 'up' as 'asc'), 'sort'],
    [some.find({ 'a..b': 1 }), 'a..b'],
  ];
  const operator = (error: PocketError): boolean => error.path === 'n' && /there is no operator `\$grt`. Did you mean `\$gt`\? at/.test(error.message);
  await assert.rejects(some.find({ n: { $grt: 5 } }).all(), operator);
  await assert.rejects(async () => some.createIndex({ fields: ['n'], filter: { n: { $grt: 5 } } }), (error: PocketError) => error.code === 'config' && error.path === 'filter.n.$grt');
  for (const [query, path] of wrong) await assert.rejects((query as { all(): Promise<unknown> }).all(), at('bad-query', path));
  await db.close();
});

test('a long id is shown in part, and that it is shows', async () => {
  const { db, items: some } = await items();
  await assert.rejects(some.get('x'.repeat(300)), (error: PocketError) => error.message.startsWith(`"${'x'.repeat(40)}…"`));
  await db.close();
});

test('an error as JSON has its message, and nothing that it has not', () => {
  const plain = new PocketError('closed', 'it is closed');
  assert.deepEqual(JSON.parse(JSON.stringify(plain)), { name: 'PocketError', code: 'closed', message: 'it is closed' });
  assert.ok(!('path' in plain) && !('details' in plain) && !('cause' in plain));
  const cause = new TypeError('below');
  const full = new PocketError('config', 'no', { path: 'a.b', details: { n: 1 }, cause });
  assert.deepEqual(full.toJSON(), { name: 'PocketError', code: 'config', message: 'no', path: 'a.b', details: { n: 1 } });
  assert.equal(full.cause, cause);
  assert.ok(full instanceof PocketError && full instanceof Error);
  assert.equal(String(full), 'PocketError: no');
});

test('errors of another copy of the package are known, and those of others are not taken for ours', () => {
  class Foreign extends Error {
    override name = 'PocketError';
    code = 'closed';
  }
  assert.ok(isPocketError(new Foreign('x'), 'closed'));
  assert.ok(!isPocketError(new Foreign('x'), 'config'));
  for (const other of [null, undefined, 'closed', new Error('x'), { code: 'closed' }, Object.assign(new Error('x'), { code: 'closed' })]) assert.ok(!isPocketError(other));
  // Codes of Node and of browsers are none of ours.
  const missing = Object.assign(new Error('no such file'), { code: 'ENOENT' });
  assert.equal(toPocketError(missing).code, 'internal');
  assert.equal(toPocketError(missing).cause, missing);
});

test('the type of codes has every code of the document, and no other', () => {
  const sections = readFileSync(new URL('docs/errors.md', root), 'utf8').split(/^## /m);
  // The last one is about the program `pocket`, which no page meets.
  const documented = sections.slice(1, -1).flatMap((section) => [...section.matchAll(/^\| `([a-z-]+)` \|/gm)].map((row) => row[1]));
  const source = readFileSync(new URL('packages/core/src/codes.ts', root), 'utf8');
  const typed = [...source.matchAll(/^(?: {2}\| |export const \w+ = )'([a-z-]+)'/gm)].map((row) => row[1]);
  assert.ok(typed.length > 60);
  assert.deepEqual([...new Set(typed)].sort(), [...new Set(documented)].sort());
});
