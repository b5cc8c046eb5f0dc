import assert from 'node:assert/strict';
import { test } from 'node:test';

import { between, dayOf, dueLabel, moved, shown, viewOf } from '../src/todos.ts';
import type { Todo } from '../src/todos.ts';

test('there is a place between any two until the numbers run out, and then it says so', () => {
  assert.equal(between(undefined, undefined), 0);
  assert.ok(between(undefined, 5)! < 5);
  assert.ok(between(5, undefined)! > 5);
  let [low, high] = [0, 1];
  let moves = 0;
  for (let place = between(low, high); place !== null; place = between(low, high)) {
    assert.ok(place > low && place < high);
    if (moves % 2 === 0) low = place;
    else high = place;
    moves += 1;
  }
  assert.ok(moves > 40, `${moves} moves`);
});

test('an entry is moved up, down, and to where it was', () => {
  assert.deepEqual(moved(['a', 'b', 'c'], 0, 2), ['b', 'c', 'a']);
  assert.deepEqual(moved(['a', 'b', 'c'], 2, 0), ['c', 'a', 'b']);
  assert.deepEqual(moved(['a', 'b', 'c'], 1, 1), ['a', 'b', 'c']);
  assert.deepEqual(moved(['a'], 7, 0), ['a']);
});

test('a due day is told as seen from today, also over a change of the clock', () => {
  const today = new Date(2026, 2, 28, 23, 30);
  const tone = (day: string) => dueLabel(day, today).tone;
  assert.deepEqual(dueLabel('2026-03-28', today), { text: 'Today', tone: 'today' });
  assert.deepEqual(dueLabel('2026-03-29', today), { text: 'Tomorrow', tone: 'later' });
  assert.deepEqual(dueLabel('2026-03-27', today), { text: 'Yesterday', tone: 'late' });
  assert.equal(tone('2026-03-30'), 'later');
  assert.equal(tone('2025-12-31'), 'late');
  assert.match(dueLabel('2027-01-02', today).text, /2027/);
  assert.equal(dayOf(new Date(2026, 0, 5, 0, 0)), '2026-01-05');
});

test('an address names a view, and an unknown one shows everything', () => {
  assert.equal(viewOf('/done'), 'done');
  assert.equal(viewOf('/elsewhere'), 'all');
});

test('a document that another program wrote is shown as far as it can be, and one that fits stays what it is', () => {
  const good: Todo = { _id: 'a', title: 'Buy milk', done: true, due: '2026-11-28', position: 3, createdAt: new Date(0) };
  assert.equal(shown(good), good);
  const odd = (fields: object): Todo => shown(fields as Todo);
  assert.deepEqual(odd({ _id: '1', title: 'Task' }), { _id: '1', title: 'Task', done: false, due: null, position: 0 });
  assert.equal(odd({}).title, '(no title)');
  assert.equal(odd({ title: { a: 1 } }).title, '{"a":1}');
  for (const due of ['garbage', 5, '2026-99-99', '2026-02-30', {}, undefined]) assert.equal(odd({ title: 'x', due }).due, null);
});
