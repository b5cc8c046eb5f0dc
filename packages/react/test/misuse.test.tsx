// What TypeScript refuses reaches hooks all the same, from JavaScript and from data that only claims to have a type.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReactElement } from 'react';

import { end, items, show } from './app.js';
import type { Item } from './app.js';
import { PocketProvider, useDocument, useFindOne, useLiveQuery, useQuery } from '@pocket/react';

const untyped = (value: unknown): any => value;

test('what is wrong with a query is in its error, and nothing is thrown', async () => {
  const db = await items(1);
  const wrong: [string, () => { error: { code: string } | null; data: unknown }, string][] = [
    ['no collection of this name', () => useLiveQuery('nope'), 'collection-not-found'],
    ['a name that is no text', () => useLiveQuery(untyped(5)), 'bad-collection-name'],
    ['no name at all', () => useQuery(untyped(undefined)), 'bad-collection-name'],
    ['a query that cannot be asked', () => useLiveQuery<Item>('items', (query) => query.filter(untyped({ n: { $foo: 1 } }))), 'bad-query'],
    ['a condition that is undefined', () => useQuery<Item>('items', (query) => query.where('n').eq(untyped(undefined))), 'bad-query'],
    ['a builder that forgets to answer', () => useLiveQuery('items', untyped(() => undefined)), 'bad-query'],
    ['a once-only builder that forgets to answer', () => useQuery('items', untyped(() => undefined)), 'bad-query'],
    ['a misspelt debounce', () => useLiveQuery('items', null, [], { debounceMs: untyped('soon') }), 'config'],
    ['an id that is no text', () => useDocument('items', untyped(5)), 'bad-id'],
    ['an empty id', () => useDocument('items', ''), 'bad-id'],
    ['a filter that is none', () => useFindOne('items', untyped('1')), 'bad-query'],
    ['a filter with an undefined condition', () => useFindOne<Item>('items', untyped({ n: undefined })), 'bad-query'],
  ];
  for (const [what, use, code] of wrong) {
    const Shown = (): ReactElement => {
      const { error, data } = use();
      return <>{error === null ? '…' : `${error.code} ${JSON.stringify(data)}`}</>;
    };
    const app = await show(db, <Shown />);
    await app.until(/^[^…]/);
    assert.match(app.text(), new RegExp(`^${code} (\\[\\]|null)$`), what);
    app.unmount();
  }
  await end(db);
});

test('a builder that throws has its error in the result', async () => {
  const db = await items(1);
  const Shown = (): ReactElement => {
    const { error } = useLiveQuery('items', () => {
      throw new Error('mine');
    });
    return <>{error?.message ?? '…'}</>;
  };
  const app = await show(db, <Shown />);
  await app.until('mine');
  await end(db);
});

test('a provider says that what it was given is no database', async (t) => {
  const db = await items();
  t.mock.method(console, 'error', () => undefined);
  for (const wrong of [undefined, null, Promise.resolve(db), {}].map(untyped)) {
    await assert.rejects(
      show(db, <PocketProvider database={wrong}>x</PocketProvider>),
      (error: { code?: string; message: string }) => error.code === 'config' && /`database`/.test(error.message),
    );
  }
  await end(db);
});
