// An engine that cannot be loaded. In its own file, since the tests of a file share one engine.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';

import { Database, isPocketError } from '@pocket/core';
import { createMemoryStorage } from '@pocket/storage-memory';

const open = (wasmUrl?: string | URL): Promise<Database> => Database.create({ name: 'test', storage: createMemoryStorage(), wasmUrl });

const failed = (said: RegExp, cause: boolean) => (error: unknown) => {
  assert.ok(isPocketError(error, 'engine-not-loaded'), String(error));
  assert.match(error.message, said);
  assert.equal(error.cause !== undefined, cause);
  return true;
};

test('why the engine cannot be loaded is told with what to do, and the next try is a new one', async (t) => {
  const engine = readFileSync(new URL('../dist/wasm/pocket_web_bg.wasm', import.meta.url));
  // As many servers do: a page for every address that is not there.
  const server = createServer((request, response) => {
    if (request.url === '/engine.wasm') response.setHeader('content-type', 'application/wasm').end(engine);
    else if (request.url === '/cut.wasm') response.setHeader('content-type', 'application/wasm').end(engine.subarray(0, 100_000));
    else if (request.url === '/page.wasm') response.setHeader('content-type', 'text/html').end('<!doctype html><title>An application</title>');
    else response.writeHead(404).end('no');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  // Of a wrong type the glue itself warns on the console.
  t.mock.method(console, 'warn', () => undefined);

  await assert.rejects(open(`${address}/nothing.wasm`), failed(/nothing\.wasm answers 404; serve .*`wasmUrl`/, false));
  await assert.rejects(open(`${address}/page.wasm`), failed(/page\.wasm, served as text\/html, is no WebAssembly: .* a page in its place/, true));
  await assert.rejects(open(`${address}/cut.wasm`), failed(/cut\.wasm, served as application\/wasm, is no whole WebAssembly: it was cut off/, true));
  await assert.rejects(open('http://127.0.0.1:1/engine.wasm'), failed(/cannot be fetched .*`connect-src`/, true));
  await assert.rejects(open(new URL('nothing.wasm', import.meta.url)), failed(/its file cannot be read \(ENOENT.*`wasmUrl`/, true));
  const policy = new WebAssembly.CompileError("Refused to compile or instantiate WebAssembly module because 'unsafe-eval' is not an allowed source of script");
  const refusing = t.mock.method(WebAssembly, 'instantiateStreaming', () => Promise.reject(policy));
  await assert.rejects(open(`${address}/engine.wasm`), failed(/'wasm-unsafe-eval' to its `script-src`/, true));
  refusing.mock.restore();

  const db = await open(`${address}/engine.wasm`);
  await db.close();
  server.close();
});
