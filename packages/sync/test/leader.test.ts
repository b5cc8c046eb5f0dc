import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { PocketError } from '@pocket/core';
import { isPocketError } from '@pocket/core';

import type { Tab } from './world.js';
import { World, last, started, watched } from './world.js';

test('of two tabs that start together exactly one leads, and both have started', async () => {
  const world = new World();
  const tabs = [world.tab('a'), world.tab('b')];
  const starts = tabs.map((tab) => watched(tab.team.start()));
  await world.settle();
  assert.deepEqual(starts.map((start) => start.outcome), ['done', 'done']);
  assert.deepEqual(world.running, ['a']);
  await world.pass(60_000);
  assert.deepEqual(world.running, ['a']);
  assert.deepEqual(tabs.map((tab) => tab.team.isLeader), [true, false]);
});

test('starting twice is starting once', async () => {
  const { world, tabs } = await started('a');
  await tabs[0]?.team.start();
  await world.settle();
  assert.deepEqual(tabs[0]?.heard, ['leads']);
});

test('when the leader closes another tab leads at once', async () => {
  const { world, tabs } = await started('a', 'b', 'c');
  tabs[0]?.close();
  await world.settle();
  assert.equal(world.now, 0);
  assert.deepEqual(world.running, ['b']);
  // The third one takes the new one for its leader, and does not rob it.
  await world.pass(10_000);
  assert.deepEqual(world.running, ['b']);
  assert.equal(last(tabs[2]?.heard ?? []), 'state of b');
});

test('a leader that stops gives the lead away only when its engine has stopped', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a] = tabs as [Tab, Tab];
  let stop = (): void => undefined;
  a.stopping = new Promise((resolve) => (stop = resolve));
  const stopping = watched(a.team.stop());
  await world.settle();
  assert.deepEqual(world.running, ['a']);
  stop();
  await world.settle();
  assert.deepEqual(world.running, ['b']);
  assert.equal(stopping.outcome, 'done');
});

test('a frozen leader is replaced in less than a second, and follows when it goes on', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  for (const age of [0, 100, 249]) {
    await world.pass(age);
    a.freeze();
    await world.pass(999);
    assert.equal(b.team.isLeader, true, `frozen ${age} ms after a ping`);
    assert.equal(b.isRunning, true);
    a.thaw();
    await world.settle();
    assert.deepEqual(world.running, ['b']);
    assert.equal(a.team.isLeader, false);
    assert.equal(last(a.heard), 'state of b');
    // Back, for the next round.
    b.freeze();
    await world.pass(999);
    b.thaw();
    await world.settle();
    assert.deepEqual(world.running, ['a']);
  }
});

test('of several followers of a frozen leader one leads in the end', async () => {
  const { world, tabs } = await started('a', 'b', 'c', 'd');
  tabs[0]?.freeze();
  await world.pass(2_000);
  assert.equal(tabs.slice(1).filter((tab) => tab.team.isLeader).length, 1);
  tabs[0]?.thaw();
  await world.pass(5_000);
  assert.equal(world.running.length, 1);
  assert.notDeepEqual(world.running, ['a']);
});

test('a leader that answers is not robbed', async () => {
  const { world, tabs } = await started('a', 'b', 'c');
  await world.pass(600_000);
  assert.deepEqual(tabs[0]?.heard, ['leads']);
  assert.deepEqual(world.running, ['a']);
});

test('a follower that was frozen itself does not rob the leader', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  for (const ms of [500, 700, 5_000, 3_600_000]) {
    b.freeze();
    await world.pass(ms);
    b.thaw();
    await world.pass(2_000);
    assert.deepEqual(a.heard, ['leads'], `after ${ms} ms`);
  }
});

test('a follower that was frozen before it heard an answer hears it first when it goes on', async () => {
  const { world, tabs } = await started('a');
  const b = world.tab('b');
  void b.team.start();
  b.freeze();
  await world.pass(5_000);
  b.thaw();
  await world.pass(2_000);
  assert.deepEqual(tabs[0]?.heard, ['leads']);
});

test('a follower shows the state of the leader, also one that comes late', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  assert.equal(last(b.heard), 'state of a');
  a.state = 'another one';
  a.team.publish(a.state);
  await world.settle();
  assert.equal(last(b.heard), 'another one');
  const late = world.tab('late');
  await late.team.start();
  await world.settle();
  assert.equal(last(late.heard), 'another one');
});

test('the leader does what a follower asks for, and its answer comes back', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  const [one, two] = [watched(b.team.call('push')), watched(b.team.call('pull'))];
  await world.settle();
  assert.deepEqual(a.asked.map(({ method }) => method), ['push', 'pull']);
  a.asked[1]?.fail(Object.assign(new Error('no way'), { code: 'connect' }));
  await world.settle();
  assert.deepEqual([one.outcome, two.outcome], ['waits', 'connect']);
  a.asked[0]?.done();
  await world.settle();
  assert.equal(one.outcome, 'done');
});

test('what was asked of a leader that closes is asked of the next one', async () => {
  const { world, tabs } = await started('a', 'b', 'c');
  const [a, b, c] = tabs as [Tab, Tab, Tab];
  // The caller becomes the leader, or somebody else does.
  const calls = [watched(b.team.call('forceSync')), watched(c.team.call('push'))];
  await world.settle();
  assert.equal(a.asked.length, 2);
  a.close();
  await world.settle();
  assert.deepEqual(b.asked.map(({ method }) => method).sort(), ['forceSync', 'push']);
  for (const asked of b.asked) asked.done();
  await world.settle();
  assert.deepEqual(calls.map(({ outcome }) => outcome), ['done', 'done']);
});

test('what was asked of a leader that froze is asked of the next one, and settles once', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  a.freeze();
  const call = watched(b.team.call('forceSync'));
  await world.pass(999);
  assert.equal(b.asked.length, 1);
  b.asked[0]?.done();
  await world.settle();
  assert.equal(call.outcome, 'done');
  a.thaw();
  await world.pass(2_000);
  assert.equal(call.outcome, 'done');
  assert.deepEqual(world.running, ['b']);
});

test('what a leader was doing for itself when it was robbed is done by the next one', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  const call = watched(a.team.call('forceSync'));
  await world.settle();
  assert.equal(a.asked.length, 1);
  a.freeze();
  await world.pass(999);
  a.thaw();
  await world.settle();
  assert.equal(call.outcome, 'waits');
  assert.deepEqual(b.asked.map(({ method }) => method), ['forceSync']);
  b.asked[0]?.done();
  await world.settle();
  assert.equal(call.outcome, 'done');
});

test('what a robbed leader could not finish for a follower is no failure', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  const call = watched(b.team.call('forceSync'));
  await world.settle();
  assert.equal(a.asked.length, 1);
  a.freeze();
  await world.pass(999);
  a.thaw();
  await world.settle();
  assert.deepEqual([a.isRunning, call.outcome], [false, 'waits']);
  b.asked[0]?.done();
  await world.settle();
  assert.equal(call.outcome, 'done');
});

test('what is asked in the moment a leader begins is done once', async () => {
  const { world, tabs } = await started('a', 'b', 'c');
  const [a, b, c] = tabs as [Tab, Tab, Tab];
  a.close();
  // Before it has heard that there is another one: it will ask again then.
  const call = watched(c.team.call('push'));
  await world.settle();
  assert.equal(b.asked.length, 1);
  b.asked[0]?.done();
  await world.settle();
  assert.equal(call.outcome, 'done');
});

test('a leader that was robbed leads again when its turn comes', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  a.freeze();
  await world.pass(999);
  a.thaw();
  await world.settle();
  assert.deepEqual(world.running, ['b']);
  b.close();
  await world.settle();
  assert.deepEqual(world.running, ['a']);
});

test('what a leader says that was robbed and does not know it yet is not shown', async () => {
  const { world, tabs } = await started('a', 'b', 'c');
  const [a, , c] = tabs as [Tab, Tab, Tab];
  a.freeze();
  await world.pass(2_000);
  const shown = last(c.heard);
  assert.notEqual(shown, 'state of a');
  a.team.publish('long ago');
  await world.settle();
  assert.equal(last(c.heard), shown);
});

test('a tab that stops in the moment it gets the lock gives it on', async () => {
  const { world, tabs } = await started('a', 'b', 'c');
  const [a, b] = tabs as [Tab, Tab];
  b.freeze();
  a.close();
  void b.team.stop();
  b.thaw();
  await world.settle();
  assert.deepEqual(world.running, ['c']);
  assert.equal(b.team.isLeader, false);
});

test('an engine that is stopping is not started before it has stopped', async () => {
  const world = new World();
  const tab = world.tab('a', { locks: 'none' });
  await tab.team.start();
  let stop = (): void => undefined;
  tab.stopping = new Promise((resolve) => (stop = resolve));
  void tab.team.stop();
  const start = watched(tab.team.start());
  await world.settle();
  assert.equal(start.outcome, 'waits');
  stop();
  await world.settle();
  assert.deepEqual([start.outcome, tab.isRunning, tab.team.isLeader], ['done', true, true]);
});

test('what is asked while nobody leads waits for the next leader', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  let stop = (): void => undefined;
  a.stopping = new Promise((resolve) => (stop = resolve));
  void a.team.stop();
  const call = watched(b.team.call('pull'));
  await world.settle();
  assert.equal(call.outcome, 'waits');
  stop();
  await world.settle();
  b.asked[0]?.done();
  await world.settle();
  assert.equal(call.outcome, 'done');
});

test('a tab that stops rejects what it asked for, and one that did not start asks for nothing', async () => {
  const { world, tabs } = await started('a', 'b');
  const [, b] = tabs as [Tab, Tab];
  const call = watched(b.team.call('pull'));
  await b.team.stop();
  await world.settle();
  assert.equal(call.outcome, 'stopped');
  await assert.rejects(b.team.call('pull'), (error) => isPocketError(error, 'stopped'));
  assert.deepEqual(world.running, ['a']);
});

test('a tab can stop and start again, in the same breath, too', async () => {
  const { world, tabs } = await started('a');
  const [a] = tabs as [Tab];
  for (let round = 0; round < 3; round += 1) {
    const stopping = a.team.stop();
    await Promise.all([stopping, a.team.start()]);
    await world.settle();
    assert.deepEqual(world.running, ['a']);
  }
  assert.equal(world.queue.length, 0);
});

test('a start that is stopped before anybody leads rejects', async () => {
  const { world } = await started('a');
  const b = world.tab('b');
  const start = watched(b.team.start());
  void b.team.stop();
  await world.settle();
  assert.equal(start.outcome, 'stopped');
  assert.deepEqual(world.running, ['a']);
});

test('an engine that does not start says so, and lets another tab try', async () => {
  const world = new World();
  const [a, b] = [world.tab('a'), world.tab('b')];
  a.refusal = Object.assign(new Error('of another user'), { code: 'other-user' });
  const start = watched(a.team.start());
  void b.team.start();
  await world.settle();
  assert.equal(start.outcome, 'other-user');
  assert.deepEqual(world.running, ['b']);
  // One that takes over later has nobody to answer to, and tells its listener.
  const c = world.tab('c');
  c.refusal = a.refusal;
  await c.team.start();
  b.close();
  await world.settle();
  assert.deepEqual(c.heard.slice(-3), ['leads', 'failed: other-user', 'follows']);
  assert.deepEqual(world.running, []);
});

test('a tab whose engine is for another server is no part of the team, whoever was first', async () => {
  const world = new World();
  const [a, b, c] = [world.tab('a'), world.tab('b', { purpose: 'another server' }), world.tab('c')];
  await a.team.start();
  await assert.rejects(b.team.start(), (error: PocketError) => error.code === 'already-syncing' && /one server.*another server/.test(error.message));
  await c.team.start();
  assert.deepEqual(world.running, ['a']);
  // It does not take over, either, and asks nothing of those that are there.
  await assert.rejects(b.team.call('push'), (error: PocketError) => error.code === 'stopped');
  a.close();
  await world.pass(2_000);
  assert.deepEqual(world.running, ['c']);
  await c.team.stop();
  await b.team.start();
  assert.deepEqual(world.running, ['b']);
});

test('of two tabs that start together for different servers one is told that it cannot', async () => {
  const world = new World();
  const [a, b] = [world.tab('a'), world.tab('b', { purpose: 'another server' })];
  const starts = Promise.allSettled([a.team.start(), b.team.start()]);
  await world.pass(2_000);
  await starts;
  assert.equal(world.running.length, 1);
  const [loser] = world.running[0] === 'a' ? [b] : [a];
  const outcomes = await starts;
  const refused = outcomes.some((outcome) => outcome.status === 'rejected' && (outcome.reason as PocketError).code === 'already-syncing');
  assert.ok(refused || loser.heard.includes('failed: already-syncing'), JSON.stringify(loser.heard));
});

test('without locks each tab leads', async () => {
  const world = new World();
  const tabs = [world.tab('a', { locks: 'none' }), world.tab('b', { locks: 'none' })];
  await Promise.all(tabs.map((tab) => tab.team.start()));
  assert.deepEqual(world.running, ['a', 'b']);
  const call = watched(last(tabs).team.call('push'));
  await world.settle();
  last(tabs).asked[0]?.done();
  await world.settle();
  assert.equal(call.outcome, 'done');
});

test('where locks are refused a tab leads by itself', async () => {
  const world = new World();
  const refused = Object.assign(new Error('not in a sandboxed frame'), { name: 'SecurityError' });
  const tab = world.tab('a', { locks: { request: () => Promise.reject(refused) } });
  await tab.team.start();
  assert.deepEqual(world.running, ['a']);
});

test('tabs of another version agree on who leads, and do not read what they may not understand', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  const other = world.channel(a);
  const heard = b.heard.length;
  for (const version of [undefined, 2]) {
    other.postMessage({ kind: 'snapshot', from: 'a', version, snapshot: 'of another shape' });
    other.postMessage({ kind: 'told', from: 'a', version, topic: 'conflict', payload: 1 });
    other.postMessage({ kind: 'kept', from: 'a', version });
  }
  for (const noMessage of [null, 'text', {}, { kind: 'new', from: 'a', version: 2 }]) other.postMessage(noMessage);
  await world.settle();
  assert.equal(b.heard.length, heard);
  // Another version says that it leads, and its answers count.
  other.postMessage({ kind: 'leading', from: 'x', version: 2 });
  const call = watched(b.team.call('push'));
  world.lost = (message) => message.kind === 'pong';
  for (let ms = 0; ms < 5_000; ms += 100) {
    await world.pass(100);
    world.lost = () => false;
    other.postMessage({ kind: 'pong', from: 'x', version: 2 });
    world.lost = (message) => message.kind === 'pong';
  }
  await world.settle();
  assert.equal(b.team.isLeader, false);
  assert.equal(call.outcome, 'waits');
  other.close();
});

test('a team that was closed leaves no timer, channel or request behind', async () => {
  const { world, tabs } = await started('a', 'b');
  for (const tab of tabs) await tab.team.close();
  await world.settle();
  assert.deepEqual([world.timers.length, world.channels.size, world.queue.length, world.holder], [0, 0, 0, undefined]);
});

test('an answer that is lost while a follower stands still is asked for again', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  const call = watched(b.team.call('push'));
  await world.settle();
  // As a page that keeps only so many messages while it is frozen.
  world.lost = (message) => message.kind === 'result';
  a.asked.shift()?.done();
  await world.settle();
  assert.equal(call.outcome, 'waits');
  world.lost = () => false;
  await world.pass(1_000);
  assert.equal(a.asked.length, 1);
  a.asked.shift()?.done();
  await world.settle();
  assert.equal(call.outcome, 'done');
});
