//! Dotted paths: which values of a document a query, a sort or an index means.
//!
//! The rule is in `docs/guide/queries.md`. In short: a segment is the key of a map; at an array, a number is the place
//! of one element and any other segment goes into every element that is a map. Where a path leads nowhere the field is
//! missing, which compares as null. A key that contains a dot is reached by no path.

use std::fmt;

use crate::config::{MAX_PATH_BYTES, MAX_PATH_SEGMENTS};
use crate::value::{Encoded, ID_FIELD, SYSTEM_FIELDS, View};
use crate::{Body, DocumentId, Error, Result, codes};

/// A checked dotted path, like `address.city` or `items.0.price`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Path {
    text: Box<str>,
    segments: Box<[Segment]>,
    is_id: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Segment {
    /// Where it begins and ends in the text.
    start: usize,
    end: usize,
    /// The place in an array that it names.
    place: Option<u32>,
}

/// What a path is followed in: a document with its id, or a map inside of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    id: Option<&'a str>,
    map: Encoded<'a>,
}

impl<'a> Place<'a> {
    /// A whole document.
    ///
    /// # Errors
    /// `corrupt` when the body is no map.
    pub(crate) fn document(id: &'a DocumentId, body: &'a Body) -> Result<Self> {
        Ok(Self {
            id: Some(id.as_str()),
            map: body.encoded()?,
        })
    }

    /// A whole document, by the text of its id and the bytes of its body.
    ///
    /// # Errors
    /// As [`document`](Self::document).
    pub(crate) fn of(id: &'a str, body: &'a [u8]) -> Result<Self> {
        Ok(Self {
            id: Some(id),
            map: Encoded::map_of(body)?,
        })
    }

    /// A map inside of a document, where `_id` is a key like any other.
    pub(crate) fn inner(map: Encoded<'a>) -> Self {
        Self { id: None, map }
    }
}

impl Path {
    /// Reads the path of a field of documents.
    ///
    /// # Errors
    /// `bad-query` for an empty segment, one that begins with `$` or holds NUL, for a system field other than `_id`,
    /// for anything inside of `_id`, and for more segments or bytes than are allowed.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let path = Self::parse_inner(text)?;
        let first = path.segments().next().unwrap_or_default();
        if SYSTEM_FIELDS.contains(&first) {
            return Err(fault(
                text,
                format_args!(
                    "a query cannot ask for `{first}`; of the system fields it knows `_id`, and deleted documents \
                     are never found"
                ),
            ));
        }
        if first == ID_FIELD && path.segments.len() > 1 {
            return Err(fault(
                text,
                "an `_id` is text and has no fields; ask for `_id`",
            ));
        }
        Ok(path)
    }

    /// Reads a path inside of a map of a document, where no field belongs to the system.
    pub(crate) fn parse_inner(text: &str) -> Result<Self> {
        if text.len() > MAX_PATH_BYTES {
            return Err(fault(
                text,
                format_args!(
                    "a path has at most {MAX_PATH_BYTES} bytes, this one {}; shorten the names of fields",
                    text.len()
                ),
            ));
        }
        let mut segments = Vec::new();
        let mut start = 0;
        for part in text.split('.') {
            if part.is_empty() {
                let what = if text.is_empty() {
                    "a path names at least one field"
                } else {
                    "between dots, before the first and behind the last stands the name of a field; a name that \
                     holds dots itself cannot be asked for"
                };
                return Err(fault(text, what));
            }
            if part.starts_with('$') {
                return Err(fault(
                    text,
                    format_args!(
                        "no field begins with `$`; if {:?} is meant as an operator, it stands behind a field, as in \
                         {{\"field\":{{\"$gt\":1}}}}",
                        shown(part)
                    ),
                ));
            }
            if part.contains('\0') {
                return Err(fault(text, "no field contains NUL"));
            }
            segments.push(Segment {
                start,
                end: start + part.len(),
                place: place(part),
            });
            start += part.len() + 1;
        }
        if segments.len() > MAX_PATH_SEGMENTS {
            return Err(fault(
                text,
                format_args!(
                    "a path has at most {MAX_PATH_SEGMENTS} segments, this one {}; no document is deeper",
                    segments.len()
                ),
            ));
        }
        Ok(Self {
            text: text.into(),
            segments: segments.into(),
            is_id: text == ID_FIELD,
        })
    }

    /// The path as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it means the document's id.
    pub(crate) fn is_id(&self) -> bool {
        self.is_id
    }

    /// Its segments.
    pub(crate) fn segments(&self) -> impl ExactSizeIterator<Item = &str> {
        self.segments.iter().map(|segment| self.name(segment))
    }

    /// The values reached, in the order they stand in; none when the field is missing. Arrays are whole.
    ///
    /// # Errors
    /// `corrupt` when the bytes are damaged.
    pub(crate) fn values<'a>(&self, place: Place<'a>) -> Result<Reached<'a>> {
        if self.is_id
            && let Some(id) = place.id
        {
            return Ok(Reached::One(Some(Encoded::text(id))));
        }
        let (mut at, mut left) = (place.map, &self.segments[..]);
        while let Some((segment, rest)) = left.split_first() {
            let next = match (at.view()?, segment.place) {
                (View::Map(entries), _) => entries.get(self.name(segment).as_bytes())?,
                (View::Array(mut elements), Some(place)) => {
                    elements.nth(place as usize).transpose()?
                }
                (View::Array(_), None) => {
                    let mut found = Vec::new();
                    self.collect(at, left, &mut found)?;
                    return Ok(Reached::Many(found));
                }
                _ => None,
            };
            let Some(next) = next else {
                return Ok(Reached::One(None));
            };
            (at, left) = (next, rest);
        }
        Ok(Reached::One(Some(at)))
    }

    /// What a sort or an index sees of a document: the values reached, arrays replaced by their elements; null when
    /// there is nothing, which is a missing field or an empty array. May hold equal values.
    ///
    /// # Errors
    /// `corrupt` when the bytes are damaged.
    pub(crate) fn keys<'a>(&self, place: Place<'a>) -> Result<Vec<Encoded<'a>>> {
        self.values(place)?.keys()
    }

    /// Follows the rest of the path from `at` on, into every element it allows.
    fn collect<'a>(
        &self,
        at: Encoded<'a>,
        left: &[Segment],
        found: &mut Vec<Encoded<'a>>,
    ) -> Result<()> {
        let Some((segment, rest)) = left.split_first() else {
            found.push(at);
            return Ok(());
        };
        match (at.view()?, segment.place) {
            (View::Map(entries), _) => {
                if let Some(value) = entries.get(self.name(segment).as_bytes())? {
                    self.collect(value, rest, found)?;
                }
            }
            (View::Array(mut elements), Some(place)) => {
                if let Some(element) = elements.nth(place as usize) {
                    self.collect(element?, rest, found)?;
                }
            }
            (View::Array(elements), None) => {
                for element in elements {
                    let element = element?;
                    if element.map().is_some() {
                        self.collect(element, left, found)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn name(&self, segment: &Segment) -> &str {
        &self.text[segment.start..segment.end]
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The values that a path reaches.
#[derive(Clone, Debug)]
pub(crate) enum Reached<'a> {
    /// At most one, as without arrays on the way.
    One(Option<Encoded<'a>>),
    Many(Vec<Encoded<'a>>),
}

impl<'a> Reached<'a> {
    pub(crate) fn as_slice(&self) -> &[Encoded<'a>] {
        match self {
            Self::One(value) => value.as_slice(),
            Self::Many(values) => values,
        }
    }

    /// As [`Path::keys`] has them.
    pub(crate) fn keys(&self) -> Result<Vec<Encoded<'a>>> {
        let mut keys = Vec::with_capacity(1);
        for value in self.as_slice() {
            match value.array() {
                Some(elements) => {
                    for element in elements {
                        keys.push(element?);
                    }
                }
                None => keys.push(*value),
            }
        }
        if keys.is_empty() {
            keys.push(Encoded::NULL);
        }
        Ok(keys)
    }
}

/// The place in an array that a segment names: a number without sign and without zeros before it.
fn place(segment: &str) -> Option<u32> {
    let is_number = segment.bytes().all(|byte| byte.is_ascii_digit())
        && (segment == "0" || !segment.starts_with('0'));
    // What does not fit is beyond every array, but still no name of a field.
    is_number.then(|| segment.parse().unwrap_or(u32::MAX))
}

fn fault(path: &str, what: impl fmt::Display) -> Error {
    Error::new(
        codes::BAD_QUERY,
        format!("bad path {:?}: {what}", shown(path)),
    )
    .at(path)
}

/// A text of the caller, cut short for a message.
pub(super) fn shown(text: &str) -> String {
    crate::error::cut(text, 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DocumentLimits, Value};

    fn built(value: Encoded<'_>) -> Value {
        match value.bytes() {
            [] => value.as_str().unwrap().unwrap().into(),
            bytes => rmp_serde::from_slice(bytes).unwrap(),
        }
    }

    fn reached(json: &str, path: &str) -> String {
        let document = Value::from_json_str(json).unwrap();
        let (id, body) = Body::from_serialize(&document, &DocumentLimits::default()).unwrap();
        let place = Place::document(id.as_ref().unwrap(), &body).unwrap();
        let path = Path::parse(path).unwrap();
        let values = path.values(place).unwrap();
        let values: Value = values
            .as_slice()
            .iter()
            .map(|value| built(*value))
            .collect();
        let keys: Value = path
            .keys(place)
            .unwrap()
            .iter()
            .map(|value| built(*value))
            .collect();
        format!(
            "{} {}",
            values.to_json_string().unwrap(),
            keys.to_json_string().unwrap()
        )
    }

    #[test]
    fn a_path_goes_into_maps_by_key_and_into_arrays_by_place_or_into_every_map() {
        let document = r#"{"_id":"x","a":{"b":[{"c":1},2,[{"c":9}],{"c":[3,4]},{"d":5}],"0":"zero"},"e":[],"n":null,"a.b":7}"#;
        for (path, expected) in [
            ("_id", r#"["x"] ["x"]"#),
            ("a.b.c", "[1,[3,4]] [1,3,4]"),
            ("a.b.0.c", "[1] [1]"),
            ("a.b.3.c", "[[3,4]] [3,4]"),
            ("a.b.3.c.1", "[4] [4]"),
            ("a.b.2", r#"[[{"c":9}]] [{"c":9}]"#),
            ("a.b.2.c", "[9] [9]"),
            ("a.b.5", "[] [null]"),
            ("a.b.00", "[] [null]"),
            ("a.b.99999999999999999999", "[] [null]"),
            ("a.0", r#"["zero"] ["zero"]"#),
            ("a.b.1.c", "[] [null]"),
            ("a.x", "[] [null]"),
            ("e", "[[]] [null]"),
            ("e.x", "[] [null]"),
            ("n", "[null] [null]"),
            ("n.x", "[] [null]"),
        ] {
            assert_eq!(reached(document, path), expected, "{path}");
        }
    }

    #[test]
    fn a_bad_path_is_refused_with_what_to_do() {
        let deep = vec!["a"; MAX_PATH_SEGMENTS + 1].join(".");
        let long = "a".repeat(MAX_PATH_BYTES + 1);
        for (path, part) in [
            ("", "at least one field"),
            (".", "between dots"),
            ("a.", "between dots"),
            (".a", "between dots"),
            ("a..b", "between dots"),
            ("$gt", "operator"),
            ("a.$b", "operator"),
            ("a\0", "NUL"),
            ("_rev", "_id"),
            ("_updatedAt", "_id"),
            ("_deleted.x", "_id"),
            ("_id.x", "no fields"),
            (&deep, "segments"),
            (&long, "bytes"),
        ] {
            let error = Path::parse(path).unwrap_err();
            assert_eq!(error.code(), codes::BAD_QUERY, "{path}");
            assert!(error.to_string().contains(part), "{error}");
        }
        assert!(Path::parse("a._rev").is_ok());
        assert!(Path::parse_inner("_rev").is_ok());
    }
}
