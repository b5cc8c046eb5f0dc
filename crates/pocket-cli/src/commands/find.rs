//! `pocket find`: the documents that match, how they are found, or how they change.

mod live;
mod words;

use pocket_core::{Collection, QuerySpec, SortField, Value, codes as core_codes};

use super::chosen;
use crate::args::{FindArgs, Global};
use crate::failure::{Failure, Result};
use crate::open;
use crate::output::{Output, json, object};

pub(super) use live::run as live;
pub(super) use words::{condition, sort};

pub(super) async fn run(global: &Global, args: FindArgs, out: &mut Output) -> Result {
    find(global, &args, out).await.map_err(of_query)
}

async fn find(global: &Global, args: &FindArgs, out: &mut Output) -> Result {
    let spec = spec(global, args).await?;
    let database = open::existing(global).await?;
    if args.explain || args.analyze {
        let collection = database.collection(&args.collection)?;
        explain(&collection, spec, args.analyze, out).await?;
    } else if let Some(collection) = open::collection(&database, &args.collection)? {
        if args.cursors {
            page(&collection, spec, out).await?;
        } else {
            all(&collection, spec, out).await?;
        }
    }
    out.flush()?;
    Ok(database.close().await?)
}

async fn all(collection: &Collection<Value>, spec: QuerySpec, out: &mut Output) -> Result {
    let query = collection.query(spec);
    let mut documents = query.stream();
    while let Some(document) = documents.next().await {
        out.line(json(&document?.to_map()?))?;
    }
    Ok(())
}

/// Prints how the query is carried out; with `analyze`, after running it.
async fn explain(
    collection: &Collection<Value>,
    spec: QuerySpec,
    analyze: bool,
    out: &mut Output,
) -> Result {
    let query = collection.query(spec);
    let plan = if analyze {
        query.analyze().await?
    } else {
        query.explain().await?
    };
    if !out.is_json() {
        return out.line(plan);
    }
    let plan =
        serde_json::to_string(&plan).map_err(|error| Failure::new(core_codes::BAD_QUERY, error))?;
    out.line(plan)
}

/// Prints the documents and, on stderr, how to go on from them.
async fn page(collection: &Collection<Value>, spec: QuerySpec, out: &mut Output) -> Result {
    let page = collection.query(spec).page().await?;
    for document in page.documents {
        out.line(document.to_json_string()?)?;
    }
    out.flush()?;
    let (Some(start), Some(end)) = (page.start, page.end) else {
        return Ok(());
    };
    let (start, end) = (start.to_string(), end.to_string());
    if out.is_json() {
        out.told(&object([
            ("start", Value::from(start)),
            ("end", Value::from(end)),
        ]));
    } else {
        out.note(format_args!(
            "behind these: --after {end}\nbefore these: --before {start}"
        ));
    }
    Ok(())
}

/// The query that the options describe. Nothing was opened yet.
async fn spec(global: &Global, args: &FindArgs) -> Result<QuerySpec> {
    let mut spec = QuerySpec::default();
    spec.filter = chosen::filter(global, &args.chosen).await?;
    for text in &args.sort {
        let (path, order) = sort("--sort", text)?;
        spec.sort.push(SortField::new(path, order));
    }
    let cursor = |option: &str, text: &Option<String>| {
        let text = text.as_ref();
        text.map(|text| text.parse().map_err(bad_query(option)))
            .transpose()
    };
    spec.after = cursor("--after", &args.after)?;
    spec.before = cursor("--before", &args.before)?;
    spec.skip = args.skip.unwrap_or(0);
    spec.limit = args.limit;
    spec.include.clone_from(&args.include);
    spec.exclude.clone_from(&args.exclude);
    // Also where there is no such collection.
    spec.check().map_err(|error| of_query(error.into()))?;
    Ok(spec)
}

/// A query that is wrong is a wrong command line.
pub(super) fn bad_query(option: &str) -> impl Fn(pocket_core::Error) -> Failure {
    let option = option.to_owned();
    move |error| of_query(Failure::from(error).at(&option))
}

/// The failure of a command line, if it is one of a query.
pub(super) fn of_query(failure: Failure) -> Failure {
    match failure.code() {
        core_codes::BAD_QUERY => failure.of_usage(),
        _ => failure,
    }
}
