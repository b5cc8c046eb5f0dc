/** What an error of Pocket may know beside its code and message. */
export interface PocketErrorOptions {
  /** Where in a document or in the options it is wrong, as a dotted path. */
  readonly path?: string;
  /** What else there is to know, as plain data. */
  readonly details?: unknown;
  /** The error below. */
  readonly cause?: unknown;
}

/**
 * Every error that Pocket throws, rejects with or tells a listener.
 *
 * `code` is stable and meant for programs (`document-not-found`, `storage-full`, `connect`, …; all of them are listed in
 * `docs/errors.md`); `message` is meant for people and may change.
 */
export class PocketError extends Error {
  /** `PocketError`. */
  override readonly name = 'PocketError';
  /** The stable code. */
  readonly code: string;
  /** Where it is wrong, as a dotted path; `undefined` if there is no such place. */
  readonly path: string | undefined;
  /** What else there is to know, as plain data. */
  readonly details: unknown;

  /** An error of this code. */
  constructor(code: string, message: string, options: PocketErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.path = options.path;
    this.details = options.details;
  }
}

/** Whether something that was caught is an error of Pocket; with `code`, whether it has that code. */
export function isPocketError(error: unknown, code?: string): error is PocketError {
  return error instanceof PocketError && (code === undefined || error.code === code);
}

/** Makes a `PocketError` of whatever was thrown: errors of the WebAssembly carry a `code`, anything else is `internal`. */
export function toPocketError(error: unknown): PocketError {
  if (error instanceof PocketError) return error;
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string') {
    const { code } = error;
    const message = 'message' in error ? String(error.message) : code;
    const path = 'path' in error && typeof error.path === 'string' ? { path: error.path } : {};
    const details = 'details' in error ? { details: error.details } : {};
    return new PocketError(code, message, { ...path, ...details, cause: error });
  }
  return new PocketError('internal', error instanceof Error ? error.message : String(error), { cause: error });
}

/** Calls into the WebAssembly, so that what it throws is a `PocketError`. */
export function calling<R>(call: () => R): R {
  try {
    return call();
  } catch (error) {
    throw toPocketError(error);
  }
}

/** As {@link calling}, for what answers later. */
export async function settled<R>(call: () => R | PromiseLike<R>): Promise<R> {
  try {
    return await call();
  } catch (error) {
    throw toPocketError(error);
  }
}

/** Tells an error to whoever looks after uncaught ones, without throwing it at the caller. */
export function report(error: unknown): void {
  const scope = globalThis as { reportError?: (error: unknown) => void };
  if (typeof scope.reportError === 'function') scope.reportError(error);
  else console.error(error);
}
