import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { JournalEntry } from '@pocket/core';

import { matters, tell, theirFields, won } from '../src/conflicts.ts';
import type { Todo } from '../src/todos.ts';

const BASE = { _id: 'a', title: 'Buy milk', done: false, due: null, position: 0, createdAt: new Date(0) };

type Fields = Partial<Todo> | null;

/** An entry about one to-do; null is a deletion. */
function entry(local: Fields, remote: Fields, more: Partial<JournalEntry<Todo>> = {}): JournalEntry<Todo> {
  const version = (fields: Fields) => ({ rev: null, sequence: null, document: fields === null ? null : { ...BASE, ...fields } });
  return {
    number: 1,
    kind: 'conflict',
    time: new Date(0),
    state: 'open',
    winner: 'merged',
    rule: 'merge',
    code: null,
    reason: null,
    documents: [{ collection: 'todos', documentId: 'a', base: version({}), local: version(local), remote: version(remote), erased: false }],
    ...more,
  };
}

test('a conflict matters only if something of it was lost that a person would miss', () => {
  assert.equal(matters(entry({ title: 'Buy oat milk' }, { done: true })), false);
  assert.equal(matters(entry({ position: 5 }, { position: 7 })), false);
  assert.equal(matters(entry({ title: 'x', done: true }, { title: 'x' })), false);
  assert.equal(matters(entry(null, null)), false);
  assert.equal(matters(entry({ title: 'Buy oat milk' }, { title: 'Buy soy milk' })), true);
  assert.equal(matters(entry({ done: true }, null)), true);
  assert.equal(matters(entry({ position: 5 }, {}, { kind: 'refusal', winner: 'remote' })), true);
});

test('it says who won, what lost, and what undoing brings back', () => {
  const lost = tell(entry({ title: 'Buy oat milk' }, { title: 'Buy soy milk' }), 'there');
  assert.match(lost.outcome, /other device won/);
  assert.equal(lost.title, '“Buy soy milk”');
  assert.equal(lost.lost, 'You said “Buy oat milk”.');
  assert.equal(lost.undo, 'Use mine');

  const stood = tell(entry({ title: 'Buy oat milk' }, null), 'here');
  assert.match(stood.outcome, /Your change won/);
  assert.equal(stood.title, '“Buy oat milk”');
  assert.equal(stood.lost, 'The other device deleted it.');
  assert.equal(stood.undo, 'Use theirs');
});

test('who won merged fields is read from what stands', () => {
  const clash = entry({ title: 'Buy oat milk', done: true }, { title: 'Buy soy milk' });
  const standing = (fields: Partial<Todo>) => won(clash, [{ ...BASE, done: true, ...fields }]);
  assert.equal(standing({ title: 'Buy oat milk' }), 'here');
  assert.equal(standing({ title: 'Buy soy milk' }), 'there');
  assert.equal(standing({ title: 'Buy a cow' }), 'both');
  assert.equal(won({ ...clash, winner: 'local' }, [null]), 'here');
  assert.equal(won({ ...clash, winner: 'remote' }, [null]), 'there');
  // Undoing leaves alone what only this side had changed.
  assert.deepEqual(theirFields(clash), [{ id: 'a', fields: { title: 'Buy soy milk' } }]);
});

test('a refusal is told with the reason of the server', () => {
  const refused = tell(entry({ title: 'x' }, {}, { kind: 'refusal', winner: 'remote', reason: 'no more room' }), 'there');
  assert.match(refused.outcome, /no more room/);
  assert.equal(refused.undo, 'Try again');
});
