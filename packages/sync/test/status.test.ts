import assert from 'node:assert/strict';
import { test } from 'node:test';

import { isPocketError } from '@pocket/core';

import { NOTHING, readSnapshot } from '../dist/status.js';

const snapshot = (stats: object, status = 'idle'): string => JSON.stringify({ status, stats: { ...NOTHING.stats, ...stats }, progress: NOTHING.progress });

test('what is the same stays the same object', () => {
  const first = readSnapshot(snapshot({ pushCount: 1 }), NOTHING);
  assert.equal(first.progress, NOTHING.progress);
  assert.equal(first.stats.pushCount, 1);
  const second = readSnapshot(snapshot({ pushCount: 1 }, 'syncing'), first);
  assert.equal(second.stats, first.stats);
  assert.equal(second.status, 'syncing');
  assert.notEqual(readSnapshot(snapshot({ pushCount: 2 }), second).stats, first.stats);
});

test('an error is an error of Pocket, and the same one while it is the same', () => {
  const lastError = { code: 'connect', message: 'nobody answers', retryable: true };
  const first = readSnapshot(snapshot({ lastError }), NOTHING);
  assert.ok(isPocketError(first.stats.lastError, 'connect'));
  assert.equal(readSnapshot(snapshot({ lastError }), first).stats, first.stats);
  const other = readSnapshot(snapshot({ lastError: { ...lastError, code: 'timeout' } }), first);
  assert.ok(isPocketError(other.stats.lastError, 'timeout'));
  assert.equal(readSnapshot(snapshot({}), other).stats.lastError, null);
});
