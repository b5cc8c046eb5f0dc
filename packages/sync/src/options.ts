import type { AnyDocument, CollectionConfig, ConflictStrategy, Stored } from '@pocket/core';
import { PocketError } from '@pocket/core';
import type { Shapes } from '@pocket/core/internal';
import { checkShape, decode, encode, nearest, toPocketError } from '@pocket/core/internal';

/** Two versions of a document, neither of which knew of the other. */
export interface Conflict<T = AnyDocument> {
  /** The document's collection. */
  readonly collection: string;
  /** The document's id. */
  readonly documentId: string;
  /** What was written on this device; null: it was deleted. */
  readonly localDocument: Stored<T> | null;
  /** What the server has; null: it was deleted. */
  readonly remoteDocument: Stored<T> | null;
  /** What the local change was made on; null: there was none. */
  readonly baseDocument: Stored<T> | null;
  /** When the conflict was met. */
  readonly timestamp: Date;
}

/**
 * What stands. `local` and `remote`: that version. `merged`: both, field by field. `deleted`: no document. `document`, which
 * is meant when there is a `document` and nothing else is said: that one.
 */
export type Resolution = 'local' | 'remote' | 'merged' | 'deleted' | 'document';

/** The answer to a conflict. */
export interface Resolved<T = AnyDocument> {
  /** What stands. */
  readonly resolution?: Resolution | undefined;
  /** The document that stands, with `document`. */
  readonly document?: T | null | undefined;
  /** Why; the journal keeps it. */
  readonly because?: string | undefined;
}

/**
 * Decides conflicts. It may take its time (30 s unless `resolveTimeout` says otherwise) and is asked again if a version
 * moved meanwhile. If it throws, the server's version stands, and the journal keeps both.
 */
export type ResolveConflict<T = AnyDocument> = (conflict: Conflict<T>) => Resolved<T> | PromiseLike<Resolved<T>>;

/** A rule for conflicts: the name of a strategy, or a function. */
export type ConflictRule = Exclude<ConflictStrategy, 'custom'> | ResolveConflict;

/** The options of a sync engine. Durations are milliseconds. */
export interface SyncOptions {
  /**
   * `ws(s)://` or `http(s)://`, with any base path, taken as given; `/sync` is added only when there is no path. Both
   * schemes name the same endpoint.
   */
  readonly serverUrl: string;
  /** The token that says who this is. It travels in a header or the first message, never in the URL. */
  readonly authToken?: string | undefined;
  /**
   * Gives another token, when the one there is ends soon or was refused. In several tabs only that of the leader is asked.
   */
  readonly getAuthToken?: ((reason: 'expiring' | 'refused') => string | PromiseLike<string>) | undefined;
  /** What is opened on the server: a tenant, a workspace, a user. `default` unless set. */
  readonly namespace?: string | undefined;
  /**
   * What syncs; every collection with `sync: true` unless set, also ones made later. Those that are named here, or in
   * `conflictStrategy`, must be collections of the database with `sync: true` when the engine starts.
   */
  readonly collections?: readonly string[] | undefined;
  /** Which way changes flow; `both` unless set. */
  readonly direction?: 'both' | 'push' | 'pull' | undefined;
  /**
   * Who wins when a local change and the server's version disagree; `last-write-wins` unless set. A function decides by
   * itself; a map gives single collections a rule of their own.
   */
  readonly conflictStrategy?: ConflictRule | { readonly [collection: string]: ConflictRule } | undefined;
  /** How long a function may take for one conflict; 30,000 unless set. */
  readonly resolveTimeout?: number | undefined;
  /** Whether it connects again by itself; true unless set, and it never gives up then. */
  readonly autoRetry?: boolean | undefined;
  /** The first delay before connecting again; 1,000 unless set. Doubled per attempt, jittered, 30,000 at the most. */
  readonly retryDelay?: number | undefined;
  /** Lost connections that one `forceSync`, `push` or `pull` bears before it rejects; 5 unless set. */
  readonly maxRetryAttempts?: number | undefined;
  /**
   * How long the server may be silent while `forceSync`, `push` or `pull` waits; 10,000 unless set. Then a new connection is
   * tried at once, which has 10 seconds before the call rejects with `timeout`.
   */
  readonly answerTimeout?: number | undefined;
  /** Whether `ws(s)://` means a WebSocket; true unless set, false makes it HTTP. Unless set it is false where there are no WebSockets, as in Node 20. */
  readonly useWebSocket?: boolean | undefined;
  /** How often HTTP polls; 30,000 unless set, 0 never. Over a WebSocket changes arrive by themselves. */
  readonly pullInterval?: number | undefined;
  /** Changes per push, and documents per page while catching up; 100 unless set. */
  readonly batchSize?: number | undefined;
  /** Whether a token may travel unencrypted to a host that is not this machine; false unless set. */
  readonly allowPlaintext?: boolean | undefined;
}

/** The options with their names in the WebAssembly; those without one are functions or made of others. */
const NAMES = {
  serverUrl: 'server_url',
  authToken: 'auth_token',
  getAuthToken: undefined,
  namespace: 'namespace',
  collections: 'collections',
  direction: 'direction',
  conflictStrategy: undefined,
  resolveTimeout: 'resolve_timeout',
  autoRetry: 'auto_retry',
  retryDelay: 'retry_delay',
  maxRetryAttempts: 'max_retry_attempts',
  answerTimeout: 'answer_timeout',
  useWebSocket: 'use_websocket',
  pullInterval: 'pull_interval',
  batchSize: 'batch_size',
  allowPlaintext: 'allow_plaintext',
} as const satisfies Record<keyof SyncOptions, string | undefined>;

/** What each of them is; what is `any` is looked at by itself. */
const SHAPES: Shapes<SyncOptions> = {
  serverUrl: 'any',
  authToken: 'text',
  getAuthToken: 'any',
  namespace: 'text',
  collections: 'texts',
  direction: ['both', 'push', 'pull'],
  conflictStrategy: 'any',
  resolveTimeout: 'whole',
  autoRetry: 'flag',
  retryDelay: 'whole',
  maxRetryAttempts: 'count',
  answerTimeout: 'some',
  useWebSocket: 'flag',
  pullInterval: 'whole',
  batchSize: 'some',
  allowPlaintext: 'flag',
};

const SCHEME = /^(wss?|https?):\/\//i;

/** Whether there are WebSockets here. Node has them from version 22 on. */
function isThereWebSocket(): boolean {
  return typeof (globalThis as { WebSocket?: unknown }).WebSocket === 'function';
}

/** Refuses a WebSocket that was asked for where there is none. */
function checkTransport(options: SyncOptions): void {
  if (options.useWebSocket !== true) return;
  const remedies = 'leave `useWebSocket` out to go by HTTP, take Node 22 or later, or run Node 20 with --experimental-websocket';
  throw new PocketError('config', `there is no \`WebSocket\` here; ${remedies}`, { path: 'useWebSocket' });
}

const STRATEGIES = ['last-write-wins', 'server-wins', 'client-wins', 'merge'];

/** The longest name of a namespace, in bytes of UTF-8, as the engine and servers take it. */
const MAX_NAMESPACE_BYTES = 128;

function checkNamespace(namespace: string): void {
  const { length } = new TextEncoder().encode(namespace);
  if (length >= 1 && length <= MAX_NAMESPACE_BYTES && !/\p{Cc}/u.test(namespace)) return;
  throw new PocketError('config', `\`namespace\` has 1 to ${MAX_NAMESPACE_BYTES} bytes and no control characters; 'default' is the usual one`, { path: 'namespace' });
}

function checkStrategy(rule: unknown, path: string): void {
  if (typeof rule === 'function' || STRATEGIES.includes(rule as string)) return;
  const names = STRATEGIES.map((name) => `'${name}'`).join(', ');
  const found = typeof rule === 'string' ? `'${rule}'` : `a ${typeof rule}`;
  const close = typeof rule === 'string' ? nearest(rule, STRATEGIES) : undefined;
  const hint = close === undefined ? '' : `. Did you mean '${close}'?`;
  throw new PocketError('config', `\`${path}\` is one of ${names}, or a function, not ${found}${hint}`, { path });
}

type RawRule = (conflict: Uint8Array) => Promise<Uint8Array>;

/** The options as the WebAssembly takes them. */
export interface RawOptions {
  /** JSON of its configuration. */
  readonly json: string;
  /** The functions. */
  readonly hooks: { token?: (reason: string) => Promise<string>; resolve?: Record<string, RawRule> };
}

/**
 * Translates the options.
 *
 * @throws PocketError `config`, with the name of an option that does not exist, is missing or has a wrong value.
 */
export function rawOptions(options: SyncOptions, hasWebSocket = isThereWebSocket()): RawOptions {
  if (typeof (options as unknown) !== 'object' || (options as unknown) === null) {
    throw new PocketError('config', '`createSyncEngine` takes a database and an object with at least `serverUrl`', { path: 'serverUrl' });
  }
  // First of all: whoever misspelt `serverUrl` is told so, and not that it is missing.
  checkShape('`createSyncEngine`', options, SHAPES);
  const config: Record<string, unknown> = {};
  for (const [name, raw] of Object.entries(NAMES)) {
    const value = options[name as keyof SyncOptions];
    if (raw !== undefined && value !== undefined) config[raw] = value;
  }
  if (typeof options.serverUrl !== 'string' || options.serverUrl === '') {
    throw new PocketError('config', '`serverUrl` is missing, or no text', { path: 'serverUrl' });
  }
  if (!SCHEME.test(options.serverUrl)) {
    const guess = /^[\w.-]+(:\d+)?(\/|$)/.test(options.serverUrl) ? `, for instance 'wss://${options.serverUrl}'` : '';
    throw new PocketError('config', `\`serverUrl\` begins with ws://, wss://, http:// or https://${guess}; it is '${options.serverUrl}'`, { path: 'serverUrl' });
  }
  if (!hasWebSocket) checkTransport(options);
  if (!hasWebSocket && options.useWebSocket === undefined) config['use_websocket'] = false;
  if (options.namespace !== undefined) checkNamespace(options.namespace);
  const hooks: RawOptions['hooks'] = {};
  const { getAuthToken, conflictStrategy: rule } = options;
  if (getAuthToken !== undefined && typeof getAuthToken !== 'function') {
    throw new PocketError('config', '`getAuthToken` is a function that gives a token', { path: 'getAuthToken' });
  }
  if (rule !== undefined && ((rule as unknown) === null || !['function', 'string', 'object'].includes(typeof rule))) {
    throw new PocketError('config', '`conflictStrategy` is a name, a function, or a map of these by collection', { path: 'conflictStrategy' });
  }
  if (getAuthToken !== undefined) hooks.token = async (reason) => getAuthToken(reason === 'expiring' ? 'expiring' : 'refused');
  if (typeof rule === 'function') {
    config['conflict_strategy'] = 'custom';
    // No collection can have that name.
    hooks.resolve = { '*': rawRule(rule) };
  } else if (typeof rule === 'string') {
    checkStrategy(rule, 'conflictStrategy');
    config['conflict_strategy'] = rule;
  } else if (rule !== undefined) {
    const strategies: Record<string, string> = {};
    const functions: Record<string, RawRule> = {};
    for (const [collection, own] of Object.entries(rule)) {
      checkStrategy(own, `conflictStrategy.${collection}`);
      strategies[collection] = typeof own === 'function' ? 'custom' : own;
      if (typeof own === 'function') functions[collection] = rawRule(own);
    }
    config['collection_strategies'] = strategies;
    if (Object.keys(functions).length > 0) hooks.resolve = functions;
  }
  return { json: JSON.stringify(config), hooks };
}

function rawRule(rule: ResolveConflict): RawRule {
  return async (bytes) => {
    const { timestamp, localDocument, remoteDocument, baseDocument, collection, documentId } = decode(bytes) as Record<keyof Conflict, unknown>;
    const document = (body: unknown): Conflict['localDocument'] => (typeof body === 'object' && body !== null ? { _id: String(documentId), ...body } : null);
    const answer = await rule({
      collection: String(collection),
      documentId: String(documentId),
      localDocument: document(localDocument),
      remoteDocument: document(remoteDocument),
      baseDocument: document(baseDocument),
      timestamp: new Date(Number(timestamp)),
    });
    const resolution = answer.resolution ?? (answer.document === null ? 'deleted' : 'document');
    if (resolution === 'document' && (answer.document === null || answer.document === undefined)) {
      throw new PocketError('config', 'the rule for conflicts answered neither a `document` nor a `resolution`');
    }
    const stands = resolution === 'document' ? { document: answer.document } : {};
    return encode({ resolution, ...stands, because: answer.because });
  };
}

/**
 * Refuses names that the options use for collections which this database does not have, or does not sync: they would do
 * nothing, without a word.
 *
 * @throws PocketError `config`, which names them.
 */
export function checkCollections(options: SyncOptions, known: readonly CollectionConfig[]): void {
  const { collections = [], conflictStrategy: rule } = options;
  const ruled = typeof rule === 'object' ? Object.keys(rule) : [];
  const named = [...collections.map((name) => ['collections', name] as const), ...ruled.map((name) => ['conflictStrategy', name] as const)];
  const wrong = named.filter(([, name]) => known.find((one) => one.name === name)?.sync !== true);
  const [first] = wrong;
  if (first === undefined) return;
  const said = wrong.map(([option, name]) => {
    const isThere = known.some((one) => one.name === name);
    return `\`${option}\` names \`${name}\`, ${isThere ? 'which does not sync (`sync: true` is missing)' : 'which this database does not have'}`;
  });
  throw new PocketError('config', `${said.join('; ')}. There are ${syncing(known)}`, { path: first[0] });
}

function syncing(known: readonly CollectionConfig[]): string {
  const names = known.filter(({ sync }) => sync).map(({ name }) => `\`${name}\``);
  return names.length === 0 ? 'no collections that sync' : names.join(', ');
}

/** The endpoint and the namespace that the options name, the same for each way to write them. */
export function destination(options: SyncOptions): string {
  const { serverUrl, namespace = 'default' } = options;
  let endpoint = serverUrl;
  try {
    const url = new URL(serverUrl.replace(/^ws/i, 'http'));
    if (url.pathname === '/') url.pathname = '/sync';
    endpoint = url.href.replace(/^http/, 'ws');
  } catch {
    // Whoever takes it says what is wrong with it.
  }
  return `${endpoint} (namespace \`${namespace}\`)`;
}

/** An error about the options, with their names as they are here. */
export function namedAsHere(error: unknown): PocketError {
  const told = toPocketError(error);
  const message = told.message.replace(/`([a-z]+(?:_[a-z]+)+)(?=[`.[])/g, (whole, raw: string) => {
    const entry = Object.entries(NAMES).find(([, name]) => name === raw);
    const own = { conflict_strategy: 'conflictStrategy', collection_strategies: 'conflictStrategy', resolve_conflict: 'conflictStrategy' };
    const name = entry?.[0] ?? own[raw as keyof typeof own];
    return name === undefined ? whole : `\`${name}`;
  });
  return message === told.message ? told : new PocketError(told.code, message, { path: told.path });
}
