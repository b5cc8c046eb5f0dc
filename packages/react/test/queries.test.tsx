import assert from 'node:assert/strict';
import { test } from 'node:test';

import { end, items, settle, show } from './app.js';
import type { Item } from './app.js';
import { useCollection, useDatabase, useDocument, useFindOne, useLiveQuery, useQuery, useSuspenseLiveQuery } from '@pocket/react';
import type { Result } from '@pocket/react';
import { act } from '@testing-library/react';
import type { ReactElement, ReactNode } from 'react';
import { Component, Suspense, memo, startTransition, useState } from 'react';
import { renderToString } from 'react-dom/server';
import { PocketProvider } from '@pocket/react';

const numbers = (result: { data: readonly Item[] }): string => result.data.map(({ n }) => n).join(',');
const told = (result: Result<readonly Item[]>): string => (result.isLoading ? 'loading' : (result.error?.code ?? numbers(result)));

test('a live query shows its result and each change of it, with one render for each', async () => {
  const db = await items(1, 2);
  const results: Result<Item[]>[] = [];
  function List(): ReactElement {
    const result = useLiveQuery<Item>('items', (query) => query.sort('n', 'desc'));
    results.push(result);
    return <p>{told(result)}</p>;
  }
  const app = await show(db, <List />);
  await app.until('2,1');
  assert.deepEqual(results.map(told), ['loading', '2,1']);
  await act(() => db.collection<Item>('items').insert({ _id: '3', n: 3 }));
  await app.until('3,2,1');
  assert.equal(results.length, 3);
  // What did not change is what it was.
  assert.equal(results[2]?.data[1], results[1]?.data[0]);
  assert.equal(results[2]?.refresh, results[0]?.refresh);
  await end(db);
});

test('what changes nothing in a result renders nothing', async () => {
  const db = await items(1, 2);
  let renders = 0;
  const List = memo(function List(): ReactElement {
    renders += 1;
    const result = useLiveQuery<Item>('items', (query) => query.where('n').lt(10));
    return <p>{told(result)}</p>;
  });
  const app = await show(db, <List />);
  await app.until('1,2');
  const before = renders;
  await db.collection<Item>('items').insert({ _id: '50', n: 50 });
  await db.collection<Item>('items').update('50', { n: 51 });
  await settle(db);
  assert.equal(renders, before);
  await end(db);
});

test('equal queries of several components are one live query', async () => {
  const db = await items(1);
  const List = (): ReactElement => <p>{told(useLiveQuery<Item>('items', (query) => query.where('n').gt(0)))};</p>;
  const app = await show(db, [<List key="a" />, <List key="b" />, <List key="c" />]);
  await app.until('1;1;1;');
  assert.equal((await db.stats()).liveQueries, 1);
  await end(db);
});

test('in StrictMode a live query runs once', async () => {
  const db = await items(1);
  let opened = 0;
  const collection = db.collection<Item>('items');
  const find = collection.find.bind(collection);
  collection.find = (...args) => {
    const query = find(...args);
    const live = query.live.bind(query);
    query.live = (options) => {
      opened += 1;
      return live(options);
    };
    return query;
  };
  const List = (): ReactElement => <p>{told(useLiveQuery(collection))}</p>;
  const app = await show(db, <List />, { strict: true });
  await app.until('1');
  await act(() => collection.insert({ _id: '2', n: 2 }));
  await app.until('1,2');
  assert.equal(opened, 1);
  await end(db);
});

test('another value in deps is another query, and the same ones are the same', async () => {
  const db = await items(1, 2, 3);
  let set: (least: number) => void = () => assert.fail('not mounted');
  let built = 0;
  function List(): ReactElement {
    const [least, setLeast] = useState(2);
    const [, again] = useState(0);
    set = (value) => {
      setLeast(value);
      again((count) => count + 1);
    };
    const result = useLiveQuery<Item>(
      'items',
      (query) => {
        built += 1;
        return query.where('n').gte(least);
      },
      [least],
    );
    return <p>{told(result)}</p>;
  }
  const app = await show(db, <List />);
  await app.until('2,3');
  const before = built;
  await act(() => set(2));
  await app.until('2,3');
  assert.equal(built, before);
  await act(() => set(3));
  await app.until('3');
  assert.equal(built, before + 1);
  // Back to a query that still lingers: it is there at once.
  await act(() => set(2));
  assert.equal(app.text(), '2,3');
  await end(db);
});

test('a query that is not enabled does not run', async () => {
  const db = await items(1);
  const List = ({ enabled }: { enabled: boolean }): ReactElement => {
    const live = useLiveQuery<Item>('items', null, [], { enabled });
    const once = useQuery<Item>('items', null, [], { enabled });
    const one = useFindOne<Item>('items', {}, { enabled });
    return <p>{`${told(live)}|${told(once)}|${one.data?.n ?? 'none'}`}</p>;
  };
  const app = await show(db, <List enabled={false} />);
  await settle(db);
  assert.equal(app.text(), '||none');
  assert.equal((await db.stats()).liveQueries, 0);
  await app.show(<List enabled />);
  await app.until('1|1|1');
  await app.show(<List enabled={false} />);
  await app.until('||none');
  await end(db);
});

test('errors come in error, and nothing is thrown', async () => {
  const db = await items(1);
  const All = (): ReactElement => {
    const results = [
      useLiveQuery('nope'),
      useQuery('nope'),
      useLiveQuery<Item>('items', (query) => query.where('_id').matches('(')),
      useLiveQuery<Item>('items', () => {
        throw new Error('my own');
      }),
      useQuery<Item>('items', (query) => query.filter({ n: { $gtt: 1 } as never })),
      useDocument('nope', '1'),
      useFindOne<Item>('items', { n: { $gtt: 1 } as never }),
    ];
    return <p>{results.map((result) => (result.isLoading ? 'loading' : result.error?.code)).join(' ')}</p>;
  };
  const app = await show(db, <All />);
  await app.until('collection-not-found collection-not-found bad-query internal bad-query collection-not-found bad-query');
  await end(db);
});

test('a query reads once, and again when it is told to', async () => {
  const db = await items(1);
  let refresh = (): void => assert.fail('not mounted');
  const List = (): ReactElement => {
    const result = useQuery<Item>('items', (query) => query.sort('n'));
    refresh = result.refresh;
    return <p>{told(result)}</p>;
  };
  const app = await show(db, <List />, { strict: true });
  await app.until('1');
  await db.collection<Item>('items').insert({ _id: '2', n: 2 });
  await settle(db);
  assert.equal(app.text(), '1');
  await act(() => refresh());
  await app.until('1,2');
  await end(db);
});

test('an older answer of a query never replaces a newer one', async () => {
  const db = await items(1);
  const collection = db.collection<Item>('items');
  const answers: ((found: Item[]) => void)[] = [];
  const find = collection.find.bind(collection);
  collection.find = (...args) => {
    const query = find(...args);
    query.all = () => new Promise((resolve) => answers.push(resolve as (found: Item[]) => void));
    return query;
  };
  let refresh = (): void => assert.fail('not mounted');
  const List = (): ReactElement => {
    const result = useQuery(collection);
    refresh = result.refresh;
    return <p>{told(result)}</p>;
  };
  const app = await show(db, <List />);
  await act(() => refresh());
  assert.equal(answers.length, 2);
  await act(() => answers[1]?.([{ _id: 'new', n: 2 }]));
  await act(() => answers[0]?.([{ _id: 'old', n: 1 }]));
  assert.equal(app.text(), '2');
  await end(db);
});

test('a document is shown as it changes, comes and goes', async () => {
  const db = await items(1);
  const collection = db.collection<Item>('items');
  let renders = 0;
  const One = ({ id }: { id: string | null }): ReactElement => {
    renders += 1;
    const result = useDocument<Item>('items', id);
    return <p>{result.isLoading ? 'loading' : (result.data?.n ?? 'none')}</p>;
  };
  const app = await show(db, <One id="1" />, { strict: true });
  await app.until('1');
  await act(() => collection.update('1', { n: 10 }));
  await app.until('10');
  const before = renders;
  await collection.insert({ _id: '2', n: 2 });
  await settle(db);
  assert.equal(renders, before);
  await act(() => collection.delete('1'));
  await app.until('none');
  await app.show(<One id="2" />);
  await app.until('2');
  await app.show(<One id={null} />);
  await app.until('none');
  await end(db);
});

test('the first document of a filter is shown; a new object for an equal filter changes nothing', async () => {
  const db = await items(1, 5);
  const renders: unknown[] = [];
  const One = ({ least }: { least: number }): ReactElement => {
    const result = useFindOne<Item>('items', { n: { $gte: least } });
    renders.push(result);
    return <p>{result.data?.n ?? 'none'}</p>;
  };
  const app = await show(db, <One least={2} />);
  await app.until('5');
  const before = renders.at(-1);
  await app.show(<One least={2} />);
  assert.equal(renders.at(-1), before);
  await act(() => db.collection<Item>('items').insert({ _id: '3', n: 3 }));
  await app.until('3');
  await app.show(<One least={4} />);
  await app.until('5');
  await end(db);
});

test('a component that is gone is told nothing, and its query ends with the database', async () => {
  const db = await items(1);
  let renders = 0;
  const List = (): ReactElement => {
    renders += 1;
    return <p>{told(useLiveQuery<Item>('items'))}</p>;
  };
  const app = await show(db, <List />);
  await app.until('1');
  const before = renders;
  await app.show(<p>other</p>);
  await db.collection<Item>('items').insert({ _id: '2', n: 2 });
  await settle(db);
  assert.equal(renders, before);
  await end(db);
});

test('a query whose last component is gone ends after a while', async (t) => {
  const db = await items(1);
  const List = (): ReactElement => <p>{told(useLiveQuery<Item>('items'))}</p>;
  const app = await show(db, <List />);
  await app.until('1');
  t.mock.timers.enable({ apis: ['setTimeout'] });
  // One that comes back in time stays.
  await app.show(<p>other</p>);
  await app.show(<List />);
  assert.equal(app.text(), '1');
  t.mock.timers.tick(60_000);
  assert.equal((await db.stats()).liveQueries, 1);
  await app.show(<p>other</p>);
  t.mock.timers.tick(4_999);
  assert.equal((await db.stats()).liveQueries, 1);
  t.mock.timers.tick(1);
  t.mock.timers.reset();
  assert.equal((await db.stats()).liveQueries, 0);
  // It begins again with the next one.
  await app.show(<List />);
  await app.until('1');
  await end(db);
});

test('a transition between queries shows one of them at each moment', async () => {
  const db = await items(1, 2, 3);
  const seen = new Set<string>();
  let set: (least: number) => void = () => assert.fail('not mounted');
  function Two({ least }: { least: number }): ReactElement {
    const one = useLiveQuery<Item>('items', (query) => query.where('n').gte(least), [least]);
    const two = useLiveQuery<Item>('items', (query) => query.where('n').gte(least), [least]);
    assert.equal(one.data, two.data);
    if (!one.isLoading) seen.add(numbers(one));
    return <p>{told(one)}</p>;
  }
  function App(): ReactElement {
    const [least, setLeast] = useState(1);
    set = setLeast;
    return <Two least={least} />;
  }
  const app = await show(db, <App />, { strict: true });
  await app.until('1,2,3');
  await act(async () => {
    startTransition(() => set(3));
    await db.collection<Item>('items').insert({ _id: '4', n: 4 });
  });
  await app.until('3,4');
  for (const shown of seen) assert.match(shown, /^(1,2,3|1,2,3,4|3|3,4)$/);
  await end(db);
});

test('below Suspense a component waits for its first result, and never loads', async () => {
  const db = await items(1);
  let suspended = 0;
  function Waiting(): string {
    suspended += 1;
    return 'waiting';
  }
  const List = (): ReactElement => <p>{numbers(useSuspenseLiveQuery<Item>('items', (query) => query.sort('n')))}</p>;
  const app = await show(
    db,
    <Suspense fallback={<Waiting />}>
      <List />
    </Suspense>,
    { strict: true },
  );
  await app.until('1');
  assert.ok(suspended > 0);
  const before = suspended;
  await act(() => db.collection<Item>('items').insert({ _id: '2', n: 2 }));
  await app.until('1,2');
  assert.equal(suspended, before);
  assert.equal((await db.stats()).liveQueries, 1);
  await end(db);
});

class Boundary extends Component<{ children: ReactNode }, { code: string | null }> {
  override state = { code: null };

  static getDerivedStateFromError(error: { code?: string }): { code: string } {
    return { code: error.code ?? 'unknown' };
  }

  override render(): ReactNode {
    return this.state.code ?? this.props.children;
  }
}

test('below Suspense an error goes to the boundary', async (t) => {
  const db = await items(1);
  t.mock.method(console, 'error', () => undefined);
  const List = (): ReactElement => <p>{numbers(useSuspenseLiveQuery<Item>('items', (query) => query.where('_id').matches('(')))}</p>;
  const app = await show(
    db,
    <Boundary>
      <Suspense fallback="waiting">
        <List />
      </Suspense>
    </Boundary>,
  );
  await app.until('bad-query');
  await end(db);
});

test('a server renders the loading state, and reads nothing', async () => {
  const db = await items(1);
  const List = (): ReactElement => {
    const live = useLiveQuery<Item>('items');
    const one = useDocument<Item>('items', '1');
    return <p>{`${told(live)} ${one.isLoading}`}</p>;
  };
  const render = (): string =>
    renderToString(
      <PocketProvider database={db}>
        <List />
      </PocketProvider>,
    );
  assert.equal(render(), '<p>loading true</p>');
  assert.equal((await db.stats()).liveQueries, 0);
  // Also where there is data: a page that takes over begins with the same.
  const app = await show(db, <List />);
  await app.until('1 false');
  assert.equal(render(), '<p>loading true</p>');
  await end(db);
});

test('the database and its collections are the same objects at each render', async () => {
  const db = await items(1);
  const seen = new Set<unknown>();
  const One = (): ReactElement => {
    seen.add(useDatabase()).add(useCollection('items'));
    return <p>x</p>;
  };
  const app = await show(db, <One />);
  await app.show(<One />);
  assert.deepEqual([...seen], [db, db.collection('items')]);
  await end(db);
});

test('a hook without a provider says what is missing', () => {
  const Lost = (): ReactElement => <p>{useDatabase().name}</p>;
  assert.throws(() => renderToString(<Lost />), /PocketProvider/);
});
