// A database as text, which other programs read.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { Database, dump, isPocketError } from '@pocket/core';
import { createMemoryStorage } from '@pocket/storage-memory';

const program = process.env['POCKET_BIN'];
const skip = (program !== undefined && existsSync(program)) || process.env['CI'] === 'true' ? false : 'POCKET_BIN names no program';

async function full(): Promise<Database> {
  const db = await Database.create({
    name: 'full',
    storage: createMemoryStorage(),
    collections: [
      {
        name: 'users',
        sync: true,
        conflictStrategy: 'merge',
        ttl: { field: 'seen.at', afterMs: 1500 },
        indexes: [
          { fields: ['email'], unique: true, sparse: true },
          { name: 'of "active" ones', fields: ['address.country', { field: 'born', order: 'desc' }], filter: { active: true, born: { $gt: new Date(0) } } },
        ],
      },
      { name: 'cache', ttl: { afterMs: 86_400_000 } },
      { name: 'things' },
    ],
  });
  await db.collection('users').insert({ _id: 'a', email: 'x', active: true, seen: { at: new Date('2999-01-01') } });
  await db.collection('things').insertMany([
    { _id: 'é', b: 1, a: null, '0': 'first', text: 'ä"\n\u2028😀', list: [true, [], {}] },
    { _id: 'numbers', n: [0, -5, 1.5, 2 ** 53, 1e300, -0, 5e-324, 2n ** 63n, -(2n ** 63n), Number.MAX_SAFE_INTEGER] },
    { _id: 'nothing' },
    { _id: 'others', bytes: new Uint8Array([0, 255, 7]), none: new Uint8Array(0), then: new Date(5), long: new Date(8_640_000_000_000_000), early: new Date(-8_640_000_000_000_000) },
  ]);
  return db;
}

test('a dump has every collection, document and index, and their sum', async () => {
  const db = await full();
  const text = await dump(db);
  const lines = text.split('\n');
  const last = lines.at(-2) ?? '';
  assert.deepEqual(lines.slice(0, -2), [
    '{"pocket-dump":1,"database":"full","schema_version":1,"one_state":false}',
    '{"collection":"cache","sync":false,"conflict_strategy":null,"ttl":{"field":null,"after_ms":86400000}}',
    '{"collection":"things","sync":false,"conflict_strategy":null}',
    '{"document":{"_id":"nothing"}}',
    '{"document":{"_id":"numbers","n":[0,-5,1.5,9007199254740992.0,1e+300,-0.0,5e-324,9223372036854775808,-9223372036854775808,9007199254740991]}}',
    '{"document":{"_id":"others","bytes":{"$binary":"AP8H"},"none":{"$binary":""},"then":{"$date":"1970-01-01T00:00:00.005Z"},"long":{"$date":8640000000000000},"early":{"$date":-8640000000000000}}}',
    // What looks like a place in an array comes first, as in every JavaScript object, but behind the id.
    '{"document":{"_id":"é","0":"first","b":1,"a":null,"text":"ä\\"\\n\u2028😀","list":[true,[],{}]}}',
    '{"collection":"users","sync":true,"conflict_strategy":"merge","ttl":{"field":"seen.at","after_ms":1500}}',
    '{"document":{"_id":"a","email":"x","active":true,"seen":{"at":{"$date":"2999-01-01T00:00:00.000Z"}}}}',
    '{"index":"email_1","fields":[["email",1]],"unique":true,"sparse":true,"only":null}',
    '{"index":"of \\"active\\" ones","fields":[["address.country",1],["born",-1]],"unique":false,"sparse":false,"only":"{\\"active\\":true,\\"born\\":{\\"$gt\\":{\\"$date\\":\\"1970-01-01T00:00:00.000Z\\"}}}"}',
  ]);
  const sha256 = createHash('sha256').update(text.slice(0, text.length - last.length - 1)).digest('hex');
  assert.deepEqual(JSON.parse(last), { end: true, collections: 3, documents: 5, sha256 });
  await db.close();
  await assert.rejects(dump(db), (error) => isPocketError(error, 'closed'));
});

test('the program reads a dump of a page, and dumps the same documents', { skip }, async () => {
  const db = await full();
  const text = await dump(db);
  await db.close();
  const directory = mkdtempSync(join(tmpdir(), 'pocket-dump-'));
  const pocket = (...words: string[]): string => {
    const run = spawnSync(program ?? '', ['--db', join(directory, 'db'), ...words], { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
    return run.stdout;
  };
  try {
    writeFileSync(join(directory, 'page.jsonl'), text);
    pocket('load', join(directory, 'page.jsonl'));
    const again = pocket('dump', '-');
    const told = (dumped: string): unknown[] => dumped.split('\n').filter((line) => /^\{"(document|index|collection)"/.test(line));
    // The program writes floats in its own way; they are the same ones.
    const same = (lines: unknown[]): unknown[] => lines.map((line) => String(line).replace('1e+300', '1e300'));
    assert.deepEqual(same(told(again)).sort(), same(told(text)).sort());
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
