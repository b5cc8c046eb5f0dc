// What all tabs of a database are to know, whichever of them leads.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Tab } from './world.js';
import { World, last, started } from './world.js';

test('what all tabs are told, all others hear that have started', async () => {
  const { world, tabs } = await started('a', 'b', 'c');
  const made = world.tab('made');
  tabs[1]?.team.tell('conflict', 'it');
  await world.settle();
  assert.deepEqual(tabs.map((tab) => last(tab.heard)), ['conflict: it', 'state of a', 'conflict: it']);
  assert.deepEqual(made.heard, []);
});

test('what all tabs are to know reaches those that do not run, and goes out from them', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  const made = world.tab('made');
  made.team.keep('token', 'one');
  await world.settle();
  assert.deepEqual([last(a.heard), last(b.heard)], ['token: one', 'token: one']);
  await b.team.stop();
  a.team.keep('token', 'two');
  await world.settle();
  assert.deepEqual([last(made.heard), last(b.heard)], ['token: two', 'token: two']);
});

test('a tab that begins is told what there is to know, and nobody hears it twice', async () => {
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  b.team.keep('token', 'old');
  b.team.keep('token', 'new');
  await world.settle();
  const heard = a.heard.length;
  const late = world.tab('late');
  await late.team.start();
  await world.settle();
  assert.deepEqual(late.heard.filter((what) => what.startsWith('token')), ['token: new']);
  assert.equal(a.heard.length, heard);
  // Also from a leader that only heard of it.
  b.close();
  const later = world.tab('later');
  await later.team.start();
  await world.settle();
  assert.deepEqual(later.heard.filter((what) => what.startsWith('token')), ['token: new']);
});

test('without locks a tab that begins is told what there is to know, too', async () => {
  const world = new World();
  const [a, b] = [world.tab('a', { locks: 'none' }), world.tab('b', { locks: 'none' })];
  a.team.keep('token', 'one');
  await b.team.start();
  await world.settle();
  assert.equal(last(b.heard), 'token: one');
});

test('of what two tabs say the later counts everywhere, whatever comes first', async () => {
  const { world, tabs } = await started('a', 'b', 'c');
  const [a, b, c] = tabs as [Tab, Tab, Tab];
  // What it tells is on its way for long.
  c.freeze();
  b.freeze();
  a.team.keep('token', 'early');
  await world.pass(100);
  a.freeze();
  c.thaw();
  c.team.keep('token', 'late');
  await world.settle();
  for (const tab of [a, b]) tab.thaw();
  await world.settle();
  const d = world.tab('d');
  await d.team.start();
  await world.settle();
  for (const tab of [a, b, d]) assert.equal(last(tab.heard.filter((what) => what.startsWith('token'))), 'token: late', tab.name);
});

test('a message that cannot be taken is reported, and the next one is heard', async (t) => {
  const reported: unknown[] = [];
  t.mock.method(console, 'error', (error: unknown) => reported.push(error));
  const { world, tabs } = await started('a', 'b');
  const [a, b] = tabs as [Tab, Tab];
  b.fault = (what) => what === 'conflict: 1';
  for (const number of [1, 2]) a.team.tell('conflict', number);
  await world.settle();
  assert.equal(last(b.heard), 'conflict: 2');
  assert.deepEqual(reported.map(String), ['Error: cannot take conflict: 1']);
});
