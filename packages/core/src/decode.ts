// MessagePack as values, by the rules of `docs/values.md`. What comes here was checked when it was stored; it is read
// strictly all the same, since a defect should be met where it is.

import { PocketError } from './error.js';

const NANOS_PER_MILLI = 1_000_000;

/** A document as a reader gets it: its id first, then its fields in the order written. */
export interface Row {
  readonly id: string;
  readonly rev: string;
  /** When it was last written, in milliseconds since 1970. */
  readonly updatedAt: number;
  readonly data: Record<string, unknown>;
}

/**
 * Reads one value.
 *
 * @throws PocketError `validation` when the bytes are not one value by the rules of `docs/values.md`.
 */
export function decode(bytes: Uint8Array): unknown {
  const decoder = new Decoder(bytes);
  const value = decoder.value();
  decoder.end();
  return value;
}

/** Reads a row, or nothing for a hole. */
export function decodeRow(bytes: Uint8Array): Row | null {
  const decoder = new Decoder(bytes);
  const row = decoder.row();
  decoder.end();
  return row;
}

/** Reads rows, with nothing for each hole. */
export function decodeRows(bytes: Uint8Array): (Row | null)[] {
  const decoder = new Decoder(bytes);
  const rows = decoder.rows();
  decoder.end();
  return rows;
}

/** Reads the values of a map whose own shape is known, without making objects of what is in it by itself. */
export function decodeMap(bytes: Uint8Array, read: (key: string, decoder: Decoder) => void): void {
  const decoder = new Decoder(bytes);
  const length = decoder.mapHead();
  for (let at = 0; at < length; at += 1) read(decoder.text(), decoder);
  decoder.end();
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads values one after another. */
export class Decoder {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Makes sure that nothing is left. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw this.#damaged('there is more behind the end');
  }

  /** Any value. */
  value(): unknown {
    const marker = this.#byte();
    if (marker < 0x80) return marker;
    if (marker < 0x90) return this.#map(marker & 0x0f, {});
    if (marker < 0xa0) return this.#array(marker & 0x0f);
    if (marker < 0xc0) return this.#text(marker & 0x1f);
    if (marker >= 0xe0) return marker - 0x100;
    switch (marker) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#take(this.#length(marker - 0xc4)).slice();
      case 0xc7:
      case 0xc8:
      case 0xc9:
        return this.#extension(this.#length(marker - 0xc7));
      case 0xca:
        return this.#finite(this.#view.getFloat32(this.#step(4)));
      case 0xcb:
        return this.#finite(this.#view.getFloat64(this.#step(8)));
      case 0xcc:
        return this.#byte();
      case 0xcd:
        return this.#view.getUint16(this.#step(2));
      case 0xce:
        return this.#view.getUint32(this.#step(4));
      case 0xcf:
        return integer(this.#view.getBigUint64(this.#step(8)));
      case 0xd0:
        return this.#view.getInt8(this.#step(1));
      case 0xd1:
        return this.#view.getInt16(this.#step(2));
      case 0xd2:
        return this.#view.getInt32(this.#step(4));
      case 0xd3:
        return integer(this.#view.getBigInt64(this.#step(8)));
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#extension(1 << (marker - 0xd4));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#length(marker - 0xd9));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#length(marker - 0xdb));
      case 0xde:
      case 0xdf:
        return this.#map(this.#length(marker - 0xdd), {});
      default:
        throw this.#damaged(`there is no marker ${marker.toString(16)}`);
    }
  }

  /** Text, like a key. */
  text(): string {
    const value = this.value();
    if (typeof value !== 'string') throw this.#damaged('a key is no text');
    return value;
  }

  /** How many entries the map has that begins here. */
  mapHead(): number {
    const marker = this.#byte();
    if ((marker & 0xf0) === 0x80) return marker & 0x0f;
    if (marker === 0xde || marker === 0xdf) return this.#length(marker - 0xdd);
    throw this.#damaged('there should be a map');
  }

  /** How many elements the array has that begins here. */
  arrayHead(): number {
    const marker = this.#byte();
    if ((marker & 0xf0) === 0x90) return marker & 0x0f;
    if (marker === 0xdc || marker === 0xdd) return this.#length(marker - 0xdb);
    throw this.#damaged('there should be an array');
  }

  /** Rows, with nothing for each hole. */
  rows(): (Row | null)[] {
    const rows: (Row | null)[] = [];
    const length = this.arrayHead();
    for (let at = 0; at < length; at += 1) rows.push(this.row());
    return rows;
  }

  /** A row `[id, rev, updatedAt, body]`, or nothing. */
  row(): Row | null {
    if (this.#bytes[this.#at] === 0xc0) {
      this.#at += 1;
      return null;
    }
    if (this.arrayHead() !== 4) throw this.#damaged('a row has four parts');
    const id = this.text();
    const rev = this.text();
    const updatedAt = Number(this.value());
    // The id stands first in what the application sees, wherever it lay.
    const data = this.#map(this.mapHead(), { _id: id });
    data['_id'] = id;
    return { id, rev, updatedAt, data };
  }

  #map(length: number, map: Record<string, unknown>): Record<string, unknown> {
    for (let at = 0; at < length; at += 1) {
      const key = this.text();
      if (Object.hasOwn(map, key) && key !== '_id') throw this.#damaged(`the key \`${key}\` is there twice`);
      const value = this.value();
      // A plain assignment would set the prototype.
      if (key === '__proto__') Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
      else map[key] = value;
    }
    return map;
  }

  #array(length: number): unknown[] {
    const values: unknown[] = [];
    for (let at = 0; at < length; at += 1) values.push(this.value());
    return values;
  }

  #text(length: number): string {
    // Short text is nearly always ASCII, and a loop is faster for it than a call of the decoder.
    if (length < 24 && this.#at + length <= this.#bytes.length) {
      let text = '';
      let place = this.#at;
      const end = place + length;
      for (; place < end; place += 1) {
        const byte = this.#bytes[place] as number;
        if (byte >= 0x80) break;
        text += String.fromCharCode(byte);
      }
      if (place === end) {
        this.#at = end;
        return text;
      }
    }
    const bytes = this.#take(length);
    try {
      return utf8.decode(bytes);
    } catch {
      throw this.#damaged('text is not UTF-8');
    }
  }

  #extension(length: number): Date {
    const kind = this.#view.getInt8(this.#step(1));
    const at = this.#step(length);
    if (kind !== -1) throw this.#damaged(`there is no extension ${kind}`);
    if (length === 4) return new Date(this.#view.getUint32(at) * 1000);
    if (length === 8) {
      const packed = this.#view.getBigUint64(at);
      return moment(packed & 0x3_ffff_ffffn, Number(packed >> 34n));
    }
    if (length === 12) return moment(this.#view.getBigInt64(at + 4), this.#view.getUint32(at));
    throw this.#damaged('a timestamp has 4, 8 or 12 bytes');
  }

  #finite(value: number): number {
    if (!Number.isFinite(value)) throw this.#damaged(`${value} is no value`);
    return value;
  }

  /** A length of 1, 2 or 4 bytes, for the forms 0, 1 and 2. */
  #length(form: number): number {
    if (form === 0) return this.#byte();
    return form === 1 ? this.#view.getUint16(this.#step(2)) : this.#view.getUint32(this.#step(4));
  }

  #take(length: number): Uint8Array {
    const at = this.#step(length);
    return this.#bytes.subarray(at, at + length);
  }

  #byte(): number {
    return this.#bytes[this.#step(1)] as number;
  }

  /** Goes on by so many bytes, and says where they began. */
  #step(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#bytes.length - at) throw this.#damaged('the bytes end early');
    this.#at = at + bytes;
    return at;
  }

  #damaged(why: string): PocketError {
    return new PocketError('validation', `these bytes are no value: ${why}, at byte ${this.#at}`);
  }
}

/** A whole number: a `number` where that is exact, else a `bigint`. */
function integer(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** A moment. Beyond what `Date` can hold (the year 275,760) it is an invalid date, which cannot be written back. */
function moment(seconds: bigint, nanos: number): Date {
  const millis = seconds * 1000n + BigInt(Math.floor(nanos / NANOS_PER_MILLI));
  if (nanos % NANOS_PER_MILLI !== 0 || nanos >= 1_000_000_000 || BigInt.asIntN(64, millis) !== millis) {
    throw new PocketError('validation', 'a timestamp is a whole number of milliseconds in 64 bits');
  }
  return new Date(Number(millis));
}
