// The settings of databases, collections, indexes and migrations: what they must be, and what the WebAssembly is given.

import { optionArray, optionObject } from './check.js';
import { decode } from './decode.js';
import { encode, isBytes, isDate } from './encode.js';
import { PocketError } from './error.js';
import { filterOptions } from './filter.js';
import type { RawRule } from './schema.js';
import { rawRule } from './schema.js';
import type { Shapes } from './shape.js';
import { checkShape } from './shape.js';
import type { AnyDocument, CollectionConfig, IndexConfig, IndexField, Stored, TtlConfig } from './types.js';

/** How large documents and messages may be. */
export interface Limits {
  /** Bytes of one document; 1 MiB unless set, 16 MiB at the most. */
  readonly documentBytes?: number | undefined;
  /** Levels of arrays and maps in a document; 32 unless set, 100 at the most. */
  readonly documentDepth?: number | undefined;
  /** Values in a document; 65,536 unless set. */
  readonly documentNodes?: number | undefined;
  /** Bytes of one message of sync; 4 MiB unless set, 64 MiB at the most, and at least two documents. */
  readonly messageBytes?: number | undefined;
}

/** What becomes of the documents of a collection when the application's schema gets this version. */
export interface MigrationConfig {
  /** The version it leads to, from the one before; versions begin at 1, so the first migration is that to 2. */
  readonly version: number;
  /** The collection. */
  readonly collection: string;
  /**
   * The document in its new shape; null deletes it, `undefined` leaves it as it is.
   *
   * It must give the same answer whenever it gets the same document, and recognise one that has the new shape: it runs
   * once to see whether all can be migrated and again to do it, on every device. What it throws stops the migration.
   */
  migrate(document: Stored<AnyDocument>): object | null | undefined;
}

const LIMITS: Shapes<Limits> = { documentBytes: 'some', documentDepth: 'some', documentNodes: 'some', messageBytes: 'some' };
const COLLECTION: Shapes<CollectionConfig> = {
  name: 'text',
  sync: 'flag',
  conflictStrategy: ['last-write-wins', 'server-wins', 'client-wins', 'merge', 'custom'],
  schema: 'any',
  indexes: 'any',
  ttl: 'any',
};
const TTL: Shapes<TtlConfig> = { field: 'text', afterMs: 'whole' };
const INDEX: Shapes<IndexConfig> = { name: 'text', fields: 'any', unique: 'flag', sparse: 'flag', filter: 'any' };
const INDEX_FIELD: Shapes<IndexField> = { field: 'text', order: ['asc', 'desc'] };
const MIGRATION: Shapes<MigrationConfig> = { version: 'some', collection: 'text', migrate: 'any' };

/** Refuses limits that are none. */
export function checkLimits(limits: Limits): void {
  checkShape('`limits`', limits, LIMITS, 'limits.');
}

/** What the WebAssembly would refuse, too, without knowing where it stands. */
function checkName(name: string, path: string): void {
  if (/^[A-Za-z][A-Za-z0-9_-]{0,63}$/.test(name)) return;
  const message = `\`${name}\` is no collection name; use a letter, then up to 63 letters, digits, \`_\` or \`-\` (a leading \`_\` is reserved)`;
  throw new PocketError('bad-collection-name', message, { path });
}

function checkField(field: string, what: string, path: string): void {
  if (field.split('.').includes('')) throw new PocketError('config', `${what} has the path \`${field}\`: between dots, before the first and behind the last stands the name of a field`, { path });
}

/** Refuses versions that do not lead from one to the next, up to that of the schema. */
export function checkVersions(migrations: readonly MigrationConfig[], schemaVersion: number | undefined): void {
  if (migrations.length === 0) return;
  const versions = new Set(migrations.map(({ version }) => version));
  const [first, last] = [Math.min(...versions), Math.max(...versions)];
  for (const [at, { version }] of migrations.entries()) {
    const path = `migrations.${at}.version`;
    if (version < 2) throw new PocketError('config', `there is no migration to version ${version}; the first is to 2`, { path });
    if (version > first && !versions.has(version - 1)) throw new PocketError('config', `before the migration to version ${version} comes the one to ${version - 1}; each version has one`, { path });
  }
  if (schemaVersion === undefined || schemaVersion === last) return;
  const todo = schemaVersion < last ? 'raise it, or leave it out' : 'add the one that is missing (it may answer `undefined`), or leave the version out';
  throw new PocketError('config', `the schema version is ${schemaVersion}, but the last migration leads to ${last}; ${todo}`, { path: 'schemaVersion' });
}

/** A collection as JSON. `within` is where it stands in larger options. */
export function collectionJson(config: CollectionConfig<string, any>, within = ''): Record<string, unknown> {
  optionObject(config, 'a collection', within.slice(0, -1));
  if ((config.name as unknown) === undefined) throw new PocketError('config', 'the `name` of a collection is missing', { path: `${within}name` });
  const what = `the collection \`${config.name}\``;
  checkShape(what, config, COLLECTION, within);
  checkName(config.name, `${within}name`);
  const { indexes, ttl, schema: _, ...rest } = config;
  if (ttl !== undefined) {
    optionObject(ttl, `\`ttl\` of ${what}`, `${within}ttl`);
    checkShape(`\`ttl\` of ${what}`, ttl, TTL, `${within}ttl.`);
    if (ttl.field !== undefined) checkField(ttl.field, `\`ttl\` of ${what}`, `${within}ttl.field`);
    if (ttl.field === '_id') throw new PocketError('config', `\`ttl\` of ${what} cannot count from \`_id\`, which is text; name a field that holds a Date`, { path: `${within}ttl.field` });
    if ((ttl.afterMs as unknown) === undefined) throw new PocketError('config', `\`ttl.afterMs\` of ${what} is missing`, { path: `${within}ttl.afterMs` });
  }
  if (indexes !== undefined) optionArray(indexes, `\`indexes\` of ${what}`, `${within}indexes`);
  return { ...rest, ttl, indexes: indexes?.map((index, at) => indexJson(index, `${within}indexes.${at}.`)) };
}

/** The rules for the documents of collections, by their names, for the WebAssembly. `within` gives where each stands in the options. */
export function rawRules(configs: readonly CollectionConfig<string, any>[], within: (at: number) => string): Record<string, RawRule> | undefined {
  // Without a prototype, of which a collection may have a name.
  const rules = Object.create(null) as Record<string, RawRule>;
  for (const [at, { name, schema }] of configs.entries()) {
    if (schema !== undefined) rules[name] = rawRule(schema, `the collection \`${name}\``, `${within(at)}schema`);
  }
  return Object.keys(rules).length === 0 ? undefined : rules;
}

/** An index as JSON: dates and bytes of its filter as `docs/values.md` writes them. `within` is where it stands in larger options. */
export function indexJson(config: IndexConfig<any>, within = ''): Record<string, unknown> {
  optionObject(config, 'an index', within.slice(0, -1));
  const what = `the index${typeof config.name === 'string' ? ` \`${config.name}\`` : ''}`;
  checkShape(what, config, INDEX, within);
  const path = `${within}fields`;
  if (!Array.isArray(config.fields)) throw new PocketError('config', `\`fields\` of ${what} is an array of dotted paths`, { path });
  if (config.fields.length === 0) throw new PocketError('config', `\`fields\` of ${what} names no field`, { path });
  const names = new Set<string>();
  for (const [at, field] of (config.fields as readonly unknown[]).entries()) {
    const place = typeof field === 'string' ? `${path}.${at}` : `${path}.${at}.field`;
    if (typeof field !== 'string') {
      optionObject(field, `a field of ${what}, if it is no dotted path,`, `${path}.${at}`);
      checkShape(`a field of ${what}`, field as IndexField, INDEX_FIELD, `${path}.${at}.`);
      if ((field as Partial<IndexField>).field === undefined) throw new PocketError('config', `a field of ${what} has no \`field\``, { path: place });
    }
    const name = typeof field === 'string' ? field : (field as IndexField).field;
    checkField(name, what, place);
    if (names.has(name)) throw new PocketError('config', `${what} names the field \`${name}\` twice`, { path: place });
    names.add(name);
  }
  if (config.name === '') throw new PocketError('config', 'the name of an index is empty; leave it out, and it is made of its fields', { path: `${within}name` });
  const { filter, ...rest } = config;
  if (filter === undefined) return rest;
  // Refuses what JSON would silently leave out or turn into null.
  encode(filter, { ...filterOptions('config'), within: `${within}filter` });
  return { ...rest, filter: jsonValue(filter, `${within}filter`) };
}

function jsonValue(value: unknown, path: string): unknown {
  if (typeof value === 'bigint') {
    if (Number.isSafeInteger(Number(value))) return Number(value);
    throw new PocketError('config', `the filter of an index cannot hold ${value}, which is beyond 2^53`, { path });
  }
  if (typeof value !== 'object' || value === null) return value;
  if (isDate(value)) return { $date: value.toISOString() };
  if (isBytes(value)) return { $binary: btoa(Array.from(value, (byte) => String.fromCharCode(byte)).join('')) };
  if (Array.isArray(value)) return value.map((inner, at) => jsonValue(inner, `${path}.${at}`));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, jsonValue(inner, `${path}.${key}`)]));
}

/** A migration as the WebAssembly takes it. `within` is where it stands in the options. */
export function rawMigration(config: MigrationConfig, within: string): object {
  optionObject(config, 'a migration', within.slice(0, -1));
  checkShape('a migration', config, MIGRATION, within);
  const { version, collection, migrate } = config;
  for (const name of ['version', 'collection'] as const) {
    if ((config[name] as unknown) === undefined) throw new PocketError('config', `\`${name}\` of a migration is missing`, { path: `${within}${name}` });
  }
  checkName(collection, `${within}collection`);
  if (typeof migrate !== 'function') throw new PocketError('config', '`migrate` of a migration is a function', { path: `${within}migrate` });
  return {
    version,
    collection,
    migrate: (bytes: Uint8Array, id: string): Uint8Array | null | undefined => {
      const answer = migrate({ _id: id, ...(decode(bytes) as object) });
      return answer === null || answer === undefined ? answer : encode(answer);
    },
  };
}
