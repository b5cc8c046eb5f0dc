import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { decode, decodeMap, decodeRow, decodeRows } from '../dist/decode.js';
import { encode } from '../dist/encode.js';
import { PocketError } from '../dist/error.js';

interface Fixture {
  readonly name: string;
  readonly hex: string;
  readonly json: string;
}

// The fixtures of the Rust crate: what one of them writes, the other one reads.
const file = new URL('../../../crates/pocket-core/tests/fixtures/values.json', import.meta.url);
const fixtures = JSON.parse(readFileSync(file, 'utf8')) as Record<'written' | 'read_only' | 'refused', Fixture[]>;

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** The JSON form of `docs/values.md`, without the difference of `1.0` and `1`, which JavaScript does not know. */
function fromJson(text: string): unknown {
  // JSON.parse would round whole numbers beyond 2^53.
  const marked = text.replace(/(?<=^|[[:,])-?\d{16,}(?=$|[\],}])/g, (digits) => `{"$bigint":"${digits}"}`);
  return JSON.parse(marked, (_, value: unknown) => {
    if (typeof value !== 'object' || value === null) return value;
    if ('$binary' in value) return Uint8Array.from(Buffer.from(String(value.$binary), 'base64'));
    if ('$bigint' in value) return BigInt(String(value.$bigint));
    if ('$date' in value) return new Date(typeof value.$date === 'bigint' ? Number(value.$date) : (value.$date as string));
    return value;
  });
}

function refusal(value: unknown): PocketError {
  try {
    encode(value);
  } catch (error) {
    assert.ok(error instanceof PocketError);
    assert.equal(error.code, 'validation');
    return error;
  }
  throw new assert.AssertionError({ message: 'it was not refused' });
}

test('every value of the Rust fixtures is read as what it is, and written as the same bytes', () => {
  assert.ok(fixtures.written.length >= 60);
  let rewritten = 0;
  for (const { name, hex, json } of fixtures.written) {
    const value = decode(bytesOf(hex));
    if (value instanceof Date && Number.isNaN(value.getTime())) {
      // Beyond what `Date` can hold; it must not come back as something else.
      assert.match(name, /least|greatest/);
      assert.match(refusal(value).message, /invalid/);
      continue;
    }
    assert.deepEqual(value, fromJson(json), name);
    // A whole float below 2^53 is written as an integer: JavaScript has one type for both.
    const isWhole = (inner: unknown): boolean => (Array.isArray(inner) ? inner.some(isWhole) : Number.isSafeInteger(inner));
    if (hex.includes('cb') && isWhole(value) && !Object.is(value, -0)) continue;
    assert.equal(hexOf(encode(value)), hex, name);
    rewritten += 1;
  }
  assert.ok(rewritten >= 55, `${rewritten}`);
});

test('longer forms than needed are read', () => {
  for (const { name, hex, json } of fixtures.read_only) assert.deepEqual(decode(bytesOf(hex)), fromJson(json), name);
});

test('what Rust refuses is refused', () => {
  assert.ok(fixtures.refused.length >= 25);
  for (const { name, hex } of fixtures.refused) {
    const read = (): unknown =>
      /^(no map|array at the top)$/.test(name) ? decodeMap(bytesOf(hex), (_, decoder) => decoder.value()) : decode(bytesOf(hex));
    assert.throws(read, (error) => error instanceof PocketError && error.code === 'validation', name);
  }
});

test('a bigint that a number can hold comes back as a number', () => {
  for (const small of [0n, -1n, 2n ** 53n - 1n, -(2n ** 53n) + 1n]) assert.equal(decode(encode(small)), Number(small));
  for (const large of [2n ** 53n, -(2n ** 53n), 2n ** 63n, 2n ** 64n - 1n, -(2n ** 63n)]) assert.equal(decode(encode(large)), large);
});

test('whole numbers beyond 2^53 stay floats', () => {
  for (const number of [2 ** 53, 1e300, -(2 ** 60)]) {
    assert.equal(encode(number)[0], 0xcb);
    assert.equal(decode(encode(number)), number);
  }
  assert.ok(Object.is(decode(encode(-0)), -0));
});

test('what no document may hold is refused with its path', () => {
  class Money {
    amount = 1;
  }
  const cycle: Record<string, unknown> = { a: {} };
  cycle['a'] = { back: [cycle] };
  let deep: unknown = 1;
  for (let level = 0; level < 101; level += 1) deep = [deep];
  const cases: [unknown, string | undefined, RegExp][] = [
    [{ a: { b: [1, undefined] } }, 'a.b.1', /undefined/],
    [{ a: [1, , 2] }, 'a.1', /undefined/],
    [{ f: () => 1 }, 'f', /function/],
    [{ s: Symbol('x') }, 's', /symbol/],
    [{ m: new Money() }, 'm', /Money/],
    [{ m: new Map() }, 'm', /Map/],
    [{ r: /x/ }, 'r', /RegExp/],
    [{ b: new ArrayBuffer(1) }, 'b', /ArrayBuffer/],
    [{ n: NaN }, 'n', /NaN/],
    [{ n: -Infinity }, 'n', /Infinity/],
    [{ d: new Date(NaN) }, 'd', /invalid/],
    [{ i: 2n ** 64n }, 'i', /64 bits/],
    [{ i: -(2n ** 63n) - 1n }, 'i', /64 bits/],
    [{ t: 'a\ud800' }, 't', /surrogate/],
    [{ ['k\udfff']: 1 }, 'k\udfff', /surrogate/],
    [cycle, 'a.back.0', /itself/],
    [{ deep }, `deep${'.0'.repeat(99)}`, /levels/],
    [undefined, undefined, /undefined/],
  ];
  for (const [value, path, message] of cases) {
    const error = refusal(value);
    assert.equal(error.path, path);
    assert.match(error.message, message);
  }
});

test('an object that is met twice, but not inside of itself, is no cycle', () => {
  const shared = { x: 1 };
  assert.deepEqual(decode(encode({ a: shared, b: [shared, shared] })), { a: shared, b: [shared, shared] });
});

test('properties that are undefined are left out of documents, and refused in filters', () => {
  assert.deepEqual(decode(encode({ a: undefined, b: 1 })), { b: 1 });
  assert.throws(
    () => encode({ filter: { owner: undefined } }, { undefined: 'refuse', code: 'bad-query' }),
    (error) => error instanceof PocketError && error.code === 'bad-query' && error.path === 'filter.owner',
  );
});

test('a key named __proto__ is a key', () => {
  const value = decode(encode(JSON.parse('{"__proto__":{"polluted":true},"a":1}'))) as object;
  assert.ok(Object.hasOwn(value, '__proto__'));
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  assert.equal((value as { polluted?: boolean }).polluted, undefined);
});

test('binary is a copy, and does not hold the bytes it was read from', () => {
  const bytes = encode(new Uint8Array([1, 2, 3]));
  const read = decode(bytes) as Uint8Array;
  bytes.fill(0);
  assert.deepEqual([...read], [1, 2, 3]);
  assert.equal(read.buffer.byteLength, 3);
});

test('a row has its id first', () => {
  const row = decodeRow(encode(['x', 'r1', 5, { b: 1, a: 2 }]));
  assert.deepEqual(Object.keys(row?.data ?? {}), ['_id', 'b', 'a']);
  assert.deepEqual([row?.rev, row?.updatedAt], ['r1', 5]);
  assert.deepEqual(decodeRows(encode([null, ['y', 'r', 0, {}]])).map((each) => each?.id ?? null), [null, 'y']);
});

/** A generator of numbers from a seed (mulberry32), so that a failure can be repeated. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function anyValue(next: () => number, depth: number): unknown {
  const upTo = (end: number): number => Math.floor(next() * end);
  const text = (): string => Array.from({ length: upTo(40) }, () => String.fromCodePoint(['a', 'ß', '€', '🦀'][upTo(4)]?.codePointAt(0) ?? 97)).join('');
  switch (upTo(depth > 0 ? 11 : 9)) {
    case 0:
      return null;
    case 1:
      return next() < 0.5;
    case 2:
      return upTo(2 ** 10) - 2 ** 9;
    case 3:
      return Math.trunc((next() - 0.5) * 2 ** (1 + upTo(53)));
    case 4:
      return (next() - 0.5) * 10 ** (upTo(40) - 20);
    case 5:
      return BigInt.asIntN(64, BigInt(upTo(2 ** 30)) * 2n ** BigInt(20 + upTo(44)) + 2n ** 55n);
    case 6:
      return text();
    case 7:
      return new Date(Math.trunc((next() - 0.5) * 10 ** (3 + upTo(13))));
    case 8:
      return Uint8Array.from({ length: upTo(300) }, () => upTo(256));
    case 9:
      return Array.from({ length: upTo(20) }, () => anyValue(next, depth - 1));
    default:
      return Object.fromEntries(Array.from({ length: upTo(20) }, (_, at) => [`${text()}${at}`, anyValue(next, depth - 1)]));
  }
}

/** A bigint that fits into a number comes back as one. */
function normal(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(normal);
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, normal(inner)]));
  }
  return value;
}

test('two thousand values come back as they were, and are written the same again', () => {
  for (let seed = 1; seed <= 2_000; seed += 1) {
    const value = anyValue(random(seed), 4);
    const bytes = encode(value);
    const read = decode(bytes);
    assert.deepEqual(read, normal(value), `seed ${seed}`);
    assert.equal(hexOf(encode(read)), hexOf(bytes), `seed ${seed}`);
  }
});

test('cut or damaged bytes are refused, or are another value, but nothing else happens', () => {
  for (let seed = 1; seed <= 500; seed += 1) {
    const next = random(seed);
    const bytes = encode(anyValue(next, 3));
    assert.throws(() => decode(bytes.subarray(0, Math.floor(next() * bytes.length))), PocketError, `seed ${seed}`);
    const damaged = bytes.slice();
    damaged[Math.floor(next() * bytes.length)] = Math.floor(next() * 256);
    try {
      encode(decode(damaged));
    } catch (error) {
      assert.ok(error instanceof PocketError, `seed ${seed}: ${String(error)}`);
    }
  }
});
