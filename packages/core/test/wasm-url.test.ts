// Where the engine is loaded from. The tests of a file share one; this file says where it lies.

import assert from 'node:assert/strict';
import { realpathSync } from 'node:fs';
import { test } from 'node:test';

import type { PocketError } from '@pocket/core';
import { Database, isPocketError } from '@pocket/core';
import { createMemoryStorage } from '@pocket/storage-memory';

const wasmUrl = new URL('../dist/wasm/pocket_web_bg.wasm', import.meta.url);

const open = (where?: string | URL): Promise<Database> =>
  Database.create({ name: 'test', storage: createMemoryStorage(), ...(where === undefined ? {} : { wasmUrl: where }) });

test('the engine is loaded from where the first database says, and the others cannot say otherwise', async () => {
  const nowhere = new URL('../dist/wasm/nothing.wasm', import.meta.url);
  await assert.rejects(open(nowhere));
  // What failed is tried again, also from another place.
  const first = await open(wasmUrl);
  for (const same of [undefined, wasmUrl, wasmUrl.href]) await (await open(same)).close();
  await assert.rejects(open(nowhere), (error: PocketError) => {
    assert.ok(isPocketError(error, 'config') && error.path === 'wasmUrl');
    return error.message.includes(nowhere.href) && error.message.includes(wasmUrl.href);
  });
  await first.close();
});

test('the engine has a name of its own in the package, for bundlers that are to be told', async () => {
  const named = new URL(import.meta.resolve('@pocket/core/pocket_web_bg.wasm'));
  assert.equal(realpathSync(named), realpathSync(wasmUrl));
});
