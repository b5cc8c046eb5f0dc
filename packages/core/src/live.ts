import type { CollectionCore } from './collection-core.js';
import type { Row } from './decode.js';
import { decodeMap } from './decode.js';
import { ending } from './ending.js';
import { PocketError, calling, toPocketError } from './error.js';
import type { Observable, Subscription } from './observable.js';
import { Listeners, tell } from './observable.js';
import type { RawHandle, RawLive } from './raw.js';

/**
 * One edit of the list of results, to be made in the list as all edits before it left it. Places count from 0.
 *
 * `removed`: `list.splice(at, 1)`. `moved`: `list.splice(at, 1)`, then `list.splice(to, 0, document)`; its content may have
 * changed, too. `updated`: `list[at] = document`. `inserted`: `list.splice(at, 0, document)`.
 */
export type LiveChange<R> = LiveEdit<R> | LiveMove<R>;

/** A document that left the result, changed where it stands, or came into it. */
export interface LiveEdit<R> {
  /** What happened to it. */
  readonly kind: 'removed' | 'updated' | 'inserted';
  /** Where it stood, or stands. */
  readonly at: number;
  /** What it is now; of one that left, what it was when it was last shown. */
  readonly document: R;
}

/** A document that went to another place. */
export interface LiveMove<R> {
  /** What happened to it. */
  readonly kind: 'moved';
  /** Where it stood. */
  readonly at: number;
  /** Where it stands when it was taken out and put in again. */
  readonly to: number;
  /** What it is now. */
  readonly document: R;
}

/**
 * The result of a live query after a commit.
 *
 * Each state has an array of its own. A document that did not change is the same object as before, so that what was made
 * of it can be kept; treat documents and arrays as read-only.
 */
export interface LiveState<R> {
  /** The documents in the query's order. */
  readonly data: R[];
  /** What leads here from the state before. */
  readonly changes: readonly LiveChange<R>[];
  /**
   * Whether the changes lead here from the empty list, and not from the state before. So it is at first, and after an error
   * that made the query begin anew.
   */
  readonly isReset: boolean;
  /** The local commit after which the result is this. */
  readonly sequence: number;
}

interface Step {
  sequence: number;
  edits: [kind: string, at: number, to: number, row: Row | null][];
}

/** Reads `{ sequence, changes: [[kind, at, to|nil, ROW|nil]…] }`. */
function decodeStep(bytes: Uint8Array): Step {
  const step: Step = { sequence: 0, edits: [] };
  decodeMap(bytes, (key, decoder) => {
    if (key === 'sequence') step.sequence = Number(decoder.value());
    else if (key === 'changes') {
      const length = decoder.arrayHead();
      for (let count = 0; count < length; count += 1) {
        decoder.arrayHead();
        const kind = decoder.text();
        const at = Number(decoder.value());
        const to = Number(decoder.value() ?? at);
        step.edits.push([kind, at, to, decoder.row()]);
      }
    } else decoder.value();
  });
  return step;
}

/** The list of a live query, edited step by step. */
export class LiveRows<R> {
  #rows: Row[] = [];
  /** Whether the next step is the first of a query: it leads from the empty list. */
  #isReset = true;

  /** The next step is the first of another query. */
  reset(): void {
    this.#isReset = true;
  }

  /**
   * Makes the edits of a step; gives the next state, or the one before when the result is still that. What throws changes
   * nothing, and no step after it may be applied before a {@link reset}: it would be applied to the wrong list.
   */
  apply(bytes: Uint8Array, before: LiveState<R> | undefined): LiveState<R> {
    const step = decodeStep(bytes);
    const isReset = this.#isReset;
    const known = isReset ? new Map(this.#rows.map((row) => [row.id, row])) : undefined;
    const rows = isReset ? [] : [...this.#rows];
    const changes: LiveChange<R>[] = [];
    // After a reset every document comes again; one that is as it was stays the object it was.
    const kept = (row: Row): Row => {
      const old = known?.get(row.id);
      return old !== undefined && old.rev === row.rev ? old : row;
    };
    for (const [kind, at, to, told] of step.edits) {
      if (!'rmui'.includes(kind)) throw new PocketError('internal', `this package knows of no edit \`${kind}\``);
      if (kind === 'r') {
        const [gone] = rows.splice(at, 1);
        if (gone !== undefined) changes.push({ kind: 'removed', at, document: gone.data as R });
        continue;
      }
      if (told === null) continue;
      const row = kept(told);
      const document = row.data as R;
      if (kind === 'm') {
        rows.splice(at, 1);
        rows.splice(to, 0, row);
        changes.push({ kind: 'moved', at, to, document });
      } else if (kind === 'u') {
        rows[at] = row;
        changes.push({ kind: 'updated', at, document });
      } else {
        rows.splice(at, 0, row);
        changes.push({ kind: 'inserted', at, document });
      }
    }
    const same = rows.length === this.#rows.length && rows.every((row, at) => row === this.#rows[at]);
    this.#rows = rows;
    this.#isReset = false;
    if (same && before !== undefined) return before;
    return { data: rows.map((row) => row.data as R), changes, isReset, sequence: step.sequence };
  }
}

const closed = (): PocketError => new PocketError('closed', 'the live query was closed');

/** What live queries and live counts have in common: one value that comes from the WebAssembly until it is closed. */
abstract class Live<V> implements Observable<V | undefined> {
  #value: V | undefined;
  #error: PocketError | null = null;
  #close: (() => void) | undefined;
  readonly #listeners = new Listeners<V>();
  /** Those who wait for the first value, and what tells them that none will come. */
  readonly #waiting = new Set<() => void>();

  /**
   * Begins; `open` gives what ends it.
   *
   * @internal
   */
  protected begin(core: CollectionCore, open: () => RawHandle): void {
    this.#close = ending(
      calling(open),
      (end) => core.opened(end),
      () => {
        this.#close = undefined;
        for (const giveUp of [...this.#waiting]) giveUp();
      },
    );
  }

  /** The newest value; `undefined` before the first one. */
  getSnapshot(): V | undefined {
    return this.#value;
  }

  /** What went wrong last; null once there is a value again. */
  get error(): PocketError | null {
    return this.#error;
  }

  /** Whether it was closed, or its database was. */
  get isClosed(): boolean {
    return this.#close === undefined;
  }

  /** Tells the value there is, if there is one yet, and each next one. Errors do not end it. */
  subscribe(next: (value: V) => void, error?: (error: PocketError) => void): Subscription {
    const subscription = this.#listeners.add(next, error);
    if (this.#value !== undefined) tell(next, this.#value);
    else if (this.#error !== null && error !== undefined) tell(error, this.#error);
    return subscription;
  }

  /** Waits for the first value. It rejects when that fails, and with `closed` when it is closed before. */
  ready(): Promise<V> {
    return new Promise((resolve, reject) => {
      if (this.#value === undefined && this.isClosed) return reject(closed());
      let subscription: Subscription | undefined;
      let done = false;
      const end = (settle: () => void): void => {
        done = true;
        subscription?.unsubscribe();
        this.#waiting.delete(giveUp);
        settle();
      };
      const giveUp = (): void => end(() => reject(closed()));
      this.#waiting.add(giveUp);
      subscription = this.subscribe(
        (value) => end(() => resolve(value)),
        (error) => end(() => reject(error)),
      );
      if (done) subscription.unsubscribe();
    });
  }

  /** Ends it: nothing is told any more, and it costs nothing. Calling it again does nothing. */
  close(): void {
    this.#close?.();
  }

  /** @internal */
  protected told(value: V): void {
    // The value that was there before an error is told again: it says that the error is over.
    const again = this.#error === null && Object.is(value, this.#value);
    this.#error = null;
    if (again) return;
    this.#value = value;
    this.#listeners.next(value);
  }

  /** @internal */
  protected failed(error: unknown): void {
    this.#error = toPocketError(error);
    this.#listeners.error(this.#error);
  }
}

/** The result of a query, kept up to date: an {@link Observable} whose value is `undefined` before the first result. */
export class LiveQuery<R> extends Live<LiveState<R>> {
  readonly #rows = new LiveRows<R>();
  readonly #open: (step: (bytes: Uint8Array) => void) => RawLive;
  /** The query of the WebAssembly, of which there is another one after a step that could not be read. */
  #raw: RawLive | undefined;
  /** Whether its first step could not be read: another one would fare no better before something changes. */
  #isUnreadable = false;

  /** @internal */
  constructor(core: CollectionCore, query: Uint8Array, debounceMs: number) {
    super();
    this.#open = (step) => core.raw().live(query, debounceMs, step, (error) => this.failed(error));
    this.begin(core, () => {
      this.#reopen();
      return { close: () => this.#raw?.close(), free: () => this.#end() };
    });
  }

  /** Reads everything again, for instance after an error. The result is told if it is another one. */
  refresh(): void {
    if (this.isClosed) return;
    if (this.#raw === undefined || this.#isUnreadable) calling(() => this.#reopen());
    else calling(() => this.#raw?.refresh());
  }

  /** Begins the query of the WebAssembly anew, from the empty list. */
  #reopen(): void {
    this.#raw?.close();
    this.#end();
    this.#isUnreadable = false;
    this.#rows.reset();
    let isFirst = true;
    const raw = this.#open((bytes) => {
      if (this.#raw !== raw) return;
      // It is known only that something changed: its first step is missing.
      if (this.#isUnreadable) return this.#retry();
      let state: LiveState<R>;
      try {
        state = this.#rows.apply(bytes, this.getSnapshot());
      } catch (error) {
        this.#isUnreadable = true;
        this.failed(error);
        // Whoever was told may have closed it, or made it begin anew.
        if (!isFirst && this.#raw === raw) this.#retry();
        return;
      }
      isFirst = false;
      this.told(state);
    });
    this.#raw = raw;
  }

  #end(): void {
    this.#raw?.free();
    this.#raw = undefined;
  }

  #retry(): void {
    try {
      this.#reopen();
    } catch (error) {
      this.failed(error);
    }
  }
}

/** How many documents match, kept up to date: an {@link Observable} whose value is `undefined` before the first count. */
export class LiveCount extends Live<number> {
  /** @internal */
  constructor(core: CollectionCore, query: Uint8Array, debounceMs: number) {
    super();
    this.begin(core, () =>
      core.raw().liveCount(
        query,
        debounceMs,
        (count) => this.told(count),
        (error) => this.failed(error),
      ),
    );
  }
}
