// Loading dumps: of pages and of native programs, whole and damaged ones.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Database, dump, isPocketError, load } from '@pocket/core';
import type { DatabaseOptions, PocketErrorCode } from '@pocket/core';
import { createMemoryStorage } from '@pocket/storage-memory';

const root = new URL('../../../', import.meta.url);

function open(more: Partial<DatabaseOptions> = {}): Promise<Database> {
  return Database.create({ name: 'full', storage: createMemoryStorage(), ...more });
}

/** A dump of these lines, with an end that fits. */
function ended(lines: readonly string[], head = '{"pocket-dump":1,"database":"x","schema_version":1,"one_state":true}'): string {
  const before = [head, ...lines].map((line) => `${line}\n`).join('');
  const sha256 = createHash('sha256').update(before).digest('hex');
  return `${before}{"end":true,"collections":1,"documents":${lines.length - 1},"sha256":"${sha256}"}\n`;
}

function rejects(loading: Promise<unknown>, code: PocketErrorCode, message: RegExp): Promise<void> {
  return assert.rejects(loading, (error) => isPocketError(error, code) && message.test(error.message));
}

test('what is loaded is dumped again as it was', async () => {
  const db = await open({
    collections: [
      { name: 'users', sync: true, conflictStrategy: 'merge', ttl: { field: 'seen.at', afterMs: 1500 }, indexes: [{ name: 'i', fields: ['a', { field: 'b', order: 'desc' }], unique: true, sparse: true, filter: { a: { $gt: new Date(0) } } }] },
      { name: 'things' },
    ],
  });
  await db.collection('users').insert({ _id: 'a', a: new Date(5), seen: { at: new Date('2999-01-01') } });
  await db.collection('things').insertMany([
    { _id: 'é', b: 1, a: null, '0': 'first', text: 'ä"\n\u2028\\😀 12345678901234567890', list: [true, [], {}, '"'] },
    { _id: 'numbers', n: [0, -5, 1.5, 2 ** 53, 1e300, -0, 5e-324, 2n ** 63n, -(2n ** 63n), 2n ** 53n + 1n, Number.MAX_SAFE_INTEGER] },
    { _id: 'others', bytes: new Uint8Array([0, 255, 7]), none: new Uint8Array(0), then: new Date(5), long: new Date(8_640_000_000_000_000) },
    { _id: '__proto__', ['__proto__']: { x: 1 } },
  ]);
  const text = await dump(db);
  const other = await open();
  const loaded = await load(other, text);
  assert.deepEqual(loaded, { stored: 5, skipped: 0, migratedAway: 0, collectionsMade: 2, indexesMade: 1, unknownLines: 0 });
  assert.equal(await dump(other), text);
  // Carriage returns do not count, and what is there already is no edit.
  const { sequence } = await other.stats();
  assert.deepEqual(await load(other, text.replaceAll('\n', '\r\n'), { existing: 'replace' }), { ...loaded, stored: 0, skipped: 5, collectionsMade: 0, indexesMade: 0 });
  assert.equal((await other.stats()).sequence, sequence);
  assert.equal((await other.stats()).pendingChanges, 1, 'what syncs is sent, once');
});

test('dumps of native programs are read', async () => {
  for (const name of ['dump-1.jsonl', 'dump-1-indexes.jsonl']) {
    const text = readFileSync(new URL(`crates/pocket-core/tests/fixtures/${name}`, root), 'utf8');
    const db = await open();
    await load(db, text);
    const told = (dumped: string): string[] => dumped.split('\n').filter((line) => /^\{"(document|index|collection)"/.test(line));
    // A float without a fraction is an integer in JavaScript, and ids come in the order of their bytes.
    assert.deepEqual(told(await dump(db)), told(text.replace('[1.0,', '[1,')), name);
    await db.close();
  }
});

test('a document whose id is taken ends it, stays or is replaced', async () => {
  const lines = ['{"collection":"notes","sync":false}', ...['a', 'b', 'c'].map((id) => `{"document":{"_id":"${id}","n":1}}`)];
  const text = ended(lines);
  const db = await open({ collections: [{ name: 'notes' }] });
  const notes = db.collection('notes');
  await notes.insertMany([{ _id: 'a', n: 1 }, { _id: 'b', n: 2 }]);
  await rejects(load(db, text), 'document-exists', /^before line 6 of the dump: .*"a"/);
  assert.equal(await notes.count(), 2);
  assert.equal((await load(db, text, { existing: 'skip' })).stored, 1);
  assert.deepEqual(await notes.getAll(), [{ _id: 'a', n: 1 }, { _id: 'b', n: 2 }, { _id: 'c', n: 1 }]);
  assert.equal((await load(db, text, { existing: 'replace' })).stored, 1);
  assert.deepEqual((await notes.getAll()).map(({ n }) => n), [1, 1, 1]);
});

test('more documents than a transaction takes', async () => {
  const big = 'x'.repeat(10_000);
  const documents = Array.from({ length: 1_203 }, (_, at) => `{"document":{"_id":"${String(at).padStart(5, '0')}","big":"${big}"}}`);
  const db = await open();
  const { stored } = await load(db, ended(['{"collection":"notes","sync":true}', ...documents]));
  assert.deepEqual([stored, await db.collection('notes').count()], [1_203, 1_203]);
});

test('what is no whole dump stores nothing', async () => {
  const db = await open();
  const text = ended(['{"collection":"notes","sync":false}', '{"document":{"_id":"a","n":1}}']);
  const lines = text.split('\n');
  await rejects(load(db, ''), 'corrupt', /no dump of Pocket/);
  await rejects(load(db, '[]\n'), 'corrupt', /no dump of Pocket/);
  await rejects(load(db, '{"a":1}\n'), 'corrupt', /no dump of Pocket/);
  await rejects(load(db, lines.slice(0, 2).join('\n')), 'corrupt', /cut behind line 2/);
  await rejects(load(db, text.slice(0, -20)), 'corrupt', /line 4 is no line of a dump/);
  await rejects(load(db, text.replace('"n":1', '"n":2')), 'corrupt', /were changed/);
  await rejects(load(db, [lines[0], lines[1], lines[3], ''].join('\n')), 'corrupt', /some are missing/);
  await rejects(load(db, '{"pocket-dump":2}\n'), 'newer-format', /format 2/);
  await rejects(load(db, ended([], '{"pocket-dump":1,"schema_version":2}')), 'newer-format', /schema version 2/);
  await rejects(load(db, ended([], '{"pocket-dump":1}')), 'corrupt', /schema version/);
  assert.deepEqual(db.listCollections(), []);
  await rejects(load(db, new Uint8Array(2) as unknown as string), 'config', /file\.text\(\)/);
  await rejects(load(db, text, { exsiting: 'skip' } as object), 'config', /existing/);
  await db.close();
  await rejects(load(db, text), 'closed', /closed/);
});

test('lines of later versions are passed over; what no document may be names where', async () => {
  const db = await open();
  const collection = '{"collection":"notes","sync":false,"colour":"red"}';
  assert.equal((await load(db, ended([collection, '{"later":{}}', '{"document":{"_id":"a"}}']))).unknownLines, 1);
  await rejects(load(db, ended([collection, '{"document":{"_id":"b","at":{"$date":"soon"}}}'])), 'validation', /line 4/);
  await rejects(load(db, ended([collection, '{"document":{"n":1}}'])), 'corrupt', /line 3.*no document/);
  await rejects(load(db, ended(['{"document":{"_id":"b"}}'])), 'corrupt', /line 2/);
  await rejects(load(db, ended(['{"collection":"no name","sync":false}'])), 'bad-collection-name', /line 2/);
});

test('documents of an older schema version go through the migrations', async () => {
  const text = ended(['{"collection":"todos","sync":false}', ...['a', 'b', 'c'].map((id) => `{"document":{"_id":"${id}","done":${id === 'a'}}}`)]);
  const db = await open({
    collections: [{ name: 'todos' }],
    migrations: [
      { version: 3, collection: 'todos', migrate: (todo) => (todo._id === 'c' ? null : undefined) },
      { version: 2, collection: 'todos', migrate: ({ done, ...todo }) => ({ ...todo, state: done ? 'done' : 'open' }) },
      { version: 2, collection: 'others', migrate: () => null },
    ],
  });
  const { stored, migratedAway } = await load(db, text);
  assert.deepEqual([stored, migratedAway], [2, 1]);
  assert.deepEqual(await db.collection('todos').getAll(), [{ _id: 'a', state: 'done' }, { _id: 'b', state: 'open' }]);

  const without = await open({ schemaVersion: 2 });
  await rejects(load(without, text), 'migration', /the migration to 2 is missing/);
  const fails = await open({ migrations: [{ version: 2, collection: 'todos', migrate: () => { throw new Error('not today'); } }] });
  await rejects(load(fails, text), 'migration', /line 3.*not today/);
});

/** Of a promise nothing but the ids was stored, and what was done to the argument was kept, which `Database.create` does not. */
test('a migration does to what is loaded what it does to what is stored', async () => {
  const text = ended(['{"collection":"todos","sync":false}', '{"document":{"_id":"a","in":{"n":1}}}']);
  const loaded = async (migrate: (todo: any) => any): Promise<unknown> => {
    const db = await open({ collections: [{ name: 'todos' }], migrations: [{ version: 2, collection: 'todos', migrate }] });
    await load(db, text);
    return db.collection('todos').getAll();
  };
  const wrong: [(todo: object) => unknown, RegExp][] = [
    [async (todo) => todo, /line 3.*migration to 2 fails at `a`.*an instance of Promise/],
    [() => [1], /an array/],
    [() => 'text', /a string/],
    [() => new Map(), /an instance of Map/],
    [() => ({ n: () => 1 }), /migration to 2 fails at `a`/],
  ];
  for (const [migrate, message] of wrong) await rejects(loaded(migrate), 'migration', message);
  const changed = (todo: { in: { n: number } }): void => {
    todo.in.n = 2;
  };
  assert.deepEqual(await loaded(changed), [{ _id: 'a', in: { n: 1 } }]);
  assert.deepEqual(await loaded((todo) => ({ ...todo, _id: 'b', n: new Date(5) })), [{ _id: 'a', in: { n: 1 }, n: new Date(5) }]);
});

/** A pattern that took memory for each letter of a text had none left, and the dump counted as damaged. */
test('texts as long as documents may be', async () => {
  const limits = { documentBytes: 2 ** 24, messageBytes: 2 ** 26 };
  const db = await open({ limits, collections: [{ name: 'notes' }] });
  const long = 2 ** 24 - 1_000;
  const notes = [{ _id: 'a', text: 'x'.repeat(long) }, { _id: 'b', text: '"'.repeat(long) }, { _id: 'c', bytes: new Uint8Array(long) }];
  for (const note of notes) await db.collection('notes').insert(note);
  const other = await open({ limits });
  assert.equal((await load(other, await dump(db))).stored, 3);
  for (const note of notes) assert.ok((await other.collection('notes').get(note._id)) !== null);
  assert.equal(((await other.collection('notes').get('b')) as { text?: string }).text, notes[1]?.text);
});
