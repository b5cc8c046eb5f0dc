//! Which fields of a document a query gives out, on the bytes of the body.

use super::path::Path;
use crate::config::MAX_PROJECTED_FIELDS;
use crate::value::{Elements, Encoded, Entries, View};
use crate::{Body, Error, Result, codes};
use pocket_storage::ordered::BTreeMap;

/// The checked choice of fields. The `_id` is never part of it: it stands beside the body and is always there.
#[derive(Clone, Debug, Default)]
pub(crate) enum Projection {
    #[default]
    Everything,
    Only(Fields),
    Without(Fields),
}

/// Fields by name. Below a name stands nothing when the whole field is meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(BTreeMap<Box<str>, Fields>);

impl Projection {
    /// Reads the fields to include or to exclude.
    ///
    /// # Errors
    /// `bad-query` for a bad path, too many fields, both kinds at once, and an excluded `_id`.
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        let place = if exclude.is_empty() {
            "include"
        } else {
            "exclude"
        };
        let fault = |what: String| Err(Error::new(codes::BAD_QUERY, what).at(place));
        if !include.is_empty() && !exclude.is_empty() {
            return fault(format!(
                "a query includes fields or excludes fields, not both; `include` {:?} leaves out all others by itself",
                include[0]
            ));
        }
        let count = include.len() + exclude.len();
        if count > MAX_PROJECTED_FIELDS {
            return fault(format!(
                "a query includes or excludes at most {MAX_PROJECTED_FIELDS} fields, not {count}; name the field \
                 around them"
            ));
        }
        if exclude.iter().any(|field| field == "_id") {
            return fault("the `_id` is always there; do not exclude it".into());
        }
        Ok(if !include.is_empty() {
            Self::Only(Fields::new(include)?)
        } else if !exclude.is_empty() {
            Self::Without(Fields::new(exclude)?)
        } else {
            Self::Everything
        })
    }

    /// The body with the fields chosen, in the order written.
    ///
    /// # Errors
    /// `corrupt` when the bytes are damaged.
    pub(crate) fn apply(&self, body: Body) -> Result<Body> {
        let (fields, keep) = match self {
            Self::Everything => return Ok(body),
            Self::Only(fields) => (fields, true),
            Self::Without(fields) => (fields, false),
        };
        let mut out = Vec::with_capacity(body.len());
        fields.write(body.encoded()?, keep, &mut out)?;
        Ok(Body::from_trusted(out.into()))
    }
}

impl Fields {
    fn new(paths: &[String]) -> Result<Self> {
        let mut fields = Self::default();
        for text in paths {
            let path = Path::parse(text)?;
            if !path.is_id() {
                fields.add(&path.segments().collect::<Vec<_>>());
            }
        }
        Ok(fields)
    }

    /// Adds a path. A field that is meant whole stays so, whatever is named inside of it.
    fn add(&mut self, segments: &[&str]) {
        let Some((name, rest)) = segments.split_first() else {
            self.0.clear();
            return;
        };
        match self.0.get_mut(*name) {
            Some(below) if below.is_whole() => {}
            Some(below) => below.add(rest),
            None => {
                let mut below = Self::default();
                below.add(rest);
                self.0.insert((*name).into(), below);
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes what is left of a value when only these fields are kept, or all but these.
    fn write(&self, value: Encoded<'_>, keep: bool, out: &mut Vec<u8>) -> Result<()> {
        match value.view()? {
            View::Map(entries) => self.write_map(entries, keep, out),
            View::Array(elements) => self.write_array(elements, keep, out),
            _ => {
                out.extend_from_slice(value.bytes());
                Ok(())
            }
        }
    }

    fn write_map(&self, entries: Entries<'_>, keep: bool, out: &mut Vec<u8>) -> Result<()> {
        let mut inside = Vec::new();
        let mut count = 0;
        for entry in entries {
            let (key, value) = entry?;
            let below = std::str::from_utf8(key)
                .ok()
                .and_then(|key| self.0.get(key));
            let is_there = match below {
                None => !keep,
                Some(below) if below.is_whole() => keep,
                Some(_) => !keep || holds_fields(value),
            };
            if !is_there {
                continue;
            }
            count += 1;
            write_key(&mut inside, key)?;
            match below {
                Some(below) if !below.is_whole() => below.write(value, keep, &mut inside)?,
                _ => inside.extend_from_slice(value.bytes()),
            }
        }
        rmp::encode::write_map_len(out, count).map_err(unwritten)?;
        out.append(&mut inside);
        Ok(())
    }

    /// The fields of each element; of elements without fields, none is kept and none left out.
    fn write_array(&self, elements: Elements<'_>, keep: bool, out: &mut Vec<u8>) -> Result<()> {
        let mut inside = Vec::new();
        let mut count = 0;
        for element in elements {
            let element = element?;
            if !keep || holds_fields(element) {
                count += 1;
                self.write(element, keep, &mut inside)?;
            }
        }
        rmp::encode::write_array_len(out, count).map_err(unwritten)?;
        out.append(&mut inside);
        Ok(())
    }
}

fn holds_fields(value: Encoded<'_>) -> bool {
    value.map().is_some() || value.array().is_some()
}

fn write_key(out: &mut Vec<u8>, key: &[u8]) -> Result<()> {
    rmp::encode::write_str_len(out, key.len() as u32).map_err(unwritten)?;
    out.extend_from_slice(key);
    Ok(())
}

/// A vector takes what is written.
fn unwritten(error: impl std::fmt::Display) -> Error {
    Error::new(codes::CORRUPT, error)
}
