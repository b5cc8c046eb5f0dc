//! What a collection costs an application: reads, inserts with indexes, queries, live queries, opening. Each beside bare
//! redb, where there is such a thing, and beside SQLite with JSON.

mod contest;

use contest::{Shelf, Topic, Turns};

use crate::Outcome;
use crate::collections::{Indexes, Needle, Selected, System, Work};
use crate::documents::BATCH;
use crate::figure::{Row, Samples, Unit};
use crate::plan::Plan;

/// Documents of a range.
const RANGE: usize = 100;

/// How long it may take that a live query of any size tells of an edit, in milliseconds.
const LIVE_AIM: f64 = 0.2;

/// How long it may take to open a database of any size, in milliseconds.
const OPEN_AIM: f64 = 100.0;

/// How many times longer what does not depend on the size may take at ten or a hundred times the size.
const SAME: f64 = 1.5;

/// To be no slower than SQLite.
const AHEAD: Option<f64> = Some(1.0);

/// Times that the largest are read by an index in a run.
const TOPS_BY_INDEX: usize = 50;

pub(super) async fn rows(plan: &Plan) -> Outcome<Vec<Row>> {
    let shelf = Shelf::new(plan)?;
    let mut rows = Vec::new();
    if plan.wants("get") {
        rows.extend(get(&shelf).await?);
    }
    if plan.wants("indexes") {
        rows.extend(inserts(&shelf).await?);
    }
    if plan.wants("range") {
        rows.extend(range(&shelf).await?);
    }
    if plan.wants("scan") {
        rows.extend(scans(&shelf).await?);
    }
    if plan.wants("top") {
        rows.extend(tops(&shelf).await?);
    }
    if plan.wants("live") {
        rows.extend(live(&shelf).await?);
    }
    if plan.wants("live-many") {
        rows.extend(live_many(&shelf).await?);
    }
    if plan.wants("open") {
        rows.extend(opened(&shelf).await?);
    }
    Ok(rows)
}

fn fill_tasks(count: usize) -> Work {
    let indexes = Indexes::Due;
    Work::FillTasks { count, indexes }
}

async fn get(shelf: &Shelf<'_>) -> Outcome<Vec<Row>> {
    let (among, gets) = (shelf.plan.collection, shelf.plan.gets);
    let systems = [System::Pocket, System::Bare, System::Sqlite];
    let work = Work::Get { among, gets };
    let all = shelf
        .on_files(work, &systems, fill_tasks(among), "tasks")
        .await?;
    let topic = Topic {
        group: "get",
        what: format!("get by id among {among}, one after another"),
        unit: Unit::DocumentsPerSecond,
        bare: "the same keys and values",
        sqlite: "",
    };
    let row = topic.row(&all, |turns| turns.rate(gets as f64))?;
    Ok(std::iter::once(row).chain(topic.memory(&all)).collect())
}

async fn inserts(shelf: &Shelf<'_>) -> Outcome<Vec<Row>> {
    let count = shelf.plan.inserts;
    let mut rows = Vec::new();
    for (indexes, name) in [
        (Indexes::None, "no index"),
        (Indexes::Due, "1 index"),
        (Indexes::Three, "3 indexes: a field, two fields, an array"),
    ] {
        let systems = [System::Pocket, System::Bare, System::Sqlite];
        let work = Work::Insert { count, indexes };
        let all = shelf.without_files(work, &systems).await?;
        let topic = Topic {
            group: "indexes",
            what: format!("insert of {count}, {BATCH} at once, durable, {name}"),
            unit: Unit::DocumentsPerSecond,
            bare: "the very keys and values, the same batches",
            sqlite: "",
        };
        rows.push(topic.row(&all, |turns| turns.rate(count as f64))?);
        rows.extend(topic.memory(&all));
    }
    Ok(rows)
}

async fn range(shelf: &Shelf<'_>) -> Outcome<Vec<Row>> {
    let (among, ranges) = (shelf.plan.collection, shelf.plan.ranges);
    let systems = [System::Pocket, System::Bare, System::Sqlite];
    let work = Work::Range {
        among,
        length: RANGE,
        ranges,
    };
    let all = shelf
        .on_files(work, &systems, fill_tasks(among), "tasks")
        .await?;
    let topic = Topic {
        group: "range",
        what: format!("range of {RANGE} among {among} by an index, sorted"),
        unit: Unit::Milliseconds,
        bare: "gets of the same keys",
        sqlite: "",
    };
    let row = topic.row(&all, |turns| turns.each(ranges))?;
    Ok(std::iter::once(row).chain(topic.memory(&all)).collect())
}

async fn scans(shelf: &Shelf<'_>) -> Outcome<Vec<Row>> {
    let count = shelf.plan.collection;
    let indexes = Indexes::None;
    let systems = [
        System::Pocket,
        System::Bare,
        System::Sqlite,
        System::SqliteBinary,
    ];
    let mut rows = Vec::new();
    for (by, of) in [
        (Needle::Fields, "two fields"),
        (Needle::Element, "an element of an array"),
    ] {
        let fill = Work::FillCities { count, indexes };
        let work = Work::Scan { by };
        let all = shelf.on_files(work, &systems, fill, "cities").await?;
        let topic = |unit| Topic {
            group: "scan",
            what: format!("full scan of {count} cities by {of}"),
            unit,
            bare: "a look at every byte of the same entries",
            sqlite: "",
        };
        let in_documents = topic(Unit::DocumentsPerSecond);
        rows.push(in_documents.row(&all, |turns| turns.rate(count as f64))?);
        // Bare redb tells how many bytes Pocket's entries have; SQLite's have others.
        if let Some((_, [bare, ..])) = all.split_first() {
            let megabytes = bare.proof.count as f64 / 1e6;
            let in_bytes = topic(Unit::MegabytesPerSecond);
            rows.push(in_bytes.row(&all[..2], |turns| turns.rate(megabytes))?);
        }
        rows.extend(in_documents.memory(&all));
    }
    Ok(rows)
}

async fn tops(shelf: &Shelf<'_>) -> Outcome<Vec<Row>> {
    let count = shelf.plan.collection;
    let mut rows = Vec::new();
    let systems = [System::Pocket, System::Sqlite, System::SqliteBinary];
    for (indexes, times, name, file, systems) in [
        (
            Indexes::Population,
            TOPS_BY_INDEX,
            "with an index",
            "indexed cities",
            &systems[..2],
        ),
        (Indexes::None, 1, "without an index", "cities", &systems[..]),
    ] {
        let fill = Work::FillCities { count, indexes };
        let work = Work::Top { indexes, times };
        let all = shelf.on_files(work, systems, fill, file).await?;
        let topic = Topic {
            group: "top",
            what: format!("the 20 largest of {count} cities, {name}"),
            unit: Unit::Milliseconds,
            bare: "",
            sqlite: "",
        };
        rows.push(topic.row(&all, |turns| turns.each(times))?);
        rows.extend(topic.memory(&all));
    }
    Ok(rows)
}

async fn live(shelf: &Shelf<'_>) -> Outcome<Vec<Row>> {
    let (large, edits) = (shelf.plan.collection, shelf.plan.edits);
    let measured = async |count: usize, watched: bool, systems: &[System]| {
        let work = Work::Live {
            count,
            edits,
            watched,
        };
        shelf.without_files(work, systems).await
    };
    let all = measured(large, true, &[System::Pocket, System::Sqlite]).await?;
    let fewer = measured(large / 10, true, &[System::Pocket]).await?;
    let unwatched = measured(large, false, &[System::Pocket]).await?;
    let topic = Topic {
        group: "live",
        what: format!(
            "an edit that moves one of {large} sorted documents, until its live query tells it, in memory, p50"
        ),
        unit: Unit::Milliseconds,
        bare: "",
        sqlite: "the edit, then all ids in their order asked for again",
    };
    let mut row = topic.row(&all, Turns::middle)?;
    row = row.limit("what is aimed at", &Samples::exact(LIVE_AIM), Some(1.0));
    if let (Some(fewer), Some(unwatched)) = (fewer.first(), unwatched.first()) {
        let result = format!("Pocket: the same in a result of {}", large / 10);
        row = row.limit(result, &fewer.middle(), Some(SAME)).limit(
            "Pocket: the edit, with no live query",
            &unwatched.middle(),
            None,
        );
    }
    Ok(std::iter::once(row).chain(topic.memory(&all)).collect())
}

async fn live_many(shelf: &Shelf<'_>) -> Outcome<Vec<Row>> {
    let (count, edits) = (shelf.plan.collection, shelf.plan.edits);
    let mut rows = Vec::new();
    for (by, of) in [
        (Selected::Equality, "by a value each"),
        (Selected::Range, "by a range each"),
    ] {
        let measured = async |queries: usize, systems: &[System]| {
            let work = Work::LiveMany {
                count,
                queries,
                edits,
                by,
            };
            shelf.without_files(work, systems).await
        };
        let queries = shelf.plan.live_queries;
        let all = measured(queries, &[System::Pocket, System::Sqlite]).await?;
        let one = measured(1, &[System::Pocket]).await?;
        let topic = Topic {
            group: "live-many",
            what: format!(
                "an edit that concerns one of {queries} live queries on {count} documents, {of}, until it tells it, \
                 in memory, p50"
            ),
            unit: Unit::Milliseconds,
            bare: "",
            sqlite: "the edit, then the ids of all results asked for again",
        };
        let mut row = topic.row(&all, Turns::middle)?;
        if let Some(one) = one.first() {
            row = row.limit("Pocket: the only live query", &one.middle(), None);
        }
        rows.push(row);
        rows.extend(topic.memory(&all));
    }
    Ok(rows)
}

async fn opened(shelf: &Shelf<'_>) -> Outcome<Vec<Row>> {
    let [few, many] = shelf.plan.opened;
    let measured = async |count: usize, systems: &[System]| {
        let name = format!("{count} tasks to open");
        let work = Work::Open { count };
        shelf
            .on_files(work, systems, fill_tasks(count), &name)
            .await
    };
    let systems = [System::Pocket, System::Bare, System::Sqlite];
    let all = measured(many, &systems).await?;
    let fewer = measured(few, &systems[..1]).await?;
    let topic = Topic {
        group: "open",
        what: format!("opening a database of {many} and reading one document"),
        unit: Unit::Milliseconds,
        bare: "the same file",
        sqlite: "",
    };
    let time = |turns: &Turns| turns.each(1);
    let mut row = topic.row(&all, time)?;
    row = row.limit("what is aimed at", &Samples::exact(OPEN_AIM), Some(1.0));
    if let Some(fewer) = fewer.first() {
        let limit = format!("Pocket: the same of {few}");
        row = row.limit(limit, &time(fewer), Some(SAME));
    }
    Ok(std::iter::once(row).chain(topic.memory(&all)).collect())
}
