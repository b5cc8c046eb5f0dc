//! Settings as JSON: what they may hold, and what they become.

use std::time::Duration;

use pocket_core::storage::Durability;
use pocket_core::{
    CollectionConfig, ConflictStrategy, DatabaseBuilder, DocumentLimits, Filter, IndexConfig,
    JournalKind, JournalState, Limits, Order, Result, Ttl,
};
use pocket_sync_client::{Direction, SyncConfig};
use wasm_bindgen::JsValue;

use crate::json::{Fields, refused};
use crate::{error, schema};

/// What an acknowledged write survives.
const DURABILITIES: [(&str, Durability); 2] = [
    ("strict", Durability::PowerLoss),
    ("relaxed", Durability::ProcessCrash),
];

/// Who wins conflicts, by its name.
const STRATEGIES: [(&str, ConflictStrategy); 5] = {
    use ConflictStrategy::{ClientWins, Custom, LastWriteWins, Merge, ServerWins};
    [
        (LastWriteWins.as_str(), LastWriteWins),
        (ServerWins.as_str(), ServerWins),
        (ClientWins.as_str(), ClientWins),
        (Merge.as_str(), Merge),
        (Custom.as_str(), Custom),
    ]
};

const ORDERS: [(&str, Order); 4] = [
    ("asc", Order::Ascending),
    ("desc", Order::Descending),
    ("ascending", Order::Ascending),
    ("descending", Order::Descending),
];

const DIRECTIONS: [(&str, Direction); 3] = [
    ("both", Direction::Both),
    ("push", Direction::Push),
    ("pull", Direction::Pull),
];

const KINDS: [(&str, JournalKind); 3] = [
    ("conflict", JournalKind::Conflict),
    ("refusal", JournalKind::Refusal),
    ("unique-violation", JournalKind::UniqueViolation),
];

const STATES: [(&str, JournalState); 3] = [
    ("open", JournalState::Open),
    ("restored", JournalState::Restored),
    ("dismissed", JournalState::Dismissed),
];

/// Of a store in IndexedDB.
#[derive(Clone, Debug)]
pub(crate) struct IndexedDbOptions {
    pub(crate) prefix: Option<String>,
    pub(crate) durability: Option<Durability>,
}

impl IndexedDbOptions {
    pub(crate) fn read(json: &str) -> Result<Self> {
        let fields = Fields::parse(json)?;
        let options = Self {
            prefix: fields.nullable("prefix").text()?,
            durability: fields.nullable("durability").one_of(&DURABILITIES)?,
        };
        Ok(options)
    }
}

/// Of a database.
pub(crate) struct DatabaseOptions {
    pub(crate) name: String,
    collections: Vec<CollectionConfig>,
    schema_version: Option<u32>,
    limits: Option<Limits>,
    accept_unknown_collections: Option<bool>,
    durability: Option<Durability>,
}

impl DatabaseOptions {
    pub(crate) fn read(json: &str) -> Result<Self> {
        let fields = Fields::parse(json)?;
        let name = fields.field("name").text()?;
        let collections = fields.field("collections").list()?.into_iter();
        let options = Self {
            name: name.ok_or_else(|| refused("`name` is missing"))?,
            collections: collections
                .map(|collection| collection_of(&Fields::of(collection, "a collection is")?))
                .collect::<Result<_>>()?,
            schema_version: fields.nullable("schemaVersion").number()?,
            limits: fields
                .nullable("limits")
                .object()?
                .as_ref()
                .map(limits_of)
                .transpose()?,
            accept_unknown_collections: fields.nullable("acceptUnknownCollections").bool()?,
            durability: fields.nullable("durability").one_of(&DURABILITIES)?,
        };
        Ok(options)
    }

    /// Gives its collections the rules for their documents, which are found under their names.
    pub(crate) fn rules(mut self, rules: &JsValue) -> error::Result<Self> {
        let collections = self.collections.into_iter();
        let collections = collections.map(|config| schema::add(config, rules));
        self.collections = collections.collect::<error::Result<_>>()?;
        Ok(self)
    }

    /// The names of its collections.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.collections.iter();
        names.map(|collection| collection.name.clone()).collect()
    }

    /// Sets all of it, with the durability of the store where it has none of its own.
    pub(crate) fn apply(
        self,
        mut builder: DatabaseBuilder,
        durability: Option<Durability>,
    ) -> DatabaseBuilder {
        for collection in self.collections {
            builder = builder.collection(collection);
        }
        if let Some(version) = self.schema_version {
            builder = builder.schema_version(version);
        }
        if let Some(limits) = self.limits {
            builder = builder.limits(limits);
        }
        if let Some(accept) = self.accept_unknown_collections {
            builder = builder.accept_unknown_collections(accept);
        }
        if let Some(durability) = self.durability.or(durability) {
            builder = builder.durability(durability);
        }
        builder
    }
}

/// How large things may be.
fn limits_of(fields: &Fields) -> Result<Limits> {
    let mut document = DocumentLimits::default();
    if let Some(bytes) = fields.nullable("documentBytes").number()? {
        document = document.with_bytes(bytes);
    }
    if let Some(depth) = fields.nullable("documentDepth").number()? {
        document = document.with_depth(depth);
    }
    if let Some(nodes) = fields.nullable("documentNodes").number()? {
        document = document.with_nodes(nodes);
    }
    let mut limits = Limits::default().document(document);
    if let Some(bytes) = fields.nullable("messageBytes").number()? {
        limits = limits.message_bytes(bytes);
    }
    Ok(limits)
}

/// A collection, of JSON.
pub(crate) fn read_collection(json: &str) -> Result<CollectionConfig> {
    collection_of(&Fields::parse(json)?)
}

fn collection_of(fields: &Fields) -> Result<CollectionConfig> {
    let name = fields.field("name").text()?;
    let name = name.ok_or_else(|| refused("the `name` of a collection is missing"))?;
    let mut config =
        CollectionConfig::new(name).sync(fields.field("sync").bool()?.unwrap_or(false));
    for index in fields.field("indexes").list()? {
        config = config.index(index_of(&Fields::of(index, "an index is")?)?);
    }
    if let Some(strategy) = fields.nullable("conflictStrategy").one_of(&STRATEGIES)? {
        config = config.conflict_strategy(strategy);
    }
    if let Some(ttl) = fields.nullable("ttl").object()? {
        config = config.ttl(ttl_of(&ttl)?);
    }
    Ok(config)
}

/// How long documents live: from the last write, or from the time in a field.
fn ttl_of(fields: &Fields) -> Result<Ttl> {
    let field = fields.nullable("field").text()?;
    let after = Duration::from_millis(fields.field("afterMs").number()?.unwrap_or(0));
    Ok(match field {
        Some(field) => Ttl::after_field(field, after),
        None => Ttl::after_update(after),
    })
}

/// An index, of JSON.
pub(crate) fn read_index(json: &str) -> Result<IndexConfig> {
    index_of(&Fields::parse(json)?)
}

fn index_of(fields: &Fields) -> Result<IndexConfig> {
    // One without fields is refused when it is made, with words for it.
    let mut config = IndexConfig::ordered(String::new(), Order::Ascending);
    config.name = fields.nullable("name").text()?;
    let sorted = fields.field("fields").list()?.into_iter();
    config.fields = sorted.map(sort_field).collect::<Result<_>>()?;
    config.unique = fields.field("unique").bool()?.unwrap_or(false);
    config.sparse = fields.field("sparse").bool()?.unwrap_or(false);
    let filter = fields.nullable("filter").value()?;
    let filter = filter.map(|filter| Filter::parse(&filter));
    config.only = filter
        .transpose()
        .map_err(|error| refused(&error.to_string()))?;
    Ok(config)
}

/// A path, or an object of path and order.
fn sort_field(given: JsValue) -> Result<(String, Order)> {
    if let Some(path) = given.as_string() {
        return Ok((path, Order::Ascending));
    }
    let fields = Fields::of(given, "a field to sort by is no path and")?;
    let path = fields.field("field").text()?;
    let path = path.ok_or_else(|| refused("the path of a field to sort by is missing"))?;
    let order = fields.field("order").one_of(&ORDERS)?.unwrap_or_default();
    Ok((path, order))
}

/// Which entries of the journal.
pub(crate) struct JournalOptions {
    pub(crate) after: Option<u64>,
    pub(crate) limit: Option<usize>,
    pub(crate) kind: Option<JournalKind>,
    pub(crate) collection: Option<String>,
    pub(crate) state: Option<JournalState>,
}

impl JournalOptions {
    pub(crate) fn read(json: &str) -> Result<Self> {
        let fields = Fields::parse(json)?;
        let options = Self {
            after: fields.nullable("after").number()?,
            limit: fields.nullable("limit").number()?,
            kind: fields.nullable("kind").one_of(&KINDS)?,
            collection: fields.nullable("collection").text()?,
            state: fields.nullable("state").one_of(&STATES)?,
        };
        Ok(options)
    }
}

/// The settings of sync, under the names of `SyncConfig`.
pub(crate) fn read_sync(json: &str) -> Result<SyncConfig> {
    let fields = Fields::parse(json)?;
    let url = fields.field("server_url").text()?.unwrap_or_default();
    if url.is_empty() {
        return Err(refused(
            "`server_url` is missing; it is the address of the server, like wss://example.com",
        ));
    }
    let mut config = SyncConfig::new(url);
    let given = &mut config;
    let millis = |fields: &Fields, name| -> Result<Option<Duration>> {
        Ok(fields.field(name).number()?.map(Duration::from_millis))
    };
    given.auth_token = fields.nullable("auth_token").text()?;
    replace(&mut given.namespace, fields.field("namespace").text()?);
    replace(&mut given.collections, fields.field("collections").texts()?);
    let direction = fields.field("direction").one_of(&DIRECTIONS)?;
    replace(&mut given.direction, direction);
    let strategy = fields.field("conflict_strategy").one_of(&STRATEGIES)?;
    replace(&mut given.conflict_strategy, strategy);
    replace(&mut given.auto_retry, fields.field("auto_retry").bool()?);
    replace(&mut given.retry_delay, millis(&fields, "retry_delay")?);
    let attempts = fields.field("max_retry_attempts").number()?;
    replace(&mut given.max_retry_attempts, attempts);
    let timeout = millis(&fields, "answer_timeout")?;
    replace(&mut given.answer_timeout, timeout);
    let websocket = fields.field("use_websocket").bool()?;
    replace(&mut given.use_websocket, websocket);
    let interval = millis(&fields, "pull_interval")?;
    replace(&mut given.pull_interval, interval);
    if let Some(size) = fields.field("batch_size").number::<usize>()? {
        let size = size.try_into();
        given.batch_size = size.map_err(|_| refused("`batch_size` is at least 1"))?;
    }
    let plaintext = fields.field("allow_plaintext").bool()?;
    replace(&mut given.allow_plaintext, plaintext);
    for (name, strategy) in fields.field("collection_strategies").entries()? {
        let strategy = strategy.as_string().unwrap_or_default();
        let found = STRATEGIES.iter().find(|(known, _)| *known == strategy);
        let (_, strategy) = found.ok_or_else(|| {
            refused(&format!(
                "`collection_strategies.{name}` is no strategy: {strategy:?}"
            ))
        })?;
        given.collection_strategies.insert(name, *strategy);
    }
    let timeout = millis(&fields, "resolve_timeout")?;
    replace(&mut given.resolve_timeout, timeout);
    Ok(config)
}

/// Sets what was given.
fn replace<T>(field: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *field = given;
    }
}
