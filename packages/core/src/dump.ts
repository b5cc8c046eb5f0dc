// A database as text, in the format of `docs/dump-format.md`. A function of its own, so that only those load it who use it.

import type { Database } from './database.js';
import { isBytes, isDate } from './encode.js';
import { sumOf } from './sum.js';
import type { CollectionConfig, IndexInfo } from './types.js';

const FORMAT = 1;

/**
 * All collections and documents of a database as lines of JSON, in [the format of dumps](https://github.com/pocket-db/pocket/blob/main/docs/dump-format.md):
 * `load`, `pocket load`, and `Database::load` in Rust, read it, this version and every later one. For a button "download my data":
 *
 * ```ts
 * const file = new Blob([await dump(db)], { type: 'application/jsonl' });
 * link.href = URL.createObjectURL(file);
 * ```
 *
 * What makes this device this device is not in it: what waits to be sent, the journal, revisions. Each collection is read in one
 * state of the database, but what is written meanwhile may be in the later ones. A float without a fraction that a native
 * program wrote is an integer in it, as it is everywhere in JavaScript. All of it is held in memory.
 *
 * Rejects with `closed`, what the storage says, and `config` where there is no Web Crypto, as on pages without `https:`.
 */
export async function dump(database: Database<any>): Promise<string> {
  const text: string[] = [line({ 'pocket-dump': FORMAT, database: database.name, schema_version: database.schemaVersion, one_state: false })];
  const configs = [...database.listCollections()].sort((one, other) => (one.name < other.name ? -1 : 1));
  let documents = 0;
  for (const config of configs) {
    text.push(collectionLine(config));
    const collection = (database as Database).collection(config.name);
    for (const { _id, ...fields } of await collection.getAll()) {
      // The id comes first, also before keys that are numbers, which JavaScript puts before all others.
      const rest = json(fields).slice(1);
      text.push(`{"document":{"_id":${json(_id)}${rest === '}' ? '' : ','}${rest}}\n`);
      documents += 1;
    }
    const indexes = collection.indexes().sort((one, other) => (one.name < other.name ? -1 : 1));
    text.push(...indexes.map(indexLine));
  }
  const before = text.join('');
  return before + line({ end: true, collections: configs.length, documents, sha256: await sumOf(before) });
}

function line(object: object): string {
  return `${JSON.stringify(object)}\n`;
}

function collectionLine({ name, sync = false, conflictStrategy, ttl }: CollectionConfig): string {
  const time = ttl === undefined ? {} : { ttl: { field: ttl.field ?? null, after_ms: ttl.afterMs } };
  return line({ collection: name, sync, conflict_strategy: conflictStrategy ?? null, ...time });
}

function indexLine({ name, fields, unique = false, sparse = false, filter }: IndexInfo): string {
  const sorted = fields.map((field) => (typeof field === 'string' ? [field, 1] : [field.field, field.order === 'desc' ? -1 : 1]));
  return line({ index: name, fields: sorted, unique, sparse, only: filter === undefined ? null : JSON.stringify(filter) });
}

/** A value as `docs/values.md` writes it in JSON. */
function json(value: unknown): string {
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return number(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (isDate(value)) return `{"$date":${moment(value)}}`;
  if (isBytes(value)) return `{"$binary":"${btoa(Array.from(value, (byte) => String.fromCharCode(byte)).join(''))}"}`;
  if (Array.isArray(value)) return `[${value.map(json).join(',')}]`;
  return `{${Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}:${json(inner)}`).join(',')}}`;
}

/** What is stored as a float has a fraction or an exponent. */
function number(value: number): string {
  if (Object.is(value, -0)) return '-0.0';
  const text = String(value);
  return Number.isSafeInteger(value) || /[.e]/.test(text) ? text : `${text}.0`;
}

/** RFC 3339 knows the years from 0 to 9999. */
function moment(date: Date): string {
  const year = date.getUTCFullYear();
  return year >= 0 && year <= 9999 ? `"${date.toISOString()}"` : String(date.getTime());
}
