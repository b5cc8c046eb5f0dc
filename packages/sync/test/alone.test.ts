import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isPocketError } from '@pocket/core';

import type { Tab } from './world.js';
import { World, last, started, watched } from './world.js';

test('what must run alone stops the engines of all tabs', async () => {
  const { world, tabs } = await started('a', 'b', 'c');
  const [, b] = tabs as [Tab, Tab, Tab];
  const seen: string[][] = [];
  const answer = await b.team.alone(async () => {
    await world.settle();
    seen.push(world.running);
    return 7;
  });
  assert.equal(answer, 7);
  assert.deepEqual(seen, [[]]);
  await world.pass(5_000);
  assert.deepEqual(world.running, []);
  assert.equal(world.holder, undefined);
  assert.equal(world.timers.length, 0);
  await b.team.start();
  assert.deepEqual(world.running, ['b']);
  const fails = b.team.alone(() => Promise.reject(new Error('it failed')));
  await assert.rejects(fails, (error) => isPocketError(error, 'internal') && error.message === 'it failed');
  await world.settle();
  assert.equal(world.holder, undefined);
});

test('what must run alone waits until the engine of the leader has stopped, however long that takes', async () => {
  const { world, tabs } = await started('a', 'b', 'c');
  const [a, b] = tabs as [Tab, Tab, Tab];
  let stop = (): void => undefined;
  a.stopping = new Promise((resolve) => (stop = resolve));
  const seen: string[][] = [];
  const alone = watched(
    b.team.alone(() => {
      seen.push(world.running);
      return Promise.resolve();
    }),
  );
  await world.pass(60_000);
  assert.deepEqual([world.running, seen, alone.outcome], [['a'], [], 'waits']);
  stop();
  await world.settle();
  assert.deepEqual([seen, alone.outcome], [[[]], 'done']);
});

test('a leader that is slow to stop is not robbed meanwhile', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a] = tabs as [Tab, Tab];
  let stop = (): void => undefined;
  a.stopping = new Promise((resolve) => (stop = resolve));
  void a.team.stop();
  await world.pass(60_000);
  assert.deepEqual(world.running, ['a']);
  stop();
  await world.settle();
  assert.deepEqual(world.running, ['b']);
});

test('what must run alone robs a leader that is frozen, which stays stopped when it goes on', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  a.freeze();
  const alone = watched(b.team.alone(() => Promise.resolve()));
  await world.pass(500);
  assert.equal(alone.outcome, 'waits');
  await world.pass(499);
  assert.equal(alone.outcome, 'done');
  a.thaw();
  await world.pass(5_000);
  assert.deepEqual(world.running, []);
  assert.deepEqual([world.holder, world.queue.length], [undefined, 0]);
});

test('what runs alone is not robbed of that, and a tab that starts meanwhile waits', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  let end = (): void => undefined;
  const alone = watched(b.team.alone(() => new Promise<void>((resolve) => (end = resolve))));
  await world.settle();
  // In another tab, in one that was stopped, and in the same one.
  const starts = [world.tab('c'), a, b].map((tab) => watched(tab.team.start()));
  await world.pass(60_000);
  assert.deepEqual([world.running, alone.outcome, starts.map(({ outcome }) => outcome)], [[], 'waits', ['waits', 'waits', 'waits']]);
  end();
  await world.settle();
  assert.deepEqual([world.running, alone.outcome], [['c'], 'done']);
  assert.deepEqual(starts.map(({ outcome }) => outcome), ['done', 'done', 'done']);
});

test('a tab that starts while another waits to run alone is stopped', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  let stop = (): void => undefined;
  a.stopping = new Promise((resolve) => (stop = resolve));
  const alone = watched(b.team.alone(() => Promise.resolve()));
  await world.settle();
  const c = world.tab('c');
  const start = watched(c.team.start());
  await world.pass(1_000);
  assert.deepEqual([start.outcome, last(c.heard)], ['stopped', 'halted']);
  stop();
  await world.settle();
  assert.deepEqual([world.running, alone.outcome], [[], 'done']);
});

test('of two tabs that must run alone one waits for the other', async () => {
  const { world, tabs } = await started('a', 'b');
  const ends: (() => void)[] = [];
  const both = tabs.map((tab) => watched(tab.team.alone(() => new Promise<void>((resolve) => ends.push(resolve)))));
  // Of one tab, too.
  const third = watched(tabs[0]?.team.alone(() => new Promise<void>((resolve) => ends.push(resolve))) ?? assert.fail());
  for (const count of [1, 2, 3]) {
    await world.pass(10_000);
    assert.equal(ends.length, count);
    last(ends)();
  }
  await world.settle();
  assert.deepEqual([...both, third].map(({ outcome }) => outcome), ['done', 'done', 'done']);
});

test('who is robbed while it runs alone goes on, and the robber stops', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  let end = (): void => undefined;
  const alone = watched(a.team.alone(() => new Promise<void>((resolve) => (end = resolve))));
  await world.settle();
  void b.team.start().catch(() => undefined);
  a.freeze();
  await world.pass(999);
  assert.deepEqual(world.running, ['b']);
  a.thaw();
  await world.settle();
  assert.deepEqual([world.running, alone.outcome], [[], 'waits']);
  end();
  await world.settle();
  assert.equal(alone.outcome, 'done');
});

for (const [where, locks] of [
  ['without locks', 'none'],
  ['where locks are refused', { request: () => Promise.reject(Object.assign(new Error('in a frame'), { name: 'SecurityError' })) }],
] as const) {
  test(`${where} what must run alone stops the engines of all tabs, and those that start meanwhile`, async () => {
    const world = new World();
    const [a, b] = [world.tab('a', { locks }), world.tab('b', { locks })];
    for (const tab of [a, b]) await tab.team.start();
    await world.settle();
    assert.deepEqual(world.running, ['a', 'b']);
    let stop = (): void => undefined;
    a.stopping = new Promise((resolve) => (stop = resolve));
    let end = (): void => undefined;
    const seen: string[][] = [];
    const alone = watched(
      b.team.alone(() => {
        seen.push(world.running);
        return new Promise<void>((resolve) => (end = resolve));
      }),
    );
    await world.pass(60_000);
    assert.deepEqual([world.running, seen], [['a'], []]);
    stop();
    await world.settle();
    await world.pass(2_000);
    assert.deepEqual([world.running, seen], [[], [[]]]);
    void a.team.start().catch(() => undefined);
    await world.settle();
    assert.deepEqual([world.running, last(a.heard)], [[], 'halted']);
    end();
    await world.settle();
    assert.equal(alone.outcome, 'done');
    await a.team.start();
    assert.deepEqual(world.running, ['a']);
  });
}
