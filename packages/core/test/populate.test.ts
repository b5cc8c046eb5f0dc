// References between documents, followed in one step.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Database, isPocketError } from '@pocket/core';
import { createMemoryStorage } from '@pocket/storage-memory';

async function blog() {
  const db = await Database.create({ name: 'blog', storage: createMemoryStorage(), collections: [{ name: 'posts' }, { name: 'authors' }] });
  const authors = db.collection<{ _id: string; name: string }>('authors');
  await authors.insertMany([{ _id: 'a', name: 'Ada' }, { _id: 'b', name: 'Bo' }, { _id: 'gone', name: 'Gone' }]);
  await authors.delete('gone');
  return { db, posts: db.collection('posts'), authors };
}

test('what documents refer to is read in their order, and what leads nowhere is told', async () => {
  const { db, posts, authors } = await blog();
  const documents = [
    { _id: '1', by: 'a', with: ['b', 'nobody', 'a'], people: [{ id: 'b' }, {}, { id: null }, { id: 'gone' }], deep: { id: 'a' } },
    { _id: '2', by: null, with: [], deep: { id: ['b'] } },
    { _id: '3' },
  ];
  const found = await posts.insertMany(documents);
  const by = await posts.populate(found, 'by', authors);
  assert.deepEqual([0, 1, 2, 3].map((place) => by.one(place)?.name), ['Ada', undefined, undefined, undefined]);
  assert.deepEqual(by.missing, []);
  const others = await posts.populate(found, 'with', authors);
  assert.deepEqual(others.of(0).map((author) => author?.name ?? null), ['Bo', null, 'Ada']);
  assert.deepEqual([others.of(1), others.of(9), others.missing], [[], [], ['nobody']]);
  assert.equal(others.get('b')?.name, 'Bo');
  assert.equal(others.get('constructor'), null);
  const people = await posts.populate(found, 'people.id', authors);
  assert.deepEqual(people.of(0).map((author) => author?.name ?? null), ['Bo', null]);
  assert.deepEqual(people.missing, ['gone']);
  assert.equal((await posts.populate(found, 'people.0.id', authors)).one(0)?.name, 'Bo');
  const deep = await posts.populate(found, 'deep.id', authors);
  assert.deepEqual([deep.one(0)?.name, deep.one(1)?.name], ['Ada', 'Bo']);
  await db.close();
});

test('what is no reference is refused with its field', async () => {
  const { db, posts, authors } = await blog();
  for (const by of [5, new Date(), { id: 'a' }, ['a', 5], new Uint8Array(1)]) {
    await assert.rejects(posts.populate([{ by }], 'by', authors), (error) => isPocketError(error, 'bad-query') && error.path === 'by');
  }
  await assert.rejects(posts.populate([{ by: '' }], 'by', authors), (error) => isPocketError(error, 'bad-id'));
  await assert.rejects(posts.populate([], undefined as never, authors), (error) => isPocketError(error, 'bad-query'));
  await db.close();
});
