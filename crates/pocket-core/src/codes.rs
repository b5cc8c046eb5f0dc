//! The stable codes of errors. `docs/errors.md` has a row for each.

/// The document breaks a rule of values, limits or system fields.
pub const VALIDATION: &str = "validation";
/// The document's id is empty, too long, no string or contains NUL.
pub const BAD_ID: &str = "bad-id";
/// The collection's name does not match the rule or is reserved.
pub const BAD_COLLECTION_NAME: &str = "bad-collection-name";
/// There is no such collection and none may be made here.
pub const COLLECTION_NOT_FOUND: &str = "collection-not-found";
/// There is no document with this id.
pub const DOCUMENT_NOT_FOUND: &str = "document-not-found";
/// The document was deleted.
pub const DOCUMENT_DELETED: &str = "document-deleted";
/// There is a document with this id already.
pub const DOCUMENT_EXISTS: &str = "document-exists";
/// The document is larger than the limit.
pub const DOCUMENT_TOO_LARGE: &str = "document-too-large";
/// The transaction has too many changes or bytes to travel in one message.
pub const TRANSACTION_TOO_LARGE: &str = "transaction-too-large";
/// A document read in the transaction was changed before it was committed.
pub const TRANSACTION_CONFLICT: &str = "transaction-conflict";
/// A document cannot be read as the type that was asked for.
pub const TYPE_MISMATCH: &str = "type-mismatch";
/// Another document has the same values in a unique index.
pub const INDEX_UNIQUE_VIOLATION: &str = "index-unique-violation";
/// There is no such index.
pub const INDEX_NOT_FOUND: &str = "index-not-found";
/// The query is wrong.
pub const BAD_QUERY: &str = "bad-query";
/// The disk or the quota is full.
pub const STORAGE_FULL: &str = "storage-full";
/// Another process holds the database.
pub const IN_USE: &str = "in-use";
/// Stored data is damaged or foreign.
pub const CORRUPT: &str = "corrupt";
/// The storage backend failed.
pub const STORAGE: &str = "storage";
/// The database is closed.
pub const CLOSED: &str = "closed";
/// The stored format or schema is newer than this program.
pub const NEWER_FORMAT: &str = "newer-format";
/// Documents could not be brought to the schema version of the program.
pub const MIGRATION: &str = "migration";
/// The configuration contradicts itself or what is stored.
pub const CONFIG: &str = "config";
/// The database belongs to another server.
pub const OTHER_LINEAGE: &str = "other-lineage";
/// The database belongs to another namespace.
pub const OTHER_NAMESPACE: &str = "other-namespace";
/// The database belongs to another user.
pub const OTHER_USER: &str = "other-user";
/// The database is another client than the session said, since it left its server or took another id.
pub const OTHER_CLIENT: &str = "other-client";
/// The store holds a database that was made with another name.
pub const OTHER_NAME: &str = "other-name";
/// Another sync engine runs on this open database.
pub const ALREADY_SYNCING: &str = "already-syncing";
/// The local change ended each connection it was sent on, so it was taken back.
pub const WITHDRAWN: &str = "withdrawn";
/// A page does not start where the store stands.
pub const STALE_PAGE: &str = "stale-page";
/// There is no such entry in the journal.
pub const JOURNAL_ENTRY_NOT_FOUND: &str = "journal-entry-not-found";
/// The entry of the journal was restored already, or dismissed.
pub const JOURNAL_ENTRY_CLOSED: &str = "journal-entry-closed";
/// The entry of the journal has lost its bodies, since the document was erased.
pub const JOURNAL_ENTRY_ERASED: &str = "journal-entry-erased";
/// The entry of the journal has no loser: all its documents are there.
pub const JOURNAL_ENTRY_WITHOUT_LOSER: &str = "journal-entry-without-loser";
/// The application's rule for conflicts failed, panicked or took too long.
pub const RESOLVER_FAILED: &str = "resolver-failed";
/// A defect of this program.
pub const INTERNAL: &str = "internal";
