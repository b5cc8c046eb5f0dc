import assert from 'node:assert/strict';
import { test } from 'node:test';

import { openOnce } from '../src/openOnce.ts';

/** What opens when the test says so, and remembers what was opened and closed. */
function world() {
  const attempts: { key: string; succeed(): Promise<void>; fail(): Promise<void> }[] = [];
  const closed: string[] = [];
  const reported: unknown[] = [];
  // All that waits for an attempt has been told when a later turn begins.
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const open = openOnce(
    (key: string) =>
      new Promise<{ key: string; close(): Promise<void> }>((resolve, reject) => {
        const close = (): Promise<void> => {
          closed.push(key);
          return key === 'stuck' ? Promise.reject(new Error('stuck')) : Promise.resolve();
        };
        attempts.push({
          key,
          succeed: () => (resolve({ key, close }), turn()),
          fail: () => (reject(new Error(key)), turn()),
        });
      }),
    (error) => reported.push(error),
  );
  return { attempts, closed, reported, open };
}

test('it opens once for as long as the same is asked for, and again after a failure', async () => {
  const { attempts, closed, open } = world();
  const first = open('stored');
  assert.equal(open('stored'), first);
  const refused = assert.rejects(first, /stored/);
  await attempts[0]!.fail();
  await refused;
  const second = open('stored');
  await attempts[1]!.succeed();
  assert.equal((await second).key, 'stored');
  assert.equal(open('stored'), second);
  assert.equal(attempts.length, 2);
  assert.deepEqual(closed, []);
});

test('the late failure of an older attempt does not forget a newer one', async () => {
  const { attempts, open } = world();
  const refused = assert.rejects(open('stored'), /stored/);
  const window = open('window');
  await attempts[1]!.succeed();
  await attempts[0]!.fail();
  await refused;
  assert.equal(open('window'), window);
  assert.equal(attempts.length, 2);
});

test('what was opened before something else is closed, also when it opens late', async () => {
  const { attempts, closed, reported, open } = world();
  const stored = open('stored');
  await attempts[0]!.succeed();
  await stored;
  const stuck = open('stuck');
  // The next one waits for nobody.
  assert.equal(attempts.length, 2);
  await attempts[1]!.succeed();
  await stuck;
  assert.deepEqual(closed, ['stored']);
  void open('window');
  await attempts[2]!.succeed();
  assert.deepEqual(closed, ['stored', 'stuck']);
  assert.equal(String(reported[0]), 'Error: stuck');
  assert.equal(reported.length, 1);

  // One that is still opening is closed once it is open.
  void open('stored');
  void open('window');
  await attempts[3]!.succeed();
  assert.deepEqual(closed, ['stored', 'stuck', 'window', 'stored']);
});
