//! References between documents, followed in one step.

use pocket_storage::ordered::{BTreeMap, BTreeSet};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::query::path::{Path, Place};
use crate::stored;
use crate::value::decode;
use crate::{Body, Collection, DocumentId, Error, Result, Value, codes};

/// Documents that others refer to; see [`Collection::populate`].
#[derive(Clone, Debug)]
pub struct Populated<R> {
    /// The references of each document that was given, in its order.
    ids: Vec<Vec<DocumentId>>,
    found: BTreeMap<DocumentId, R>,
    missing: Vec<DocumentId>,
}

impl<R> Populated<R> {
    /// The document of this id; none when nobody refers to it or it is missing.
    pub fn get(&self, id: &str) -> Option<&R> {
        self.found.get(&DocumentId::new(id).ok()?)
    }

    /// What the document at this place among those given refers to, in the order of its references; none where the
    /// referenced document is missing or deleted. Empty behind the last.
    pub fn of(&self, place: usize) -> impl Iterator<Item = Option<&R>> {
        let ids = self.ids.get(place).map_or(&[][..], Vec::as_slice);
        ids.iter().map(|id| self.found.get(id))
    }

    /// The first that the document at this place refers to, for fields that hold one id.
    pub fn one(&self, place: usize) -> Option<&R> {
        self.of(place).next().flatten()
    }

    /// References that lead nowhere: their documents are missing, deleted, or have not arrived yet. By id.
    pub fn missing(&self) -> &[DocumentId] {
        &self.missing
    }
}

impl<T: Serialize + DeserializeOwned> Collection<T> {
    /// Reads, in one step and from one state, the documents of `others` that `documents` of this collection refer to.
    ///
    /// `field` holds an id or an array of ids, and is a dotted path as in a query (`author.id`, `authors.id` of an array of
    /// objects). A field that is missing or null refers to nothing. A reference that leads nowhere is told, and no error.
    ///
    /// ```
    /// # use pocket_core::{CollectionConfig, Database, Result, Value};
    /// # async fn example(db: Database) -> Result<()> {
    /// let posts = db.collection::<Value>("posts")?;
    /// let authors = db.collection::<Value>("authors")?;
    /// let found = posts.get_all().await?;
    /// let written_by = posts.populate(&found, "author_id", &authors).await?;
    /// for (place, post) in found.iter().enumerate() {
    ///     println!("{post:?} by {:?}", written_by.one(place));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `bad-query` when the path makes no sense, or the field of a document holds anything but ids; `type-mismatch`, `corrupt`, and what the store
    /// says.
    pub async fn populate<R: Serialize + DeserializeOwned>(
        &self,
        documents: &[T],
        field: &str,
        others: &Collection<R>,
    ) -> Result<Populated<R>> {
        let path = Path::parse(field)?;
        let limits = &self.database().limits().document;
        let ids = documents.iter().map(|document| {
            let (id, body) = Body::from_serialize(document, limits)?;
            let fault = |what: &str| {
                let id = id.as_ref().map_or("without an id", DocumentId::as_str);
                Error::new(
                    codes::BAD_QUERY,
                    format!(
                        "the field {field:?} of document {id:?} of `{}` {what}",
                        self.name()
                    ),
                )
            };
            let id_of = |value: &Value| {
                let text = value.as_str().ok_or_else(|| {
                    fault(&format!(
                        "holds a {}, which is no reference",
                        value.type_name()
                    ))
                })?;
                DocumentId::new(text).map_err(|error| fault(&format!("holds no id: {error}")))
            };
            reached(&body, &path)?.iter().map(id_of).collect()
        });
        let ids: Vec<Vec<DocumentId>> = ids.collect::<Result<_>>()?;
        let wanted: BTreeSet<&DocumentId> = ids.iter().flatten().collect();
        let read = others.get_many(wanted.iter().map(|id| id.as_str())).await?;
        let (mut found, mut missing) = (BTreeMap::new(), Vec::new());
        for (id, document) in wanted.into_iter().zip(read) {
            match document {
                Some(document) => drop(found.insert(id.clone(), document)),
                None => missing.push(id.clone()),
            }
        }
        Ok(Populated {
            ids,
            found,
            missing,
        })
    }
}

/// The values in a field, elements of arrays one by one; none of what is missing or null.
fn reached(body: &Body, path: &Path) -> Result<Vec<Value>> {
    let reached = path.values(Place::inner(body.encoded()?))?;
    let mut values = Vec::new();
    for value in reached.as_slice() {
        match decode::value(value.bytes()).map_err(stored::damaged)? {
            Value::Null => {}
            Value::Array(elements) => values.extend(elements),
            value => values.push(value),
        }
    }
    Ok(values)
}
