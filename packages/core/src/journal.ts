import { kindOf } from './check.js';
import { decode, decodeRows } from './decode.js';
import { PocketError, settled } from './error.js';
import { documents } from './query.js';
import type { RawDatabase } from './raw.js';
import type { Shapes } from './shape.js';
import { checkShape } from './shape.js';
import type { AnyDocument, Stored } from './types.js';

/** Why an entry was made. `unique-violation`: sync brought the same values in a unique index as another document has. */
export type JournalKind = 'conflict' | 'refusal' | 'unique-violation';

/** What was done about an entry. */
export type JournalState = 'open' | 'restored' | 'dismissed';

/** Which version stands; `both` of a unique violation, which has no loser. */
export type JournalWinner = 'local' | 'remote' | 'merged' | 'both';

/** One version of a document in the journal. */
export interface JournalVersion<T = AnyDocument> {
  /** Which version, as opaque text. */
  readonly rev: string | null;
  /** Its place in the server's feed, where it has one. */
  readonly sequence: number | null;
  /** The document; null when it was deleted or erased. */
  readonly document: Stored<T> | null;
}

/** One document of an entry. */
export interface JournalDocument<T = AnyDocument> {
  /** Its collection. */
  readonly collection: string;
  /** Its id. */
  readonly documentId: string;
  /** What both versions were made of; null when there was nothing. */
  readonly base: JournalVersion<T> | null;
  /** What was written here. */
  readonly local: JournalVersion<T>;
  /** What the server has; null when it has nothing or did not tell. */
  readonly remote: JournalVersion<T> | null;
  /** The document was erased for good, and with it what stood here. */
  readonly erased: boolean;
}

/** One local change that met a conflict or was refused. */
export interface JournalEntry<T = AnyDocument> {
  /** Its number, rising. */
  readonly number: number;
  /** Why it was made. */
  readonly kind: JournalKind;
  /** When. */
  readonly time: Date;
  /** What was done about it. */
  readonly state: JournalState;
  /** Which version stands. */
  readonly winner: JournalWinner;
  /** The rule that decided: the name of a strategy, or `server`. */
  readonly rule: string;
  /** The code of a refusal, or of a rule of the application that failed. */
  readonly code: string | null;
  /** What the server said of a refusal, or the application of its decision. */
  readonly reason: string | null;
  /** The documents of the change: one, or those of a transaction. */
  readonly documents: readonly JournalDocument<T>[];
}

/** An entry in words. */
export interface JournalExplanation<T = AnyDocument> {
  /** The entry. */
  readonly entry: JournalEntry<T>;
  /** Who decided: a built-in rule, a rule of the application, or the server. */
  readonly decidedBy: 'strategy' | 'application' | 'server';
  /** What happened, in a sentence. */
  readonly happened: string;
  /** By which rule it was decided, in a sentence. */
  readonly rule: string;
  /** What stands now, in a sentence. */
  readonly outcome: string;
  /** What can be done, in a sentence. */
  readonly advice: string;
  /** For each document what base, local and remote version are. */
  readonly documents: readonly string[];
}

/** Which entries are meant; all unless something is set. */
export interface JournalListOptions {
  /** Only those behind this number. */
  readonly after?: number | undefined;
  /** At most so many; 100 unless set. */
  readonly limit?: number | undefined;
  /** Only those of this kind. */
  readonly kind?: JournalKind | undefined;
  /** Only those with a document of this collection. */
  readonly collection?: string | undefined;
  /** Only those in this state. */
  readonly state?: JournalState | undefined;
}

const LIST_OPTIONS: Shapes<JournalListOptions> = {
  after: 'whole',
  limit: 'count',
  kind: ['conflict', 'refusal', 'unique-violation'],
  collection: 'text',
  state: ['open', 'restored', 'dismissed'],
};

type Raw = Record<string, unknown>;

function version(id: string, raw: unknown): JournalVersion | null {
  if (raw === null || raw === undefined) return null;
  const { rev, seq, document } = raw as Raw;
  return {
    rev: (rev as string | undefined) ?? null,
    sequence: (seq as number | undefined) ?? null,
    document: document === null || document === undefined ? null : ({ _id: id, ...document } as Stored<AnyDocument>),
  };
}

function entry<T>(raw: Raw): JournalEntry<T> {
  const docs = (raw['documents'] as Raw[]).map((document) => {
    const documentId = String(document['documentId']);
    return {
      collection: String(document['collection']),
      documentId,
      base: version(documentId, document['base']),
      local: version(documentId, document['local']) ?? { rev: null, sequence: null, document: null },
      remote: version(documentId, document['remote']),
      erased: document['erased'] === true,
    };
  });
  return {
    number: Number(raw['number']),
    kind: raw['kind'] as JournalKind,
    time: new Date(Number(raw['time'])),
    state: raw['state'] as JournalState,
    winner: raw['winner'] as JournalWinner,
    rule: String(raw['rule']),
    code: (raw['code'] as string | undefined) ?? null,
    reason: (raw['reason'] as string | undefined) ?? null,
    documents: docs as unknown as JournalDocument<T>[],
  };
}

/** Reads an entry as the WebAssembly gives it. */
export function decodeEntry<T>(bytes: Uint8Array): JournalEntry<T> {
  return entry(decode(bytes) as Raw);
}

/** The number of an entry; the WebAssembly would take text for one, and words for none. */
function entryNumber(number: unknown): number {
  if (Number.isSafeInteger(number) && (number as number) >= 0) return number as number;
  throw new PocketError('validation', `the number of an entry of the journal is a whole number, not ${typeof number === 'number' ? number : kindOf(number)}`);
}

/**
 * What conflicts and refusals left: every local change that lost, or was refused by the server, with all versions. Open
 * entries are never dropped, so nothing is lost silently.
 */
export class Journal {
  readonly #raw: () => RawDatabase;

  /** @internal */
  constructor(raw: () => RawDatabase) {
    this.#raw = raw;
  }

  /** Entries, the oldest first. */
  async list<T = AnyDocument>(options: JournalListOptions = {}): Promise<JournalEntry<T>[]> {
    checkShape('`journal.list`', options, LIST_OPTIONS);
    const bytes = await settled(() => this.#raw().journalList(JSON.stringify({ ...options, limit: options.limit ?? 100 })));
    return (decode(bytes) as Raw[]).map((raw) => entry<T>(raw));
  }

  /** One entry. Rejects with `journal-entry-not-found`. */
  async get<T = AnyDocument>(number: number): Promise<JournalEntry<T>> {
    return decodeEntry(await settled(() => this.#raw().journalGet(entryNumber(number))));
  }

  /** One entry in words: what met what, who decided by which rule, and what can be done. */
  async explain<T = AnyDocument>(number: number): Promise<JournalExplanation<T>> {
    const raw = decode(await settled(() => this.#raw().journalExplain(entryNumber(number)))) as Raw;
    return { ...(raw as unknown as JournalExplanation<T>), entry: entry(raw['entry'] as Raw) };
  }

  /**
   * Writes the version that lost again, as an edit of this moment that syncs like any other, and answers the documents.
   *
   * Rejects with `journal-entry-closed`, `journal-entry-erased`, `journal-entry-without-loser`.
   */
  async restore<T = AnyDocument>(number: number): Promise<Stored<T>[]> {
    return documents(decodeRows(await settled(() => this.#raw().journalRestore(entryNumber(number)))));
  }

  /** Leaves it as it is: the entry is no longer open. Rejects with `journal-entry-closed`. */
  dismiss(number: number): Promise<void> {
    return settled(() => this.#raw().journalDismiss(entryNumber(number)));
  }
}
