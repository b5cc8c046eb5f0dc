import { decode } from './decode.js';
import { ending } from './ending.js';
import { toPocketError } from './error.js';
import type { Events } from './observable.js';
import { Listeners } from './observable.js';
import type { RawHandle } from './raw.js';
import type { Change, Stored } from './types.js';

type RawChange = Record<string, unknown>;

function document<T>(id: string, body: unknown): Stored<T> | null {
  if (body === null || body === undefined) return null;
  return { _id: id, ...(body as object) } as Stored<T>;
}

/** Reads what the WebAssembly tells of a change. */
export function decodeChange<T>(bytes: Uint8Array): Change<T> {
  const raw = decode(bytes) as RawChange;
  if (raw['lagged'] !== undefined) return { lagged: raw['lagged'] as { from: number; to: number } };
  const documentId = String(raw['documentId']);
  return {
    collection: String(raw['collection']),
    operation: raw['operation'] as 'insert' | 'update' | 'delete',
    documentId,
    document: document(documentId, raw['document']),
    previousDocument: document(documentId, raw['previousDocument']),
    isFromSync: raw['isFromSync'] === true,
    timestamp: new Date(Number(raw['timestamp'])),
    sequence: Number(raw['sequence']),
  };
}

/** Events that are read from the WebAssembly while somebody listens. */
export function changeEvents<T>(open: (listener: (event: Uint8Array) => void) => RawHandle, opened: (close: () => void) => () => void): Events<Change<T>> {
  const listeners = new Listeners<Change<T>>();
  let end: (() => void) | undefined;
  const begin = (): void => {
    const handle = open((bytes) => {
      try {
        listeners.next(decodeChange<T>(bytes));
      } catch (error) {
        listeners.error(toPocketError(error));
      }
    });
    end = ending(handle, opened, () => (end = undefined));
  };
  return {
    subscribe(next, error) {
      const subscription = listeners.add(next, error);
      try {
        if (end === undefined) begin();
      } catch (failure) {
        subscription.unsubscribe();
        throw toPocketError(failure);
      }
      return {
        unsubscribe: () => {
          subscription.unsubscribe();
          if (listeners.size === 0) end?.();
        },
      };
    },
  };
}
