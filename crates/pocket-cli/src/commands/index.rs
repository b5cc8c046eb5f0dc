//! `pocket index`: indexes of a collection.

use pocket_core::{
    Collection, Filter, IndexConfig, IndexInfo, IndexState, Map, Order, Value, codes as core_codes,
};
use tokio::time::Instant;

use super::find::{bad_query, sort};
use crate::args::{Global, IndexAction, IndexArgs, IndexCreateArgs, IndexDropArgs, IndexListArgs};
use crate::failure::{Failure, Result};
use crate::open;
use crate::output::{Output, counted, json, object};
use crate::progress::{Shown, Unit};

pub(super) async fn run(global: &Global, args: IndexArgs, out: &mut Output) -> Result {
    match args.action {
        IndexAction::Create(args) => create(global, args, out).await,
        IndexAction::List(args) => list(global, args, out).await,
        IndexAction::Drop(args) => drop_one(global, args, out).await,
    }
}

async fn create(global: &Global, args: IndexCreateArgs, out: &mut Output) -> Result {
    let config = config(&args)?;
    let name = config.name();
    let began = Instant::now();
    let database = open::existing_without_indexes(global).await?;
    let collection = database.collection::<Value>(&args.collection)?;
    let before = collection.indexes();
    let was_ready = before
        .iter()
        .any(|info| info.config.name() == name && info.state == IndexState::Ready);
    let mut building = collection.build_index(config);
    let mut shown = None;
    let mut documents = 0;
    while let Some(progress) = building.next().await {
        let progress = progress?;
        documents = progress.done;
        if !progress.ready {
            shown
                .get_or_insert_with(|| {
                    Shown::new(Unit::Documents, "indexing", progress.total, global)
                })
                .at(progress.done);
        }
    }
    drop((building, shown));
    let info = named(&collection, &name)?;
    let seconds = began.elapsed().as_secs_f64();
    let mut told = report(&args.collection, &info);
    told.insert("documents".to_owned(), Value::from(documents));
    told.insert("seconds".to_owned(), Value::from(seconds));
    let text = if was_ready {
        format!("index {name} of {} is there already", args.collection)
    } else {
        format!(
            "index {name} of {} is ready, {} read in {seconds:.2} s",
            args.collection,
            counted(documents, "document")
        )
    };
    tell(&told, &info.config, text, out)?;
    Ok(database.close().await?)
}

async fn list(global: &Global, args: IndexListArgs, out: &mut Output) -> Result {
    let database = open::existing_without_indexes(global).await?;
    let names = if let Some(name) = args.collection {
        vec![name]
    } else {
        let all = database.list_collections().into_iter();
        all.map(|config| config.name).collect()
    };
    let mut rows = Vec::new();
    for name in names {
        for info in database.collection::<Value>(&name)?.indexes() {
            if out.is_json() {
                out.line(as_json(&report(&name, &info), &info.config)?)?;
            } else {
                rows.push(row(&name, &info)?);
            }
        }
    }
    table(&rows, out)?;
    Ok(database.close().await?)
}

async fn drop_one(global: &Global, args: IndexDropArgs, out: &mut Output) -> Result {
    let database = open::existing_without_indexes(global).await?;
    let collection = database.collection::<Value>(&args.collection)?;
    let info = named(&collection, &args.name)?;
    collection.drop_index(&args.name).await?;
    let mut told = report(&args.collection, &info);
    told.insert("state".to_owned(), Value::from("dropped"));
    let text = format!("index {} of {} is dropped", args.name, args.collection);
    tell(&told, &info.config, text, out)?;
    Ok(database.close().await?)
}

fn tell(report: &Map, config: &IndexConfig, text: String, out: &mut Output) -> Result {
    if out.is_json() {
        out.line(as_json(report, config)?)
    } else {
        out.line(text)
    }
}

fn config(args: &IndexCreateArgs) -> Result<IndexConfig> {
    let mut fields = args.fields.iter().map(|text| sort("field", text));
    let (first, order) = fields
        .next()
        .unwrap_or_else(|| Err(Failure::usage("an index needs a field")))?;
    let mut config = IndexConfig::ordered(first, order);
    for field in fields {
        let (field, order) = field?;
        config = config.then(field, order);
    }
    config.unique = args.unique;
    config.sparse = args.sparse;
    if let Some(only) = &args.only {
        config = config.only(Filter::from_json_str(only).map_err(bad_query("--only"))?);
    }
    config.name.clone_from(&args.name);
    Ok(config)
}

/// An index, or an error that says which ones there are.
fn named(collection: &Collection<Value>, name: &str) -> Result<IndexInfo> {
    let all = collection.indexes();
    let found = all.iter().find(|info| info.config.name() == name);
    found.cloned().ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|info| info.config.name()).collect();
        let known = match known.as_slice() {
            [] => "it has none".to_owned(),
            known => format!("it has {}", known.join(", ")),
        };
        Failure::new(
            core_codes::INDEX_NOT_FOUND,
            format!("`{}` has no index {name:?}; {known}", collection.name()),
        )
    })
}

fn state(info: &IndexInfo) -> &'static str {
    match info.state {
        IndexState::Ready => "ready",
        _ => "building",
    }
}

fn direction(order: Order) -> &'static str {
    match order {
        Order::Ascending => "asc",
        Order::Descending => "desc",
    }
}

/// What is said of an index, but for its filter: operators are no keys that a value may have.
fn report(collection: &str, info: &IndexInfo) -> Map {
    let config = &info.config;
    let fields = config.fields.iter().map(|(field, order)| {
        Value::Map(object([
            ("field", Value::from(field.as_str())),
            ("order", Value::from(direction(*order))),
        ]))
    });
    object([
        ("collection", Value::from(collection)),
        ("name", Value::from(config.name())),
        ("state", Value::from(state(info))),
        ("fields", Value::from(fields.collect::<Vec<_>>())),
        ("unique", Value::from(config.unique)),
        ("sparse", Value::from(config.sparse)),
    ])
}

/// A report with the filter as the object that it is.
fn as_json(report: &Map, config: &IndexConfig) -> Result<String> {
    let only = config.only.as_ref().map(Filter::to_json_string);
    let only = only.transpose()?.unwrap_or_else(|| "null".to_owned());
    let report = json(report);
    let fields = report.strip_suffix('}').unwrap_or(&report);
    Ok(format!("{fields},\"only\":{only}}}"))
}

fn row(collection: &str, info: &IndexInfo) -> Result<[String; 5]> {
    let config = &info.config;
    let fields = config.fields.iter().map(|(field, order)| match order {
        Order::Ascending => field.clone(),
        Order::Descending => format!("{field}:desc"),
    });
    let mut options = Vec::new();
    if config.unique {
        options.push("unique".to_owned());
    }
    if config.sparse {
        options.push("sparse".to_owned());
    }
    if let Some(only) = &config.only {
        options.push(format!("only {}", only.to_json_string()?));
    }
    Ok([
        collection.to_owned(),
        config.name(),
        state(info).to_owned(),
        fields.collect::<Vec<_>>().join(" "),
        options.join(", "),
    ])
}

/// Prints rows with their columns one below the other.
fn table(rows: &[[String; 5]], out: &mut Output) -> Result {
    let mut widths = [0; 5];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let cells = row.iter().zip(widths);
        let line: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        out.line(line.join("  ").trim_end())?;
    }
    Ok(())
}
