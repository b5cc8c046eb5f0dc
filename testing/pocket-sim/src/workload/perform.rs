//! The calls of the database that operations make.

use pocket_core::{Collection, Database, Error, Map, Timestamp, Value, codes};

use super::{Form, KILLER, KILLER_PADDING, Plan, Readers};
use crate::audit::{Before, DocKey, WriteId, WriteKind};
use crate::expiry::{Ends, UNTIL};
use crate::schemas::{padding_of, put_shape};

/// A document or a patch that carries a write.
fn fields(id: WriteId, plan: &Plan, whole: bool) -> Value {
    let mut map = Map::new();
    if whole {
        map.insert("_id", Value::from(plan.key.id.as_str()));
    }
    match plan.team {
        Some(Readers::Team(team)) => drop(map.insert("team", Value::from(i64::from(team)))),
        Some(Readers::Everybody) => drop(map.insert("team", Value::from(-1_i64))),
        None => {}
    }
    map.insert(format!("u{id}"), Value::Bool(true));
    map.insert("top", Value::from(i64::try_from(id).unwrap_or(0)));
    let padding = match plan.padding {
        KILLER_PADDING => KILLER.to_owned(),
        padding => "x".repeat(padding),
    };
    map.insert(padding_of(plan.program), Value::from(padding.as_str()));
    if whole {
        put_shape(&mut map, plan.program);
    }
    match plan.ends {
        Ends::At(ends) => {
            map.insert(UNTIL, Value::Timestamp(Timestamp::from_millis(ends)));
        }
        Ends::Never | Ends::AsBefore => {}
    }
    Value::Map(map)
}

pub(super) async fn perform(
    db: &Database,
    work: &[(Plan, WriteId)],
    form: Form,
) -> Result<(), Error> {
    let collection = |key: &DocKey| db.collection::<Value>(key.collection.as_str());
    if form == Form::Transaction {
        let mut tx = db.transaction();
        for (plan, id) in work {
            let documents = collection(&plan.key)?;
            let text = plan.key.id.as_str();
            let found = tx.get(&documents, text).await?;
            if ids_in(found.as_ref()) != live_ids(&plan.before) {
                // What was planned stands on something else by now; the book must stay right.
                return Err(Error::new(
                    codes::TRANSACTION_CONFLICT,
                    "it changed before it was read",
                ));
            }
            match plan.kind {
                WriteKind::Insert => {
                    drop(tx.insert(&documents, &fields(*id, plan, true))?);
                }
                WriteKind::Upsert => {
                    drop(tx.upsert(&documents, &fields(*id, plan, true))?);
                }
                WriteKind::Update => {
                    tx.update(&documents, text, &fields(*id, plan, false))?;
                }
                WriteKind::Delete => tx.delete(&documents, text)?,
                WriteKind::Erase => tx.hard_delete(&documents, text)?,
            }
        }
        return tx.commit().await;
    }
    let Some((first, id)) = work.first() else {
        return Ok(());
    };
    let documents: Collection<Value> = collection(&first.key)?;
    let values: Vec<Value> = work
        .iter()
        .map(|(plan, id)| fields(*id, plan, true))
        .collect();
    let text = first.key.id.as_str();
    match (first.kind, work.len()) {
        (WriteKind::Insert, 1) => documents.insert(&values[0]).await.map(drop),
        (WriteKind::Insert, _) => documents.insert_many(&values).await.map(drop),
        (WriteKind::Upsert, 1) => documents.upsert(&values[0]).await.map(drop),
        (WriteKind::Upsert, _) => documents.upsert_many(&values).await.map(drop),
        (WriteKind::Delete, _) => {
            documents
                .delete_many(work.iter().map(|(plan, _)| plan.key.id.as_str()))
                .await
        }
        (WriteKind::Update, _) => documents
            .update(text, &fields(*id, first, false))
            .await
            .map(drop),
        (WriteKind::Erase, _) => documents.hard_delete(text).await,
    }
}

/// What a read found, as the book has it; none when it is not live.
fn ids_in(found: Option<&Value>) -> Option<Vec<WriteId>> {
    let names = found.and_then(Value::as_map)?.keys();
    Some(
        names
            .filter_map(|name| name.strip_prefix('u')?.parse().ok())
            .collect(),
    )
}

fn live_ids(before: &Before) -> Option<Vec<WriteId>> {
    match before {
        Before::Live(ids) => Some(ids.clone()),
        Before::NotLive(_) => None,
    }
}
