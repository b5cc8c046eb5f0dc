import type { PocketErrorCode } from './codes.js';

/** What an error of Pocket may know beside its code and message. */
export interface PocketErrorOptions {
  /** Where in a document or in the options it is wrong, as a dotted path. */
  readonly path?: string | undefined;
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
  readonly code: PocketErrorCode;
  /** Where it is wrong, as a dotted path; `undefined` if there is no such place. */
  declare readonly path: string | undefined;
  /** What else there is to know, as plain data. */
  declare readonly details: unknown;

  /** An error of this code. */
  constructor(code: PocketErrorCode, message: string, options: PocketErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    // Only where there is one, so that a console shows no empty ones.
    if (options.path !== undefined && options.path !== '') this.path = options.path;
    if (options.details !== undefined) this.details = options.details;
  }

  /** For `JSON.stringify`, logs and messages to other threads, which would lose the code: everything but stack and cause. */
  toJSON(): PocketErrorJson {
    const { name, code, message, path, details } = this;
    return { name, code, message, ...(path === undefined ? {} : { path }), ...(details === undefined ? {} : { details }) };
  }
}

/** An error of Pocket as plain data. */
export interface PocketErrorJson {
  /** `PocketError`. */
  readonly name: string;
  /** The stable code. */
  readonly code: PocketErrorCode;
  /** What happened, for people. */
  readonly message: string;
  /** Where it is wrong, as a dotted path. */
  readonly path?: string;
  /** What else there is to know. */
  readonly details?: unknown;
}

/**
 * Whether something that was caught is an error of Pocket; with `code`, whether it has that code. Unlike `instanceof` it
 * knows those of another copy of this package, too.
 */
export function isPocketError(error: unknown, code?: PocketErrorCode): error is PocketError {
  if (!(error instanceof PocketError) && !isForeign(error)) return false;
  return code === undefined || error.code === code;
}

/** Whether it was made by another copy of this package, as when two versions of it are in one program. */
function isForeign(error: unknown): error is PocketError {
  if (typeof error !== 'object' || error === null || !('name' in error) || !('code' in error)) return false;
  return error.name === 'PocketError' && typeof error.code === 'string' && 'message' in error;
}

/** How codes look; those of Node and of browsers (`ENOENT`, `ERR_…`) are written otherwise. */
const CODE = /^[a-z]+(-[a-z]+)*$/;

/** Makes a `PocketError` of whatever was thrown: errors of the WebAssembly carry a `code`, anything else is `internal`. */
export function toPocketError(error: unknown): PocketError {
  if (isPocketError(error)) return error;
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' && CODE.test(error.code)) {
    const { code } = error;
    const message = 'message' in error ? String(error.message) : code;
    const path = 'path' in error && typeof error.path === 'string' ? { path: error.path } : {};
    const details = 'details' in error ? { details: error.details } : {};
    // It is the same error, and not what caused it.
    return new PocketError(code, message, { ...path, ...details });
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
