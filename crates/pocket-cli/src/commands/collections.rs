//! `pocket collections`: what there is, what syncs, and switching that.

use pocket_core::replica::Replica;
use pocket_core::{CollectionConfig, CollectionName, Database, Target, Ttl, Value};

use crate::args::{CollectionsAction, CollectionsArgs, CollectionsSetArgs, Global};
use crate::failure::Result;
use crate::open;
use crate::output::{Output, counted, json, object};

pub(super) async fn run(global: &Global, args: CollectionsArgs, out: &mut Output) -> Result {
    match args.action.unwrap_or(CollectionsAction::List) {
        CollectionsAction::List => list(global, out).await,
        CollectionsAction::Set(args) => set(global, &args, out).await,
    }
}

async fn list(global: &Global, out: &mut Output) -> Result {
    let database = open::existing(global).await?;
    let pending = Replica::new(&database, Target::DEFAULT)
        .pending_by_collection()
        .await?;
    for config in database.list_collections() {
        let name = CollectionName::new(&config.name)?;
        let collection = database.collection::<Value>(&config.name)?;
        let documents = collection.count().await?;
        let indexes = collection.indexes();
        let pending = pending.get(&name).copied().unwrap_or(0);
        if out.is_json() {
            out.line(json(&object([
                ("name", Value::from(config.name.as_str())),
                ("sync", Value::from(config.sync)),
                ("documents", Value::from(documents)),
                ("pending", Value::from(pending)),
                (
                    "indexes",
                    indexes
                        .iter()
                        .map(|index| Value::from(index.config.name()))
                        .collect(),
                ),
                ("ttl", config.ttl.as_ref().map(life).into()),
            ])))?;
        } else {
            let kept = if config.sync { "syncs" } else { "local only" };
            let mut parts = vec![
                kept.to_owned(),
                counted(documents, "document"),
                format!("{} not settled", counted(pending, "change")),
            ];
            match indexes.len() {
                0 => {}
                1 => parts.push("1 index".to_owned()),
                several => parts.push(format!("{several} indexes")),
            }
            if let Some(ttl) = &config.ttl {
                let since = ttl.field().unwrap_or("the last write");
                parts.push(format!("documents live {:?} from {since}", ttl.after()));
            }
            out.line(format_args!("{}  {}", config.name, parts.join(", ")))?;
        }
    }
    Ok(database.close().await?)
}

/// A time to live, as a dump has it.
fn life(ttl: &Ttl) -> Value {
    let millis = u64::try_from(ttl.after().as_millis()).unwrap_or(u64::MAX);
    Value::Map(object([
        ("field", ttl.field().into()),
        ("after_ms", Value::from(millis)),
    ]))
}

async fn set(global: &Global, args: &CollectionsSetArgs, out: &mut Output) -> Result {
    let name = CollectionName::new(&args.name)?;
    let database = open::database(global).await?;
    let before = pending(&database, &name).await?;
    let mut config =
        open::settings(&database, &args.name).unwrap_or_else(|| CollectionConfig::new(&args.name));
    config.sync = args.way.sync;
    database.create_collection(config).await?;
    let after = pending(&database, &name).await?;
    let told = object([
        ("name", Value::from(args.name.as_str())),
        ("sync", Value::from(args.way.sync)),
        ("pending", Value::from(after)),
    ]);
    let text = if args.way.sync {
        format!("{name} syncs, {} to be sent", counted(after, "change"))
    } else {
        format!(
            "{name} stays on this device, {} will not be sent",
            counted(before.saturating_sub(after), "change")
        )
    };
    out.either(&told, text)?;
    Ok(database.close().await?)
}

/// Mutations of the outbox that touch this collection.
pub(crate) async fn pending(database: &Database, name: &CollectionName) -> Result<u64> {
    let replica = Replica::new(database, Target::DEFAULT);
    let all = replica.pending_by_collection().await?;
    Ok(all.get(name).copied().unwrap_or(0))
}
