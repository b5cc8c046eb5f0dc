// Values as MessagePack, by the rules of `docs/values.md`. A codec of our own, since no library gives the shortest
// integers and refuses what a document may not hold, with its place.

import { PocketError } from './error.js';

/** Levels of arrays and maps at the most; no database can be configured to take more. */
const MAX_DEPTH = 100;

const MIN_I64 = -(2n ** 63n);
const MAX_U64 = 2n ** 64n - 1n;
const NANOS_PER_MILLI = 1_000_000;

/** What becomes of a property that is `undefined`. */
export type Undefined =
  /** It is as if it were not there: in documents. */
  | 'omit'
  /** It is refused: in filters, where a condition that vanishes would select everything. */
  | 'refuse';

/** What differs between documents and filters. */
export interface EncodeOptions {
  /** What becomes of properties that are `undefined`. */
  readonly undefined: Undefined;
  /** The code of the errors. */
  readonly code: string;
  /** What comes before the paths of the errors; nothing unless set. */
  readonly within?: string;
  /** Says what is wrong with a key, if something is. */
  readonly refused?: (key: string) => string | undefined;
  /** At which level the fields of documents stand, whose keys are checked; unless it is set, any key goes. */
  readonly level?: number;
}

/** How documents are written. */
export const DOCUMENT: EncodeOptions = { undefined: 'omit', code: 'validation' };

/** What the system knows of a document, which nobody else may set. */
const SYSTEM_FIELDS = ['_rev', '_updatedAt', '_deleted'];

/**
 * Writes a value.
 *
 * @throws PocketError `validation` (or the code of the options) with the path of what cannot be written: `undefined` in an
 * array, functions, symbols, instances of classes, NaN and infinities, invalid dates, integers beyond 64 bits, text with
 * half of a surrogate pair, cycles, more than 100 levels.
 */
export function encode(value: unknown, options: EncodeOptions = DOCUMENT): Uint8Array {
  const encoder = new Encoder(options);
  encoder.value(value);
  return encoder.bytes();
}

const utf8 = new TextEncoder();
const BROKEN_TEXT = /\p{Surrogate}/u;

/** Whether a text has half of a surrogate pair: outside of JavaScript there is no such text, and another would be taken for it. */
export function isBrokenText(text: string): boolean {
  return BROKEN_TEXT.test(text);
}

/** Whether these are bytes; also those of another window. */
export function isBytes(value: object): value is Uint8Array {
  return value instanceof Uint8Array || Object.prototype.toString.call(value) === '[object Uint8Array]';
}

/** Whether this is a date; also one of another window. */
export function isDate(value: object): value is Date {
  return value instanceof Date || Object.prototype.toString.call(value) === '[object Date]';
}

/** Whether this is `{…}`: an object of no class, also one of another window. */
export function isPlainObject(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, 'hasOwnProperty'));
}

class Encoder {
  readonly #options: EncodeOptions;
  #buffer = new Uint8Array(256);
  #view = new DataView(this.#buffer.buffer);
  #at = 0;
  /** The keys and places that lead to the value being written. */
  readonly #path: (string | number)[] = [];
  /** The arrays and maps around the value being written. */
  readonly #around: object[] = [];

  constructor(options: EncodeOptions) {
    this.#options = options;
  }

  /** What was written. */
  bytes(): Uint8Array {
    return this.#buffer.slice(0, this.#at);
  }

  /** Writes any value. */
  value(value: unknown): void {
    switch (typeof value) {
      case 'string':
        return this.#string(value);
      case 'number':
        return this.#number(value);
      case 'boolean':
        return this.#byte(value ? 0xc3 : 0xc2);
      case 'bigint':
        return this.#bigint(value);
      case 'object':
        return value === null ? this.#byte(0xc0) : this.#object(value);
      default:
        throw this.#refused(`${value === undefined ? '`undefined`' : `a ${typeof value}`} is no value`);
    }
  }

  #object(value: object): void {
    if (Array.isArray(value)) return this.#inside(value, () => this.#array(value));
    if (isDate(value)) return this.#date(value);
    if (isBytes(value)) return this.#binary(value);
    if (isPlainObject(value)) return this.#inside(value, () => this.#map(value));
    const name = (value as { constructor?: { name?: unknown } }).constructor?.name;
    const known = typeof name === 'string' && name !== '' ? name : 'a class';
    throw this.#refused(`an instance of ${known} is no value; documents hold plain objects, arrays, Date and Uint8Array`);
  }

  #inside(value: object, write: () => void): void {
    if (this.#around.includes(value)) throw this.#refused('the value contains itself');
    if (this.#around.length >= MAX_DEPTH) throw this.#refused(`there are more than ${MAX_DEPTH} levels`);
    this.#around.push(value);
    write();
    this.#around.pop();
  }

  #array(values: readonly unknown[]): void {
    this.#head(values.length, 0x90, 15, undefined, 0xdc);
    // By place, so that a hole is met as `undefined` and refused.
    for (let at = 0; at < values.length; at += 1) {
      this.#path.push(at);
      this.value(values[at]);
      this.#path.pop();
    }
  }

  #map(map: Record<string, unknown>): void {
    let keys = Object.keys(map);
    if (this.#options.undefined === 'omit') keys = keys.filter((key) => map[key] !== undefined);
    this.#head(keys.length, 0x80, 15, undefined, 0xde);
    const isChecked = this.#options.level !== undefined || this.#options.refused !== undefined;
    for (const key of keys) {
      this.#path.push(key);
      if (isChecked) this.#key(key);
      this.#string(key);
      this.value(map[key]);
      this.#path.pop();
    }
  }

  /** What the engine would refuse as well, though it could not say where it stands. */
  #key(key: string): void {
    const { level, refused } = this.#options;
    const wrong = refused?.(key);
    if (wrong !== undefined) throw this.#refused(wrong);
    if (level === undefined) return;
    if (key.startsWith('$')) throw this.#refused('a key must not begin with `$`, as it does');
    if (key.includes('\0')) throw this.#refused('a key must not have a NUL in it, as it does');
    if (this.#path.length === level && SYSTEM_FIELDS.includes(key)) throw this.#refused('only the system sets the field');
  }

  #number(value: number): void {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) return this.#integer(value);
    if (!Number.isFinite(value)) throw this.#refused(`${value} is no value`);
    this.#reserve(9);
    this.#buffer[this.#at] = 0xcb;
    this.#view.setFloat64(this.#at + 1, value);
    this.#at += 9;
  }

  #integer(value: number): void {
    this.#reserve(9);
    const { view, at } = { view: this.#view, at: this.#at };
    if (value >= 0) {
      if (value < 0x80) this.#fixed(value);
      else if (value <= 0xff) (view.setUint16(at, 0xcc00 | value), (this.#at += 2));
      else if (value <= 0xffff) (view.setUint8(at, 0xcd), view.setUint16(at + 1, value), (this.#at += 3));
      else if (value <= 0xffff_ffff) (view.setUint8(at, 0xce), view.setUint32(at + 1, value), (this.#at += 5));
      else (view.setUint8(at, 0xcf), view.setBigUint64(at + 1, BigInt(value)), (this.#at += 9));
    } else if (value >= -0x20) this.#fixed(value);
    else if (value >= -0x80) (view.setUint8(at, 0xd0), view.setInt8(at + 1, value), (this.#at += 2));
    else if (value >= -0x8000) (view.setUint8(at, 0xd1), view.setInt16(at + 1, value), (this.#at += 3));
    else if (value >= -0x8000_0000) (view.setUint8(at, 0xd2), view.setInt32(at + 1, value), (this.#at += 5));
    else (view.setUint8(at, 0xd3), view.setBigInt64(at + 1, BigInt(value)), (this.#at += 9));
  }

  #fixed(value: number): void {
    this.#view.setInt8(this.#at, value);
    this.#at += 1;
  }

  #bigint(value: bigint): void {
    if (value < MIN_I64 || value > MAX_U64) throw this.#refused(`${value} is beyond 64 bits`);
    const small = Number(value);
    if (Number.isSafeInteger(small)) return this.#integer(small);
    this.#reserve(9);
    if (value < 0n) (this.#view.setUint8(this.#at, 0xd3), this.#view.setBigInt64(this.#at + 1, value));
    else (this.#view.setUint8(this.#at, 0xcf), this.#view.setBigUint64(this.#at + 1, value));
    this.#at += 9;
  }

  #date(date: Date): void {
    const millis = date.getTime();
    if (Number.isNaN(millis)) throw this.#refused('the date is invalid');
    const seconds = Math.floor(millis / 1000);
    const nanos = (millis - seconds * 1000) * NANOS_PER_MILLI;
    this.#reserve(15);
    const { view, at } = { view: this.#view, at: this.#at };
    if (seconds < 0 || seconds >= 2 ** 34) {
      (view.setUint8(at, 0xc7), view.setUint8(at + 1, 12), view.setInt8(at + 2, -1));
      (view.setUint32(at + 3, nanos), view.setBigInt64(at + 7, BigInt(seconds)));
      this.#at += 15;
    } else if (nanos === 0 && seconds <= 0xffff_ffff) {
      (view.setUint8(at, 0xd6), view.setInt8(at + 1, -1), view.setUint32(at + 2, seconds));
      this.#at += 6;
    } else {
      (view.setUint8(at, 0xd7), view.setInt8(at + 1, -1));
      view.setBigUint64(at + 2, (BigInt(nanos) << 34n) | BigInt(seconds));
      this.#at += 10;
    }
  }

  #binary(bytes: Uint8Array): void {
    this.#head(bytes.length, 0, -1, 0xc4, 0xc5);
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #string(text: string): void {
    // Short text is nearly always ASCII, and a loop is faster for it than a call of the encoder.
    if (text.length < 32) {
      this.#reserve(1 + text.length);
      let at = this.#at + 1;
      let place = 0;
      for (; place < text.length; place += 1) {
        const unit = text.charCodeAt(place);
        if (unit >= 0x80) break;
        this.#buffer[at] = unit;
        at += 1;
      }
      if (place === text.length) {
        this.#buffer[this.#at] = 0xa0 | text.length;
        this.#at = at;
        return;
      }
    }
    if (isBrokenText(text)) throw this.#refused('the text has half of a surrogate pair');
    const bytes = utf8.encode(text);
    this.#head(bytes.length, 0xa0, 31, 0xd9, 0xda);
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Writes a length: within the first byte up to `most`, else with one byte (if there is such a form), two or four. */
  #head(length: number, fixed: number, most: number, one: number | undefined, two: number): void {
    this.#reserve(5);
    if (length <= most) return this.#byte(fixed | length);
    if (one !== undefined && length <= 0xff) {
      this.#view.setUint8(this.#at, one);
      this.#view.setUint8(this.#at + 1, length);
      this.#at += 2;
    } else if (length <= 0xffff) {
      this.#view.setUint8(this.#at, two);
      this.#view.setUint16(this.#at + 1, length);
      this.#at += 3;
    } else {
      this.#view.setUint8(this.#at, two + 1);
      this.#view.setUint32(this.#at + 1, length);
      this.#at += 5;
    }
  }

  #byte(byte: number): void {
    this.#reserve(1);
    this.#buffer[this.#at] = byte;
    this.#at += 1;
  }

  #reserve(bytes: number): void {
    const needed = this.#at + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
    grown.set(this.#buffer.subarray(0, this.#at));
    this.#buffer = grown;
    this.#view = new DataView(grown.buffer);
  }

  #refused(why: string): PocketError {
    const path = [...(this.#options.within === undefined ? [] : [this.#options.within]), ...this.#path].join('.');
    const where = path === '' ? '' : ` at \`${path}\``;
    return new PocketError(this.#options.code, `${why}${where}`, { path });
  }
}
