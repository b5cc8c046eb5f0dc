// What the other packages of Pocket need of this one. It is no part of the API and may change in any release.

export { decode } from './decode.js';
export { encode } from './encode.js';
export { internals } from './database.js';
export { calling, report, settled, toPocketError } from './error.js';
export { decodeEntry } from './journal.js';
export { Listeners, Shared, Subject } from './observable.js';
export { encodeQuery } from './query.js';
export { loadModule, rawModule } from './raw.js';
export type { RawDatabase, RawHandle, RawModule, RawStorage, RawSync } from './raw.js';
export { checkShape, nearest } from './shape.js';
export type { Shapes } from './shape.js';
export { openStorage } from './storage.js';
export { pageEnvironment } from './tabs.js';
export type { ChannelLike } from './tabs.js';
