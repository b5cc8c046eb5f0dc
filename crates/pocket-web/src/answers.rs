//! What an application asks about, as the JSON that JavaScript gets.

use pocket_core::replica::{Checkpoint, Wiped};
use pocket_core::{
    CollectionConfig, ConflictStrategy, DatabaseStats, Filter, IndexConfig, IndexInfo, IndexState,
    Order, PlanAccess, PlanOrder, QueryPlan,
};
use pocket_sync_client::Snapshot;
use wasm_bindgen::JsValue;

use crate::json::{Built, millis, shown, written};

/// The settings of collections as JSON.
pub(crate) fn collections_json(configs: &[CollectionConfig]) -> String {
    list(configs, |config| {
        let ttl = config.ttl.as_ref().map(|ttl| {
            let after = u64::try_from(ttl.after().as_millis()).unwrap_or(u64::MAX);
            Built::default()
                .with_some("field", ttl.field())
                .with_number("afterMs", after)
        });
        let strategy = config.conflict_strategy.map(ConflictStrategy::as_str);
        let indexes: js_sys::Array = config
            .indexes
            .iter()
            .map(|index| JsValue::from(built(index)))
            .collect();
        Built::default()
            .with("name", config.name.as_str())
            .with("sync", config.sync)
            .with("indexes", indexes)
            .with_some("conflictStrategy", strategy)
            .with_some("ttl", ttl)
    })
}

/// Indexes, and whether they are ready, as JSON.
pub(crate) fn indexes_json(indexes: &[IndexInfo]) -> String {
    list(indexes, |index| {
        built(&index.config).with("ready", index.state == IndexState::Ready)
    })
}

fn list<T>(items: &[T], built: impl Fn(&T) -> Built) -> String {
    let items = items.iter().map(|item| JsValue::from(built(item)));
    written(items.collect::<js_sys::Array>())
}

fn built(index: &IndexConfig) -> Built {
    let fields = index.fields.iter().map(|(field, order)| {
        let order = if *order == Order::Ascending {
            "asc"
        } else {
            "desc"
        };
        JsValue::from(
            Built::default()
                .with("field", field.as_str())
                .with("order", order),
        )
    });
    Built::default()
        .with_some("name", index.name.as_deref())
        .with("fields", fields.collect::<js_sys::Array>())
        .with("unique", index.unique)
        .with("sparse", index.sparse)
        .with_some("filter", index.only.as_ref().map(filter))
}

/// A filter that was read can be written.
fn filter(filter: &Filter) -> JsValue {
    filter
        .to_value()
        .map_or(JsValue::NULL, |value| shown(&value))
}

/// A plan as JSON, with the names and kinds of `QueryPlan` in Rust.
pub(crate) fn plan_json(plan: &QueryPlan) -> String {
    let order = match &plan.order {
        PlanOrder::Top { sort, kept } => kind("top")
            .with("sort", sort.as_str())
            .with_number("kept", *kept as u64),
        PlanOrder::Sort { sort } => kind("sort").with("sort", sort.as_str()),
        _ => kind("read"),
    };
    let figures = plan.figures.map(|figures| {
        Built::default()
            .with_number("index_entries", figures.index_entries)
            .with_number("documents_read", figures.documents_read)
            .with_number("documents_returned", figures.documents_returned)
            .with_number("bytes_read", figures.bytes_read)
            .with_number("store_calls", figures.store_calls)
    });
    let built = Built::default()
        .with("collection", plan.collection.as_str())
        .with("access", access(&plan.access))
        .with("filter", filter(&plan.filter))
        .with("order", order)
        .with_number("skip", plan.skip as u64);
    let built = match plan.limit {
        Some(limit) => built.with_number("limit", limit as u64),
        None => built.with("limit", JsValue::NULL),
    };
    written(built.with_some("figures", figures))
}

fn kind(kind: &str) -> Built {
    Built::default().with("kind", kind)
}

fn access(plan: &PlanAccess) -> Built {
    let parts = |of: &[PlanAccess]| -> js_sys::Array {
        of.iter().map(|part| JsValue::from(access(part))).collect()
    };
    match plan {
        PlanAccess::Ids { ids } => kind("ids").with_number("ids", *ids as u64),
        PlanAccess::Index {
            index,
            bounds,
            entries,
        } => kind("index")
            .with("index", index.as_str())
            .with("bounds", filter(bounds))
            .with_number("entries", *entries as u64),
        PlanAccess::Intersection { of, ids } => kind("intersection")
            .with("of", parts(of))
            .with_number("ids", *ids as u64),
        PlanAccess::Union { of, ids } => kind("union")
            .with("of", parts(of))
            .with_number("ids", *ids as u64),
        PlanAccess::IndexOrder {
            index,
            bounds,
            backward,
        } => {
            let bounds = (*bounds != Filter::all()).then(|| filter(bounds));
            kind("index-order")
                .with("index", index.as_str())
                .with_some("bounds", bounds)
                .with("backward", *backward)
        }
        PlanAccess::IdRange { backward } => kind("id-range").with("backward", *backward),
        PlanAccess::FullScan { backward } => kind("full-scan").with("backward", *backward),
        // A way that this file does not know yet.
        _ => kind("unknown"),
    }
}

/// Figures about a database as JSON.
pub(crate) fn stats_json(stats: &DatabaseStats) -> String {
    written(
        Built::default()
            .with_number("sequence", stats.sequence.get())
            .with_number("pendingChanges", stats.pending_changes)
            .with_number("openConflicts", stats.open_conflicts)
            .with_number("collections", stats.collections as u64)
            .with_number("liveQueries", stats.live_queries as u64),
    )
}

/// How sync stands, as JSON.
pub(crate) fn snapshot_json(snapshot: &Snapshot) -> String {
    let (stats, progress) = (&snapshot.stats, &snapshot.progress);
    let last_error = stats.last_error.as_ref().map(|error| {
        Built::default()
            .with("code", error.code())
            .with("message", error.message())
            .with("retryable", error.is_retryable())
    });
    let stats = Built::default()
        .with_number("pushCount", stats.push_count)
        .with_number("pullCount", stats.pull_count)
        .with_number("conflictCount", stats.conflict_count)
        .with_number("rejectedCount", stats.rejected_count)
        .with_number("resentCount", stats.resent_count)
        .with_number("differenceCount", stats.difference_count)
        .with_number("pendingCount", stats.pending)
        .with_number("undecidedCount", stats.undecided)
        .with_number("openConflicts", stats.open_conflicts)
        .with("journalOverfull", stats.journal_overfull)
        .with_number("leftOutCount", stats.left_out)
        .with(
            "lastSyncAt",
            stats.last_sync_at.map_or(JsValue::NULL, millis),
        )
        .with("lastError", last_error.map_or(JsValue::NULL, Into::into));
    let progress = Built::default()
        .with_number("pushLeft", progress.push_left)
        .with_number("pullLeft", progress.pull_left)
        .with("firstSyncComplete", progress.first_sync_complete)
        .with("resyncing", progress.resyncing);
    written(
        Built::default()
            .with("status", snapshot.status.as_str())
            .with("stats", stats)
            .with("progress", progress),
    )
}

/// How far a server's feed is read, as JSON.
pub(crate) fn checkpoint_json(checkpoint: &Checkpoint) -> String {
    let epoch = checkpoint.epoch.map(|epoch| epoch.to_string());
    written(
        Built::default()
            .with("epoch", epoch.map_or(JsValue::NULL, Into::into))
            .with_number("seq", checkpoint.seq.get())
            .with("resyncing", checkpoint.resyncing),
    )
}

/// What a wipe removed, as JSON.
pub(crate) fn wiped_json(wiped: &Wiped) -> String {
    written(
        Built::default()
            .with_number("documents", wiped.documents)
            .with_number("pending", wiped.pending)
            .with_number("journaled", wiped.journaled),
    )
}
