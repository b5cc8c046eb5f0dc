//! `pocket status`: what is pending, how far sync is, and what there is.

use pocket_core::replica::{Checkpoint, Replica, ReplicaState};
use pocket_core::{Binding, Database, Map, Target, Value};

use crate::args::Global;
use crate::directory::Directory;
use crate::failure::Result;
use crate::open;
use crate::output::{Output, counted, grouped, json, object};

pub(super) async fn run(global: &Global, out: &mut Output) -> Result {
    let directory = open::client_directory(global)?;
    let place = Place::of(&directory);
    let database = open::existing(global).await?;
    let replica = Replica::new(&database, Target::DEFAULT);
    let (state, left_out) = (replica.state().await?, replica.left_out().await?);
    let collections = collections(&database).await?;
    if out.is_json() {
        out.line(json(&report(&place, &state, left_out, &collections)))?;
    } else {
        for line in lines(&place, &state, left_out, &collections) {
            out.line(line)?;
        }
    }
    Ok(database.close().await?)
}

struct Place {
    path: String,
    storage: &'static str,
}

impl Place {
    fn of(directory: &Directory) -> Self {
        Self {
            path: directory.path().display().to_string(),
            storage: directory.storage().name(),
        }
    }
}

struct Counted {
    name: String,
    sync: bool,
    documents: u64,
}

async fn collections(database: &Database) -> Result<Vec<Counted>> {
    let mut all = Vec::new();
    for config in database.list_collections() {
        let documents = database.collection::<Value>(&config.name)?.count().await?;
        all.push(Counted {
            name: config.name,
            sync: config.sync,
            documents,
        });
    }
    Ok(all)
}

fn report(place: &Place, state: &ReplicaState, left_out: u64, collections: &[Counted]) -> Map {
    let collection = |collection: &Counted| {
        Value::Map(object([
            ("name", Value::from(collection.name.as_str())),
            ("sync", Value::from(collection.sync)),
            ("documents", Value::from(collection.documents)),
        ]))
    };
    object([
        ("db", Value::from(place.path.as_str())),
        ("role", Value::from("client")),
        ("storage", Value::from(place.storage)),
        ("client", Value::from(state.client.to_string())),
        ("pending", Value::from(state.pending)),
        ("left_out", Value::from(left_out)),
        ("open_conflicts", Value::from(state.open_conflicts)),
        (
            "last_sync_at",
            state.last_sync_at.map(|time| time.to_string()).into(),
        ),
        ("bound_to", state.binding.as_ref().map(binding).into()),
        ("checkpoint", checkpoint(&state.checkpoint).into()),
        ("collections", collections.iter().map(collection).collect()),
    ])
}

fn binding(binding: &Binding) -> Map {
    object([
        ("lineage", Value::from(binding.lineage.to_string())),
        ("namespace", Value::from(binding.namespace.as_str())),
        ("user", Value::from(binding.user.as_str())),
    ])
}

/// Null before the first page.
fn checkpoint(checkpoint: &Checkpoint) -> Option<Map> {
    let epoch = checkpoint.epoch?;
    let joining = checkpoint.joining.iter().map(|joining| {
        Value::Map(object([
            ("collection", Value::from(joining.collection.as_str())),
            ("seq", Value::from(joining.position.get())),
        ]))
    });
    Some(object([
        ("epoch", Value::from(epoch.to_string())),
        ("seq", Value::from(checkpoint.seq.get())),
        ("joining", joining.collect()),
    ]))
}

fn lines(
    place: &Place,
    state: &ReplicaState,
    left_out: u64,
    collections: &[Counted],
) -> Vec<String> {
    let waits = match left_out {
        0 => String::new(),
        _ => format!(
            ", {} of them in collections that the last sync left out",
            grouped(left_out)
        ),
    };
    let mut lines = vec![
        format!(
            "database     {} ({}), client {}",
            place.path, place.storage, state.client
        ),
        format!("pending      {}{waits}", counted(state.pending, "change")),
        format!(
            "conflicts    {} open in the journal",
            grouped(state.open_conflicts)
        ),
        match &state.last_sync_at {
            Some(time) => format!("last sync    {time}"),
            None => "last sync    never".to_owned(),
        },
        match &state.binding {
            Some(bound) => format!(
                "bound to     server {}, namespace {}, user {}",
                bound.lineage, bound.namespace, bound.user
            ),
            None => "bound to     no server yet".to_owned(),
        },
        match &state.checkpoint.epoch {
            Some(epoch) => format!("checkpoint   {} of epoch {epoch}", state.checkpoint.seq),
            None => "checkpoint   nothing read yet".to_owned(),
        },
    ];
    for joining in &state.checkpoint.joining {
        lines.push(format!(
            "joining      {}, read up to {}",
            joining.collection, joining.position
        ));
    }
    if collections.is_empty() {
        lines.push("collections  none yet".to_owned());
    }
    let widest = collections
        .iter()
        .map(|collection| collection.name.len())
        .max()
        .unwrap_or(0);
    for (place, collection) in collections.iter().enumerate() {
        let head = if place == 0 { "collections" } else { "" };
        let kept = if collection.sync { "" } else { ", local only" };
        lines.push(format!(
            "{head:<11}  {:<widest$}  {}{kept}",
            collection.name,
            counted(collection.documents, "document")
        ));
    }
    lines
}
