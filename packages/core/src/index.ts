/**
 * A local-first document database: documents, queries, live queries, transactions and a journal, on WebAssembly.
 *
 * @packageDocumentation
 */

export type { PocketErrorCode } from './codes.js';
export { Collection } from './collection.js';
export { Database } from './database.js';
export type { DatabaseOptions, DatabaseStats, Persistence } from './database.js';
export { dump } from './dump.js';
export { load } from './load.js';
export type { LoadOptions, Loaded } from './load.js';
export { PocketError, isPocketError } from './error.js';
export type { PocketErrorJson, PocketErrorOptions } from './error.js';
export { Journal } from './journal.js';
export type {
  JournalDocument,
  JournalEntry,
  JournalExplanation,
  JournalKind,
  JournalListOptions,
  JournalState,
  JournalVersion,
  JournalWinner,
} from './journal.js';
export type { LiveChange, LiveEdit, LiveMove, LiveState } from './live.js';
export { LiveCount, LiveQuery } from './live.js';
export type { Events, Observable, Subscription } from './observable.js';
export { Populated } from './populate.js';
export { Query, Where } from './query.js';
export type { ExplainOptions, LiveOptions, Page, QueryFigures, QueryPlan, QuerySpec } from './query.js';
export type { DocumentSchema, SchemaIssue, SchemaPathSegment, SchemaResult, SchemaRule, StandardSchema } from './schema.js';
export type { Limits, MigrationConfig } from './settings.js';
export type { Storage } from './storage.js';
export { Transaction, TransactionCollection } from './transaction.js';
export { isLagged } from './types.js';
export type {
  AnyCollections,
  AnyDocument,
  Change,
  ChangeEvent,
  CollectionConfig,
  CollectionConfigOf,
  CollectionName,
  Comparable,
  Condition,
  ConflictStrategy,
  ContainsOperand,
  DeepPartial,
  DocumentOf,
  ElementFilter,
  ElementOf,
  Field,
  FieldOperators,
  Filter,
  Given,
  HasId,
  IndexConfig,
  IndexField,
  IndexInfo,
  Insertable,
  KeyOf,
  Lagged,
  Omitted,
  Operand,
  Patch,
  Path,
  Picked,
  SortOrder,
  Stored,
  StoredDocument,
  TextOperand,
  TtlConfig,
  TypedName,
  ValueAt,
  ValueOf,
} from './types.js';
