import type { CollectionCore } from './collection-core.js';
import type { Row } from './decode.js';
import { decodeMap } from './decode.js';
import { PocketError, calling, toPocketError } from './error.js';
import type { Observable, Subscription } from './observable.js';
import { Listeners, tell } from './observable.js';

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
  /** Whether everything was read again, and the changes lead here from the empty list. So it is at first. */
  readonly isReset: boolean;
  /** The local commit after which the result is this. */
  readonly sequence: number;
}

interface Step {
  sequence: number;
  reset: boolean;
  edits: [kind: string, at: number, to: number, row: Row | null][];
}

/** Reads `{ sequence, reset?, changes: [[kind, at, to|nil, ROW|nil]…] }`. */
function decodeStep(bytes: Uint8Array): Step {
  const step: Step = { sequence: 0, reset: false, edits: [] };
  decodeMap(bytes, (key, decoder) => {
    if (key === 'sequence') step.sequence = Number(decoder.value());
    else if (key === 'reset') step.reset = decoder.value() === true;
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

  /** Makes the edits of a step; gives the next state, or the one before when the result is still that. */
  apply(bytes: Uint8Array, before: LiveState<R> | undefined): LiveState<R> {
    const step = decodeStep(bytes);
    const known = step.reset ? new Map(this.#rows.map((row) => [row.id, row])) : undefined;
    const rows = step.reset ? [] : [...this.#rows];
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
    if (same && before !== undefined) return before;
    return { data: rows.map((row) => row.data as R), changes, isReset: step.reset || before === undefined, sequence: step.sequence };
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
  protected begin(core: CollectionCore, open: () => { close(): void; free(): void }): void {
    const handle = calling(open);
    const forget = core.opened(() => this.close());
    this.#close = () => {
      forget();
      handle.close();
      handle.free();
    };
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
    const close = this.#close;
    this.#close = undefined;
    close?.();
    for (const giveUp of [...this.#waiting]) giveUp();
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
  #refresh: () => void = () => undefined;

  /** @internal */
  constructor(core: CollectionCore, query: Uint8Array, debounceMs: number) {
    super();
    const rows = new LiveRows<R>();
    this.begin(core, () => {
      const step = (bytes: Uint8Array): void => {
        try {
          this.told(rows.apply(bytes, this.getSnapshot()));
        } catch (error) {
          this.failed(error);
        }
      };
      const handle = core.raw().live(query, debounceMs, step, (error) => this.failed(error));
      this.#refresh = () => calling(() => handle.refresh());
      return handle;
    });
  }

  /** Reads everything again, for instance after an error. The result is told if it is another one. */
  refresh(): void {
    if (!this.isClosed) this.#refresh();
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
