// Loading a dump, in the format of `docs/dump-format.md`. A function of its own, so that only those load it who use it.

import { encodeDocument, kindOf, optionObject } from './check.js';
import type { Collection } from './collection.js';
import type { Database } from './database.js';
import { internals } from './database.js';
import { decode } from './decode.js';
import { PocketError, isPocketError, toPocketError } from './error.js';
import type { MigrationConfig } from './settings.js';
import type { Shapes } from './shape.js';
import { checkShape } from './shape.js';
import { sumOf } from './sum.js';
import type { AnyDocument, CollectionConfig, Filter, IndexConfig, Stored } from './types.js';

const FORMAT = 1;

/** Documents of one commit. */
const BATCH = 500;

/** How a dump is loaded. */
export interface LoadOptions {
  /**
   * What happens to a document whose id is taken. `fail`, unless set: the loading ends with `document-exists`; `skip`: the stored
   * one stays; `replace`: that of the dump takes its place, unless both are equal.
   */
  readonly existing?: 'fail' | 'skip' | 'replace' | undefined;
}

const OPTIONS: Shapes<LoadOptions> = { existing: ['fail', 'skip', 'replace'] };

/** What was loaded. */
export interface Loaded {
  /** Documents that were stored. */
  readonly stored: number;
  /** Documents whose id was taken and that were skipped, or that were there already. */
  readonly skipped: number;
  /** Documents that a migration of this program deleted on the way. */
  readonly migratedAway: number;
  /** Collections that were made. */
  readonly collectionsMade: number;
  /** Indexes that were made. */
  readonly indexesMade: number;
  /** Lines of a later version that mean nothing here. */
  readonly unknownLines: number;
}

type Line = Record<string, any>;
type Document = Stored<AnyDocument>;

/**
 * Loads [a dump](https://github.com/pocket-db/pocket/blob/main/docs/dump-format.md) of this or any earlier version, which `dump`,
 * `pocket dump` or `Database::dump` made: for a button "bring back my data".
 *
 * ```ts
 * await load(db, await file.text(), { existing: 'skip' });
 * ```
 *
 * Nothing is stored if the dump is not whole. Collections and indexes that are missing are made, those that are there stay as
 * they are. Documents are written as others are, 500 in a commit: schemas and unique indexes are asked, and those of collections
 * that sync are sent. Documents of an older schema version go through the migrations of the program.
 *
 * Rejects with `corrupt` (it is no dump, or was cut or changed), `newer-format`, `migration`, and what writes reject with:
 * `document-exists`, `validation`, `document-too-large`, `index-unique-violation`. The message of these names the line, and what
 * was stored before stays.
 */
export async function load(database: Database<any>, text: string, options: LoadOptions = {}): Promise<Loaded> {
  const { migrations } = internals(database);
  if (typeof text !== 'string') throw new PocketError('config', `\`load\` takes the text of a dump, not ${kindOf(text)}; of a file, \`await file.text()\``);
  optionObject(options, 'what `load` takes');
  checkShape('`load`', options, OPTIONS);
  const lines = await whole(text);
  const version: unknown = lines[0]?.['schema_version'];
  const steps = stepsFrom(Number(version), database.schemaVersion, migrations);
  const loading = new Loading(database, options.existing ?? 'fail', steps);
  for (const [at, line] of lines.entries()) if (at > 0) await loading.take(line, at + 1);
  return loading.loaded;
}

/** The lines of a dump that is whole. */
async function whole(text: string): Promise<Line[]> {
  const texts = text.split('\n').map((line) => line.replace(/\r$/, ''));
  if (texts.at(-1) === '') texts.pop();
  const lines = texts.map((line, at) => {
    const read = lineOf(line);
    if (read !== undefined) return read;
    throw at === 0 ? damaged('this is no dump of Pocket') : damaged(`line ${at + 1} is no line of a dump`);
  });
  const format: unknown = lines[0]?.['pocket-dump'];
  if (typeof format !== 'number') throw damaged('this is no dump of Pocket');
  if (format > FORMAT) throw new PocketError('newer-format', `the dump has format ${format}, this program knows ${FORMAT}; use a newer program`);
  const end = lines.at(-1);
  if (end?.['end'] === undefined) throw damaged(`the dump is cut behind line ${lines.length}: its last line is missing`);
  const sum = await sumOf(`${texts.slice(0, -1).join('\n')}\n`);
  if (end['sha256'] !== sum) throw damaged('the lines are not those that were written: some are missing, or were changed');
  return lines;
}

function damaged(message: string): PocketError {
  return new PocketError('corrupt', message);
}

function lineOf(text: string): Line | undefined {
  try {
    const line = read(text);
    return typeof line === 'object' && line !== null && !Array.isArray(line) ? line : undefined;
  } catch {
    return undefined;
  }
}

/** Where a text begins or ends, what stands in one behind a backslash, and a number. */
const TOKEN = /"|\\.|-?\d[\d.eE+-]*/g;

/** JSON as `docs/values.md` has it. `JSON.parse` alone would round integers beyond 2^53. */
function read(json: string): unknown {
  // Not a pattern for whole texts: that takes memory for each letter, and of long ones more than there is.
  let isText = false;
  const marked = json.replace(TOKEN, (token) => {
    if (token === '"') isText = !isText;
    const rounds = !isText && /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token));
    return rounds ? `{"$integer":"${token}"}` : token;
  });
  return valueOf(JSON.parse(marked));
}

function valueOf(json: unknown): unknown {
  if (typeof json !== 'object' || json === null) return json;
  if (Array.isArray(json)) return json.map(valueOf);
  const entries = Object.entries(json);
  const [key, inner] = entries.length === 1 ? (entries[0] as [string, unknown]) : ['', undefined];
  if (key === '$integer') return BigInt(inner as string);
  // A date that is none is refused with the document, which says where it stands.
  if (key === '$date' && (typeof inner === 'string' || typeof inner === 'number')) return new Date(inner);
  if (key === '$binary' && typeof inner === 'string') return Uint8Array.from(atob(inner), (letter) => letter.charCodeAt(0));
  return Object.fromEntries(entries.map(([name, value]) => [name, valueOf(value)]));
}

/** The migrations that lead from the schema version of a dump to that of the database. */
function stepsFrom(from: number, to: number, migrations: readonly MigrationConfig[]): MigrationConfig[] {
  if (!Number.isInteger(from) || from < 1) throw damaged('line 1 lacks a schema version from 1 on');
  if (from > to) throw new PocketError('newer-format', `the documents have schema version ${from}, this program knows ${to}; use a newer program`);
  for (let version = from + 1; version <= to; version += 1) {
    if (migrations.some((step) => step.version === version)) continue;
    throw new PocketError('migration', `the documents have schema version ${from}, the database ${to}; the migration to ${version} is missing`);
  }
  return migrations.filter(({ version }) => version > from).sort((one, other) => one.version - other.version);
}

/** A dump on its way into a database. */
class Loading {
  readonly #database: Database;
  readonly #existing: 'fail' | 'skip' | 'replace';
  readonly #steps: readonly MigrationConfig[];
  #collection: Collection | undefined;
  #batch: Document[] = [];
  #loaded = { stored: 0, skipped: 0, migratedAway: 0, collectionsMade: 0, indexesMade: 0, unknownLines: 0 };

  constructor(database: Database, existing: 'fail' | 'skip' | 'replace', steps: readonly MigrationConfig[]) {
    this.#database = database;
    this.#existing = existing;
    this.#steps = steps;
  }

  get loaded(): Loaded {
    return this.#loaded;
  }

  /** Takes the line of this number. */
  async take(line: Line, number: number): Promise<void> {
    let where = `line ${number}`;
    const store = async (end: number): Promise<void> => {
      where = `before line ${end}`;
      await this.#store();
      where = `line ${number}`;
    };
    try {
      if (line['document'] !== undefined) {
        this.#document(line['document']);
        if (this.#batch.length >= BATCH) await store(number + 1);
        return;
      }
      await store(number);
      if (typeof line['collection'] === 'string') await this.#begin(line['collection'], line);
      else if (line['index'] !== undefined) await this.#index(line);
      else if (line['end'] === undefined) this.#loaded.unknownLines += 1;
    } catch (error) {
      const { code, message, path, details } = toPocketError(error);
      if (code === 'closed') throw error;
      throw new PocketError(code, `${where} of the dump: ${message}; what was stored before stays`, { path, details, cause: error });
    }
  }

  async #begin(name: string, line: Line): Promise<void> {
    if (!this.#database.hasCollection(name)) {
      const { sync = false, conflict_strategy: strategy, ttl } = line;
      await this.#database.createCollection({
        name,
        sync,
        ...(typeof strategy === 'string' && { conflictStrategy: strategy as NonNullable<CollectionConfig['conflictStrategy']> }),
        ...(typeof ttl === 'object' && ttl !== null && { ttl: { field: ttl.field ?? undefined, afterMs: ttl.after_ms } }),
      });
      this.#loaded.collectionsMade += 1;
    }
    this.#collection = this.#database.collection(name);
  }

  #document(given: unknown): void {
    const { _id, ...fields } = typeof given === 'object' && given !== null ? (given as AnyDocument) : {};
    if (this.#collection === undefined || typeof _id !== 'string') throw damaged('this is no document of a collection');
    const document = this.#migrated(this.#collection.name, { _id, ...fields });
    if (document === null) this.#loaded.migratedAway += 1;
    else this.#batch.push(document);
  }

  /** A document as the migrations of its collection leave it. */
  #migrated(name: string, document: Document): Document | null {
    const { _id } = document;
    let migrated = document;
    for (const { version, collection, migrate } of this.#steps) {
      if (collection !== name) continue;
      try {
        // As `Database.create` asks: what is done to its argument is nothing, and what is no document is refused.
        const answer = migrate({ ...(decode(encodeDocument(migrated)) as object), _id });
        if (answer === null) return null;
        if (answer !== undefined) migrated = { ...(decode(encodeDocument(answer)) as object), _id };
      } catch (error) {
        throw new PocketError('migration', `the migration to ${version} fails at \`${_id}\`: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
    return migrated;
  }

  /** Stores the documents that wait. */
  async #store(): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    if (this.#collection !== undefined && batch.length > 0) await this.#write(this.#collection, batch);
  }

  async #write(collection: Collection, batch: readonly Document[]): Promise<void> {
    try {
      const stored = await this.#commit(collection, batch);
      this.#loaded.stored += stored;
      this.#loaded.skipped += batch.length - stored;
    } catch (error) {
      if (!isPocketError(error, 'transaction-too-large') || batch.length === 1) throw error;
      const half = Math.ceil(batch.length / 2);
      await this.#write(collection, batch.slice(0, half));
      await this.#write(collection, batch.slice(half));
    }
  }

  /** Stores documents in one commit; says how many were. */
  async #commit(collection: Collection, batch: readonly Document[]): Promise<number> {
    return this.#database.transaction(async (transaction) => {
      const inside = transaction.collection(collection.name);
      let stored = 0;
      for (const document of batch) {
        const there = this.#existing === 'fail' ? null : await inside.get(document._id);
        if (there !== null && (this.#existing === 'skip' || isSame(there, document))) continue;
        if (this.#existing === 'fail') inside.insert(document);
        else inside.upsert(document);
        stored += 1;
      }
      return stored;
    });
  }

  async #index(line: Line): Promise<void> {
    const { index: name, fields, unique, sparse, only } = line;
    if (this.#collection === undefined) throw damaged('an index comes before the first collection');
    if (this.#collection.indexes().some((there) => there.name === name)) return;
    const config: IndexConfig = {
      name,
      fields: Array.isArray(fields) ? fields.map(([field, order]) => ({ field, order: order === -1 ? 'desc' : 'asc' })) : fields,
      unique,
      sparse,
      ...(typeof only === 'string' && { filter: read(only) as Filter<AnyDocument> }),
    };
    await this.#collection.createIndex(config);
    this.#loaded.indexesMade += 1;
  }
}

/** Whether two documents are written alike. */
function isSame(one: object, other: object): boolean {
  const [bytes, others] = [encodeDocument(one), encodeDocument(other)];
  return bytes.length === others.length && bytes.every((byte, at) => byte === others[at]);
}
