import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PocketError } from '../dist/error.js';
import { Shared, Subject } from '../dist/observable.js';

/** Runs with `console.error` kept, and gives what was said. */
function reported(run: () => void): unknown[] {
  const said: unknown[] = [];
  const { error } = console;
  console.error = (...words: unknown[]) => said.push(...words);
  try {
    run();
  } finally {
    console.error = error;
  }
  return said;
}

test('a subject tells its value at once, then each other one, and none twice', () => {
  const subject = new Subject(1);
  const heard: number[] = [];
  const subscription = subject.subscribe((value) => heard.push(value));
  for (const value of [1, 2, 2, 3]) subject.set(value);
  subscription.unsubscribe();
  subscription.unsubscribe();
  subject.set(4);
  assert.deepEqual(heard, [1, 2, 3]);
  assert.equal(subject.getSnapshot(), 4);
});

test('a listener that throws keeps no other from hearing, and is reported', () => {
  const subject = new Subject(0);
  const heard: number[] = [];
  const failure = new Error('a listener failed');
  const said = reported(() => {
    subject.subscribe(() => {
      throw failure;
    });
    subject.subscribe((value) => heard.push(value));
    subject.set(1);
  });
  assert.deepEqual(heard, [0, 1]);
  assert.deepEqual(said, [failure, failure]);
});

test('listeners may come and go while they are told', () => {
  const subject = new Subject(0);
  const heard: string[] = [];
  subject.subscribe((value) => {
    heard.push(`first ${value}`);
    if (value === 1) {
      second.unsubscribe();
      subject.subscribe((now) => heard.push(`third ${now}`));
    }
  });
  const second = subject.subscribe((value) => heard.push(`second ${value}`));
  subject.set(1);
  subject.set(2);
  assert.deepEqual(heard, ['first 0', 'second 0', 'first 1', 'third 1', 'first 2', 'third 2']);
});

test('a shared observable runs from its first listener to its last', () => {
  let runs = 0;
  let tell = (_value: string): void => assert.fail('it does not run');
  const observable = new Shared<string>((next) => {
    runs += 1;
    tell = next;
    return () => {
      runs -= 1;
    };
  });
  assert.equal(observable.getSnapshot(), undefined);
  const heard: unknown[] = [];
  const one = observable.subscribe((value) => heard.push(value));
  const two = observable.subscribe((value) => heard.push(value));
  assert.equal(runs, 1);
  tell('a');
  assert.deepEqual(heard, ['a', 'a'] as unknown[]);
  const old = tell;
  one.unsubscribe();
  two.unsubscribe();
  two.unsubscribe();
  assert.equal(runs, 0);
  old('late');
  assert.equal(observable.getSnapshot(), 'a');
  observable.subscribe((value) => heard.push(value));
  assert.equal(runs, 1);
  assert.deepEqual(heard, ['a', 'a'] as unknown[]);
});

test('a shared observable that cannot begin tells why, and begins with the next listener', () => {
  let works = false;
  const observable = new Shared<number>((next) => {
    if (!works) throw new PocketError('closed', 'no');
    next(7);
    return () => undefined;
  });
  const codes: string[] = [];
  const heard: unknown[] = [];
  observable.subscribe(
    (value) => heard.push(value),
    (error) => codes.push(error.code),
  );
  works = true;
  observable.subscribe((value) => heard.push(value));
  assert.deepEqual(codes, ['closed']);
  assert.deepEqual(heard, [7, 7]);
});
