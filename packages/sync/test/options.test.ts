import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { PocketError } from '@pocket/core';
import { decode, encode } from '@pocket/core/internal';
import type { SyncOptions } from '@pocket/sync';

import { destination, rawOptions } from '../dist/options.js';

const serverUrl = 'wss://example.com';
const jsonOf = (options: Partial<SyncOptions>): unknown => JSON.parse(rawOptions({ serverUrl, ...options }, true).json);

test('every option gets the name it has in Rust', () => {
  const all: Required<Omit<SyncOptions, 'getAuthToken' | 'conflictStrategy'>> = {
    serverUrl,
    authToken: 't',
    namespace: 'n',
    collections: ['a'],
    direction: 'pull',
    resolveTimeout: 1,
    autoRetry: false,
    retryDelay: 2,
    maxRetryAttempts: 3,
    answerTimeout: 5,
    useWebSocket: false,
    pullInterval: 0,
    batchSize: 4,
    allowPlaintext: true,
  };
  assert.deepEqual(jsonOf(all), {
    server_url: serverUrl,
    auth_token: 't',
    namespace: 'n',
    collections: ['a'],
    direction: 'pull',
    resolve_timeout: 1,
    auto_retry: false,
    retry_delay: 2,
    max_retry_attempts: 3,
    answer_timeout: 5,
    use_websocket: false,
    pull_interval: 0,
    batch_size: 4,
    allow_plaintext: true,
  });
  // What is not set is left to Rust, and so is what is set to nothing.
  assert.deepEqual(jsonOf({ authToken: undefined, useWebSocket: undefined }), { server_url: serverUrl });
});

test('where there are no WebSockets it goes by HTTP, and one that is asked for is refused with what to do', () => {
  const json = (options: Partial<SyncOptions>): { use_websocket?: boolean } => JSON.parse(rawOptions({ serverUrl, ...options }, false).json);
  assert.equal(json({}).use_websocket, false);
  assert.equal(json({ useWebSocket: false }).use_websocket, false);
  assert.throws(
    () => json({ useWebSocket: true }),
    (error: PocketError) => error.code === 'config' && error.path === 'useWebSocket' && /Node 22.*--experimental-websocket/.test(error.message),
  );
});

test('an address without a scheme is refused at once', () => {
  const refused = (url: string, named: RegExp) =>
    assert.throws(
      () => rawOptions({ serverUrl: url }),
      (error: PocketError) => error.code === 'config' && error.path === 'serverUrl' && named.test(error.message),
    );
  refused('localhost:7700', /for instance 'wss:\/\/localhost:7700'/);
  refused('ftp://example.com', /wss:\/\//);
  refused('/sync', /it is '\/sync'/);
  for (const url of ['ws://a', 'WSS://a/b', 'http://a', 'https://a:1/x']) rawOptions({ serverUrl: url });
});

test('an option that does not exist or is missing is named', () => {
  const refused = (options: object, named: RegExp) =>
    assert.throws(() => rawOptions(options as SyncOptions), (error: PocketError) => error.code === 'config' && named.test(error.message));
  refused({ serverUrl, retryDealy: 5 }, /`retryDealy`/);
  refused({ serverUrl, server_url: serverUrl }, /`server_url`.*Did you mean `serverUrl`\?/);
  refused({ serverURL: serverUrl }, /Did you mean `serverUrl`\?/);
  refused({}, /`serverUrl`/);
});

test('a wrong value is named with what it may be, before anything starts', () => {
  const wrong: [object, string, RegExp][] = [
    [{ namespace: '' }, 'namespace', /1 to 128 bytes/],
    [{ namespace: 'a\nb' }, 'namespace', /no control characters/],
    [{ namespace: '\u{85}' }, 'namespace', /no control characters/],
    [{ namespace: 'ü'.repeat(65) }, 'namespace', /128 bytes/],
    [{ namespace: 5 }, 'namespace', /is text, not 5/],
    [{ collections: 'todos' }, 'collections', /is an array of text, not 'todos'/],
    [{ direction: 'up' }, 'direction', /one of 'both', 'push', 'pull', not 'up'/],
    [{ retryDelay: '1s' }, 'retryDelay', /whole number from 0 on, not '1s'/],
    [{ batchSize: 1.5 }, 'batchSize', /not 1\.5/],
    [{ autoRetry: 'no' }, 'autoRetry', /true or false/],
    [{ conflictStrategy: 'mine' }, 'conflictStrategy', /one of 'last-write-wins', .*, or a function, not 'mine'/],
    [{ conflictStrategy: { todos: 'mine' } }, 'conflictStrategy.todos', /not 'mine'/],
  ];
  for (const [options, path, message] of wrong) {
    assert.throws(
      () => rawOptions({ serverUrl, ...options } as SyncOptions),
      (error: PocketError) => {
        assert.deepEqual([error.code, error.path], ['config', path]);
        assert.match(error.message, message);
        return true;
      },
    );
  }
  for (const namespace of ['default', 'team 7/ü', 'n'.repeat(128), 'ü'.repeat(64)]) rawOptions({ serverUrl, namespace });
});

test('one endpoint and namespace have one name, however they are written', () => {
  const name = (url: string, namespace?: string): string => destination({ serverUrl: url, ...(namespace === undefined ? {} : { namespace }) });
  const same = ['wss://h.example/sync', 'https://h.example/sync', 'WSS://H.example', 'https://h.example:443/', 'wss://h.example'];
  for (const url of same) assert.equal(name(url), name('wss://h.example', 'default'), url);
  const others = [name('ws://h.example'), name('wss://h.example/other'), name('wss://h.example', 'team'), name('no url')];
  assert.equal(new Set([...others, name('wss://h.example')]).size, 5);
});

test('an option of the wrong kind is named', () => {
  const refused = (options: unknown, named: RegExp) =>
    assert.throws(() => rawOptions(options as SyncOptions), (error: PocketError) => error.code === 'config' && named.test(error.message));
  refused(undefined, /`serverUrl`/);
  refused(null, /`serverUrl`/);
  refused({ serverUrl: new URL(serverUrl) }, /`serverUrl`.*no text/);
  refused({ serverUrl, getAuthToken: 'token' }, /`getAuthToken`/);
  refused({ serverUrl, conflictStrategy: null }, /`conflictStrategy`/);
  refused({ serverUrl, conflictStrategy: 5 }, /`conflictStrategy`/);
});

test('strategies are a name, a function, or a map of both', () => {
  const rule = () => ({ resolution: 'local' }) as const;
  assert.deepEqual(jsonOf({ conflictStrategy: 'merge' }), { server_url: serverUrl, conflict_strategy: 'merge' });
  assert.deepEqual(jsonOf({ conflictStrategy: rule }), { server_url: serverUrl, conflict_strategy: 'custom' });
  const map = { a: 'server-wins', b: rule } as const;
  assert.deepEqual(jsonOf({ conflictStrategy: map }), { server_url: serverUrl, collection_strategies: { a: 'server-wins', b: 'custom' } });
  assert.deepEqual(Object.keys(rawOptions({ serverUrl, conflictStrategy: map }).hooks.resolve ?? {}), ['b']);
  assert.deepEqual(Object.keys(rawOptions({ serverUrl, conflictStrategy: rule }).hooks.resolve ?? {}), ['*']);
});

test('a rule gets the conflict with documents as they are read, and answers what stands', async () => {
  const seen: unknown[] = [];
  const answers = [
    { document: { _id: '1', n: 3 }, because: 'both' },
    { document: null },
    { resolution: 'merged' },
    Promise.resolve({ resolution: 'remote', document: { n: 9 } }),
    {},
  ] as const;
  let at = 0;
  const { hooks } = rawOptions({
    serverUrl,
    conflictStrategy: (conflict) => {
      seen.push(conflict);
      return answers[at++] ?? {};
    },
  });
  const conflict = encode({
    collection: 'todos',
    documentId: '1',
    localDocument: { n: 1, at: new Date(5) },
    remoteDocument: null,
    baseDocument: { n: 0 },
    timestamp: 1_700_000_000_000,
  });
  const ask = async (): Promise<unknown> => decode((await hooks.resolve?.['*']?.(conflict)) ?? new Uint8Array());
  assert.deepEqual(await ask(), { resolution: 'document', document: { _id: '1', n: 3 }, because: 'both' });
  assert.deepEqual(await ask(), { resolution: 'deleted' });
  assert.deepEqual(await ask(), { resolution: 'merged' });
  assert.deepEqual(await ask(), { resolution: 'remote' });
  await assert.rejects(ask(), /neither/);
  assert.deepEqual(seen[0], {
    collection: 'todos',
    documentId: '1',
    localDocument: { _id: '1', n: 1, at: new Date(5) },
    remoteDocument: null,
    baseDocument: { _id: '1', n: 0 },
    timestamp: new Date(1_700_000_000_000),
  });
});

test('a source of tokens may answer at once or later, and may fail', async () => {
  const reasons: string[] = [];
  const { hooks } = rawOptions({
    serverUrl,
    getAuthToken: (reason) => {
      reasons.push(reason);
      if (reasons.length === 2) throw new Error('signed out');
      return 'another';
    },
  });
  assert.equal(await hooks.token?.('expiring'), 'another');
  await assert.rejects(hooks.token?.('refused') ?? Promise.resolve(), /signed out/);
  assert.deepEqual(reasons, ['expiring', 'refused']);
});
