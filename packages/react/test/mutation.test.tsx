import assert from 'node:assert/strict';
import { test } from 'node:test';

import { end, items, show } from './app.js';
import type { Mutation } from '@pocket/react';
import { useMutation } from '@pocket/react';
import { act } from '@testing-library/react';
import type { ReactElement } from 'react';

/** A promise that a test settles. */
function later<V>(): { promise: Promise<V>; resolve(value: V): void; reject(error: unknown): void } {
  let [resolve, reject]: [(value: V) => void, (error: unknown) => void] = [() => undefined, () => undefined];
  const promise = new Promise<V>((one, two) => ([resolve, reject] = [one, two]));
  return { promise, resolve: (value) => resolve(value), reject: (error) => reject(error) };
}

async function mounted<A extends unknown[], R>(run: (...args: A) => R | PromiseLike<R>): Promise<{ current(): Mutation<A, R>; all: Mutation<A, R>[]; end(): Promise<void> }> {
  const db = await items();
  const all: Mutation<A, R>[] = [];
  const Button = (): ReactElement => {
    const mutation = useMutation(run);
    all.push(mutation);
    return <p>{mutation.isLoading ? 'loading' : 'rest'}</p>;
  };
  await show(db, <Button />, { strict: true });
  const current = (): Mutation<A, R> => {
    const last = all.at(-1);
    assert.ok(last !== undefined);
    return last;
  };
  return { current, all, end: () => end(db) };
}

const stateOf = ({ isLoading, error, data }: Mutation<never[], unknown>): unknown[] => [isLoading, error, data];

test('a mutation tells that it is under way, and what it answered', async () => {
  const answer = later<number>();
  const { current, end: done } = await mounted((_more: number) => answer.promise);
  assert.deepEqual(stateOf(current()), [false, null, undefined]);
  await act(() => current().mutate(1));
  assert.deepEqual(stateOf(current()), [true, null, undefined]);
  await act(() => answer.resolve(7));
  assert.deepEqual(stateOf(current()), [false, null, 7]);
  await act(() => current().reset());
  assert.deepEqual(stateOf(current()), [false, null, undefined]);
  await done();
});

test('what a mutation throws comes in error; mutateAsync rejects with it, mutate does not', async () => {
  const failure = new Error('no');
  const { current, end: done } = await mounted(() => Promise.reject(failure));
  await act(() => current().mutate());
  assert.deepEqual(stateOf(current()), [false, failure, undefined]);
  await act(() => assert.rejects(current().mutateAsync(), (error) => error === failure));
  await done();
});

test('of calls that overlap the last one counts', async () => {
  const answers = [later<string>(), later<string>()];
  const { current, end: done } = await mounted((at: number) => answers[at]?.promise ?? Promise.reject(new Error('none')));
  let first: Promise<string> | undefined;
  await act(() => {
    first = current().mutateAsync(0);
    current().mutate(1);
  });
  await act(() => answers[1]?.resolve('second'));
  await act(() => answers[0]?.resolve('first'));
  assert.equal(await first, 'first');
  assert.deepEqual(stateOf(current()), [false, null, 'second']);
  await done();
});

test('the functions of a mutation stay the same', async () => {
  const { current, all, end: done } = await mounted((value: number) => value);
  await act(() => current().mutate(1));
  for (const name of ['mutate', 'mutateAsync', 'reset'] as const) assert.equal(all[0]?.[name], current()[name]);
  await done();
});
