//! What is shown to who looks after a server.

use std::collections::HashMap;

use pocket_core::{CollectionName, DocumentId, Map, RecordState, Seq, Value};

use super::{Answer, Refusal, object};
use crate::SyncServer;
use crate::engine::{EngineError, ReadRequest};
use crate::rules::Authority;

/// Records of the feed that are shown at once.
const SHOWN: usize = 100;

/// Records that are looked at to count or to search; beyond that it is said that there are more.
pub(super) const LOOKED_AT: usize = 200_000;

/// Documents that a search finds at the most.
const FOUND: usize = 50;

pub(super) fn connected(server: &SyncServer) -> Value {
    let client = |info: crate::ClientInfo| {
        Value::Map(object([
            ("client", info.client.to_string().into()),
            ("user", Value::from(&*info.user)),
            ("namespace", Value::from(info.namespace.as_str())),
            ("since", info.since.to_string().into()),
            ("position", info.position.get().into()),
            ("lag", info.lag.into()),
        ]))
    };
    server.clients().into_iter().map(client).collect()
}

pub(super) async fn overview(server: &SyncServer) -> Answer {
    let mut namespaces = Vec::new();
    let all = server.inner.engine.namespaces().await?;
    server.inner.counts.keep(&all);
    for namespace in all {
        // None is opened by being looked at.
        let Some(head) = server.inner.engine.stored_head(&namespace).await? else {
            continue;
        };
        let counted = server.inner.counted(&namespace, head).await?;
        let collections = counted.documents.iter().map(|(name, count)| {
            Value::Map(object([
                ("name", Value::from(name.as_str())),
                ("documents", (*count).into()),
            ]))
        });
        namespaces.push(Value::Map(object([
            ("name", Value::from(namespace.as_str())),
            ("head", head.get().into()),
            ("whole", counted.is_whole.into()),
            ("collections", collections.collect()),
        ])));
    }
    let totals = server.inner.metrics.totals();
    let codes = |codes: std::collections::BTreeMap<String, u64>| {
        let codes = codes
            .into_iter()
            .map(|(code, count)| (code, Value::from(count)));
        Value::Map(codes.collect())
    };
    let recent = server.inner.metrics.recent().into_iter().map(|one| {
        Value::Map(object([
            ("time", one.time.to_string().into()),
            ("namespace", Value::from(one.namespace.as_str())),
            ("user", one.user.into()),
            ("client", one.client.into()),
            ("code", one.code.into()),
            ("reason", one.reason.into()),
            ("document", one.document.into()),
        ]))
    });
    let gauges = server.gauges();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Ok(object([
        ("version", Value::from(env!("CARGO_PKG_VERSION"))),
        ("time", server.inner.env.now().to_string().into()),
        ("ready", gauges.ready.into()),
        ("connections", count(gauges.connections).into()),
        ("clients", connected(server)),
        ("namespaces", Value::Array(namespaces)),
        ("pushes", totals.pushes.into()),
        ("applied", totals.applied.into()),
        ("conflicts", totals.conflicts.into()),
        ("rejected", codes(totals.rejected)),
        ("errors", codes(totals.errors)),
        ("received_bytes", totals.received_bytes.into()),
        ("sent_bytes", totals.sent_bytes.into()),
        ("recent", recent.collect()),
    ]))
}

/// The newest stretch of a feed, or what is behind `after`.
pub(super) async fn newest(server: &SyncServer, asked: &HashMap<String, String>) -> Answer {
    let namespace = server.known(asked.get("namespace")).await?;
    let engine = &server.inner.engine;
    let head = engine.head(&namespace).await?;
    let from = head.get().saturating_sub(SHOWN as u64);
    let after = asked.get("after").and_then(|after| after.parse().ok());
    let after = after.map_or(from, |after: u64| after.max(from));
    let page = engine
        .changes(&namespace, &server.inner.reading(Seq::new(after)))
        .await?;
    let mut records = Vec::new();
    for record in &page.records {
        records.push(described(record)?.into());
    }
    Ok(object([
        ("head", page.head.get().into()),
        ("records", Value::Array(records)),
    ]))
}

/// A record without its content.
fn described(record: &pocket_sync_protocol::EncodedRecord) -> Result<Map, Refusal> {
    let record = record
        .decode()
        .map_err(|error| EngineError::Fatal(error.to_string()))?;
    let state = match &record.state {
        RecordState::Live(_) => "live",
        RecordState::Deleted => "deleted",
        RecordState::Erased => "erased",
    };
    let size = record.state.body().map(|body| body.len() as u64);
    Ok(object([
        ("seq", record.seq.get().into()),
        ("collection", Value::from(record.collection.as_str())),
        ("id", Value::from(record.id.as_str())),
        ("rev", record.rev.to_string().into()),
        ("state", Value::from(state)),
        ("bytes", size.into()),
    ]))
}

pub(super) async fn one(server: &SyncServer, asked: &HashMap<String, String>) -> Answer {
    let namespace = server.known(asked.get("namespace")).await?;
    let collection = asked.get("collection");
    let collection = collection.and_then(|name| CollectionName::new(name).ok());
    let id = asked.get("id").and_then(|id| DocumentId::new(id).ok());
    let (Some(collection), Some(id)) = (collection, id) else {
        return Err(Refusal::NotFound);
    };
    let key = crate::decide::DocumentKey { collection, id };
    let engine = &server.inner.engine;
    let fetched = engine.fetch(&namespace, &[key], &Authority::open()).await?;
    let record = fetched.records.first().ok_or(Refusal::NotFound)?;
    let mut shown = described(record)?;
    let record = record
        .decode()
        .map_err(|error| EngineError::Fatal(error.to_string()))?;
    let content = record.state.body().map(pocket_core::Body::to_map);
    let content = content.transpose().map_err(EngineError::from)?;
    // As text: numbers stay as they are, whatever the reader makes of JSON's.
    let content = content.map(|map| Value::Map(map).to_json_string());
    let content = content.transpose().map_err(EngineError::from)?;
    shown.insert("content", content);
    Ok(shown)
}

pub(super) async fn found(server: &SyncServer, asked: &HashMap<String, String>) -> Answer {
    let namespace = server.known(asked.get("namespace")).await?;
    let wanted = asked.get("id").map_or("", String::as_str);
    let mut records = Vec::new();
    let mut after = Seq::ZERO;
    let mut looked_at = 0;
    let is_whole = loop {
        let page = server
            .inner
            .engine
            .changes(&namespace, &server.inner.reading(after))
            .await?;
        for record in &page.records {
            looked_at += 1;
            let id = record.decode().map(|record| record.id);
            if id.is_ok_and(|id| id.as_str().contains(wanted)) && records.len() < FOUND {
                records.push(described(record)?.into());
            }
        }
        after = page.end;
        if page.end >= page.head {
            break true;
        }
        if looked_at >= LOOKED_AT || records.len() >= FOUND {
            break false;
        }
    };
    Ok(object([
        ("records", Value::Array(records)),
        ("whole", is_whole.into()),
    ]))
}

impl crate::server::Inner {
    /// A stretch of the feed behind a place, as nobody's eyes in particular.
    pub(super) fn reading(&self, after: Seq) -> ReadRequest {
        ReadRequest {
            after,
            until: None,
            live_until: None,
            told: Seq::ZERO,
            collections: std::sync::Arc::default(),
            records: self.config.limits.page_records,
            bytes: self.config.limits.wire.message_bytes,
            authority: Authority::open(),
            digests: false,
        }
    }
}
