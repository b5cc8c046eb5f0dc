import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Line } from '../dist/line.js';

/** A promise, and what ends it. */
function gate(): { readonly open: () => void; readonly opened: Promise<void> } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open, opened };
}

/** Whatever is ready to run, runs. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('whoever waits gets the turn in order, also when the one before fails', async () => {
  const line = new Line();
  const all = [0, 1, 2].map(() => ({ began: line.begin(), ...gate() }));
  const ran: number[] = [];
  const turns = all.map(({ began, opened }, at) =>
    line.turn(began, async () => {
      ran.push(at);
      await opened;
      if (at === 0) throw new Error('mine');
    }),
  );
  await settle();
  assert.deepEqual(ran, [0]);
  all[0]?.open();
  await assert.rejects(turns[0] ?? Promise.resolve(), /mine/);
  await settle();
  assert.deepEqual(ran, [0, 1]);
  all[1]?.open();
  all[2]?.open();
  await Promise.all(turns.slice(1));
  assert.deepEqual(ran, [0, 1, 2]);
});

test('what begins inside of a turn does not wait for it', async () => {
  const line = new Line();
  const outer = line.begin();
  const answer = await line.turn(outer, () => {
    const inner = line.begin();
    return line.turn(inner, () => line.turn(line.begin(), () => Promise.resolve('inside')));
  });
  assert.equal(answer, 'inside');
  assert.equal(await line.turn(line.begin(), () => Promise.resolve('after')), 'after');
});
