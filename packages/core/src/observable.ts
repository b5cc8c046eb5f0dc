import { PocketError, report, toPocketError } from './error.js';

/** Ends what `subscribe` began. */
export interface Subscription {
  /** Nothing is told any more. Calling it again does nothing. */
  unsubscribe(): void;
}

/**
 * A value that changes.
 *
 * It fits React's `useSyncExternalStore`: `getSnapshot` gives the same reference until the value changes.
 */
export interface Observable<T> {
  /**
   * Tells the current value at once, if there is one yet, and then each next one. What fails is told to `error`, and the
   * subscription goes on. A listener that throws keeps no other from hearing.
   */
  subscribe(next: (value: T) => void, error?: (error: PocketError) => void): Subscription;
  /** The current value: the same reference until it changes. */
  getSnapshot(): T;
}

/** What happens, one event after another; there is no current one. */
export interface Events<T> {
  /** Tells each event from now on. */
  subscribe(next: (event: T) => void, error?: (error: PocketError) => void): Subscription;
}

interface Listener<T> {
  readonly next: (value: T) => void;
  readonly error: ((error: PocketError) => void) | undefined;
}

/** Calls a listener; what it throws is reported, and nobody else notices. */
export function tell<A>(listener: (argument: A) => void, argument: A): void {
  try {
    listener(argument);
  } catch (error) {
    report(error);
  }
}

/** Refuses at once what could not be called later. */
function checkListener(listener: unknown): void {
  if (typeof listener !== 'function') throw new PocketError('config', 'a listener is a function; an object with `next` is none');
}

/** Listeners who may come and go while they are being told. */
export class Listeners<T> {
  #listeners: readonly Listener<T>[] = [];

  /** How many there are. */
  get size(): number {
    return this.#listeners.length;
  }

  /** Adds one. The same functions may be added several times. */
  add(next: (value: T) => void, error?: (error: PocketError) => void): Subscription {
    checkListener(next);
    if (error !== undefined) checkListener(error);
    const listener: Listener<T> = { next, error };
    this.#listeners = [...this.#listeners, listener];
    return {
      unsubscribe: () => {
        this.#listeners = this.#listeners.filter((other) => other !== listener);
      },
    };
  }

  /** Tells all who are there now. */
  next(value: T): void {
    const told = this.#listeners;
    for (const listener of told) if (this.#listeners.includes(listener)) tell(listener.next, value);
  }

  /** Tells all who are there now of a failure; with nobody to hear it, it is reported. */
  error(error: PocketError): void {
    const told = this.#listeners.filter((listener) => listener.error !== undefined);
    if (told.length === 0) report(error);
    for (const listener of told) if (listener.error) tell(listener.error, error);
  }
}

/** An {@link Observable} whose value is set from outside. */
export class Subject<T> implements Observable<T> {
  #value: T;
  readonly #listeners = new Listeners<T>();

  /** With a first value. */
  constructor(value: T) {
    this.#value = value;
  }

  /** Sets the value and tells it, unless it is the one there is. */
  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    this.#listeners.next(value);
  }

  getSnapshot(): T {
    return this.#value;
  }

  subscribe(next: (value: T) => void, error?: (error: PocketError) => void): Subscription {
    const subscription = this.#listeners.add(next, error);
    tell(next, this.#value);
    return subscription;
  }
}

/** What begins with the first listener and ends with the last one. */
export interface Source<T> {
  /** Begins; what it gives back ends it. It may call `next` at once. */
  (next: (value: T) => void, error: (error: PocketError) => void): () => void;
}

/**
 * An {@link Observable} that costs nothing while nobody listens.
 *
 * Without listeners, `getSnapshot` keeps the last value that was told; before the first it is `undefined`.
 */
export class Shared<T> implements Observable<T | undefined> {
  #value: T | undefined;
  #end: (() => void) | undefined;
  /** Whether there is a value of the source that runs now. */
  #told = false;
  readonly #listeners = new Listeners<T | undefined>();
  readonly #source: Source<T>;

  constructor(source: Source<T>) {
    this.#source = source;
  }

  getSnapshot(): T | undefined {
    return this.#value;
  }

  subscribe(next: (value: T | undefined) => void, error?: (error: PocketError) => void): Subscription {
    const subscription = this.#listeners.add(next, error);
    if (this.#told) tell(next, this.#value);
    if (this.#end === undefined) this.#begin();
    return {
      unsubscribe: () => {
        subscription.unsubscribe();
        if (this.#listeners.size > 0) return;
        this.#end?.();
        this.#end = undefined;
        this.#told = false;
      },
    };
  }

  #begin(): void {
    let ended = false;
    // Set at first, so that a listener who leaves while the source begins finds something to end.
    let end = (): void => {};
    this.#end = () => {
      ended = true;
      end();
    };
    try {
      end = this.#source(
        (value) => {
          if (ended || (this.#told && Object.is(value, this.#value))) return;
          this.#value = value;
          this.#told = true;
          this.#listeners.next(value);
        },
        (error) => {
          if (!ended) this.#listeners.error(error);
        },
      );
      if (ended) end();
    } catch (error) {
      this.#end = undefined;
      this.#listeners.error(toPocketError(error));
    }
  }
}
