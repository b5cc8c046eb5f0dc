//! Rules from a small file: roles × collections × read, write and erase, an owner field and label fields.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use pocket_core::{Body, CollectionName, Value};
use serde::Deserialize;

use super::{Attempt, Audience, Authorizer, Document, Operation};
use crate::auth::{Access, AuthError, Authenticator};

/// Stands for everybody among roles, and for all other collections among collections.
const ALL: &str = "*";

/// An [`Authorizer`] that was read from a file.
///
/// ```
/// let rules: pocket_sync_server::RulesFile = r#"
///     [collections.notes]
///     read = ["*"]
///     write = ["*"]
///     erase = ["admin"]
///     owner = "author"
///     labels = ["team"]
///     manage = ["admin"]
/// "#.parse().unwrap();
/// ```
///
/// A collection without a table falls under that of `"*"`; without that, nobody may do anything with it. The guide to
/// the sync server describes each key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesFile {
    #[serde(default)]
    collections: BTreeMap<Name, Table>,
    /// Roles and labels of users, beside those of their tokens.
    #[serde(default)]
    users: BTreeMap<String, Grant>,
}

/// What a user has beside what his token says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Grant {
    roles: BTreeSet<Role>,
    labels: BTreeSet<String>,
}

/// The rules of one collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    /// Roles that may read it.
    read: BTreeSet<Role>,
    /// Roles that may create, replace and delete its documents.
    write: BTreeSet<Role>,
    /// Roles that may erase its documents.
    erase: BTreeSet<Role>,
    /// The field that names the user whose document it is.
    owner: Option<String>,
    /// Fields whose texts say who may read it: `FIELD:TEXT` is the label.
    labels: BTreeSet<String>,
    /// Roles that read and write documents of any owner and label.
    manage: BTreeSet<Role>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name != ALL {
            CollectionName::new(&name).map_err(|error| error.to_string())?;
        }
        Ok(Self(name))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Role(String);

impl TryFrom<String> for Role {
    type Error = &'static str;

    fn try_from(role: String) -> Result<Self, Self::Error> {
        let fits = !role.is_empty() && !role.chars().any(|c| c.is_whitespace() || c.is_control());
        fits.then_some(Self(role))
            .ok_or("a role has at least one character and no blanks; \"*\" is everybody")
    }
}

impl std::str::FromStr for RulesFile {
    type Err = String;

    /// Reads the text of a file.
    ///
    /// # Errors
    /// What is wrong, with its line.
    fn from_str(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }
}

impl RulesFile {
    /// Adds the roles and labels that the file gives to the user.
    #[must_use]
    pub fn grant(&self, mut access: Access) -> Access {
        if let Some(grant) = self.users.get(&*access.user) {
            let roles = grant.roles.iter().map(|role| role.0.as_str().into());
            access.roles.extend(roles);
            let labels = grant.labels.iter().map(|label| label.as_str().into());
            access.labels.extend(labels);
        }
        access
    }

    /// An authenticator that asks `inner`, and adds what the file gives to the user.
    pub fn grants(self: &Arc<Self>, inner: Arc<dyn Authenticator>) -> Arc<dyn Authenticator> {
        Arc::new(Granting {
            inner,
            rules: Arc::clone(self),
        })
    }

    fn table(&self, collection: &CollectionName) -> Option<&Table> {
        let of = |name: &str| self.collections.get(&Name(name.to_owned()));
        of(collection.as_str()).or_else(|| of(ALL))
    }
}

#[derive(Debug)]
struct Granting {
    inner: Arc<dyn Authenticator>,
    rules: Arc<RulesFile>,
}

#[async_trait]
impl Authenticator for Granting {
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError> {
        let access = self.inner.authenticate(token).await?;
        Ok(self.rules.grant(access))
    }
}

impl Authorizer for RulesFile {
    fn authorize(&self, attempt: &Attempt<'_>) -> bool {
        let Some(table) = self.table(attempt.collection) else {
            return false;
        };
        let access = attempt.access;
        if has(access, &table.manage) {
            return true;
        }
        let roles = match attempt.operation {
            Operation::Read => &table.read,
            Operation::Write => &table.write,
            Operation::Erase => &table.erase,
        };
        let owns = |body: Option<&Body>| match (&table.owner, body) {
            (Some(field), Some(body)) => text(body, field).as_deref() == Some(&*access.user),
            _ => true,
        };
        has(access, roles) && owns(attempt.before) && owns(attempt.after)
    }

    fn audience(&self, document: &Document<'_>) -> Audience {
        let Some(table) = self.table(document.collection) else {
            return Audience::nobody();
        };
        if table.owner.is_none() && table.labels.is_empty() {
            return Audience::everyone();
        }
        if table.manage.contains(&Role(ALL.to_owned())) {
            return Audience::everyone();
        }
        let owner = table.owner.iter();
        let owner = owner.filter_map(|field| Some(format!("user:{}", text(document.body, field)?)));
        let labels = table.labels.iter().flat_map(|field| {
            let texts = texts(document.body, field).into_iter();
            texts.map(move |text| format!("{field}:{text}"))
        });
        let managers = table.manage.iter().map(|role| format!("role:{}", role.0));
        Audience::labels(owner.chain(labels).chain(managers))
    }

    fn version(&self) -> String {
        // Users' roles and labels are part of each one's own fingerprint.
        format!("{:?}", self.collections)
    }
}

fn has(access: &Access, roles: &BTreeSet<Role>) -> bool {
    let holds = |role: &Role| role.0 == ALL || access.roles.contains(role.0.as_str());
    roles.iter().any(holds)
}

fn text(body: &Body, field: &str) -> Option<String> {
    let value = body.field(field).ok().flatten()?;
    value.as_str().map(str::to_owned)
}

/// The text of a field, or the texts of its array.
fn texts(body: &Body, field: &str) -> Vec<String> {
    match body.field(field) {
        Ok(Some(Value::String(text))) => vec![text],
        Ok(Some(Value::Array(values))) => values
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use pocket_core::{DocumentId, DocumentLimits};

    use super::*;
    use crate::Namespace;

    const RULES: &str = r#"
        [collections.notes]
        read = ["*"]
        write = ["*"]
        erase = ["writer"]
        owner = "author"
        labels = ["team"]
        manage = ["admin"]

        [collections.news]
        read = ["*"]
        write = ["editor"]

        [collections."*"]
        read = ["admin"]

        [users.ann]
        roles = ["editor"]
        labels = ["team:red"]
    "#;

    fn body(json: &str) -> Body {
        let value = Value::from_json_str(json).unwrap();
        Body::from_map(value.as_map().unwrap(), &DocumentLimits::default()).unwrap()
    }

    fn may(
        access: &Access,
        collection: &str,
        operation: Operation,
        before: Option<&str>,
        after: Option<&str>,
    ) -> bool {
        let rules: RulesFile = RULES.parse().unwrap();
        let (before, after) = (before.map(body), after.map(body));
        rules.authorize(&Attempt {
            access,
            namespace: &Namespace::new("n").unwrap(),
            collection: &CollectionName::new(collection).unwrap(),
            operation,
            id: None,
            before: before.as_ref(),
            after: after.as_ref(),
        })
    }

    fn readers<'a>(collection: &str, document: &str, readers: &'a [Access]) -> Vec<&'a str> {
        let rules: RulesFile = RULES.parse().unwrap();
        let audience = rules.audience(&Document {
            namespace: &Namespace::new("n").unwrap(),
            collection: &CollectionName::new(collection).unwrap(),
            id: &DocumentId::new("d").unwrap(),
            body: &body(document),
        });
        let readers = readers.iter().filter(|access| audience.is_held_by(access));
        readers.map(|access| &*access.user).collect()
    }

    #[test]
    fn roles_say_who_may_do_what_with_a_collection() {
        use Operation::{Erase, Read, Write};
        let ann = Access::all("ann");
        let ed = Access::all("ed").role("editor");
        let root = Access::all("root").role("admin");
        let some = Some("{}");
        assert!(may(&ann, "news", Read, None, None) && !may(&ann, "news", Write, None, some));
        assert!(may(&ed, "news", Write, None, some) && !may(&ed, "news", Erase, some, None));
        assert!(
            !may(&root, "news", Write, None, some),
            "news names no manager"
        );
        assert!(may(&root, "other", Read, None, None) && !may(&ann, "other", Read, None, None));
        assert!(!may(&root, "other", Write, None, some));
    }

    #[test]
    fn a_document_belongs_to_its_owner_before_and_after() {
        use Operation::{Erase, Write};
        let ann = Access::all("ann");
        let (hers, his) = (Some(r#"{"author":"ann"}"#), Some(r#"{"author":"bob"}"#));
        assert!(may(&ann, "notes", Write, None, hers) && may(&ann, "notes", Write, hers, None));
        for (before, after) in [(None, his), (his, hers), (hers, his), (None, Some("{}"))] {
            assert!(
                !may(&ann, "notes", Write, before, after),
                "{before:?} {after:?}"
            );
        }
        assert!(!may(&ann, "notes", Erase, hers, None));
        assert!(may(&ann.clone().role("writer"), "notes", Erase, hers, None));
        assert!(may(
            &Access::all("x").role("admin"),
            "notes",
            Write,
            his,
            hers
        ));
    }

    #[test]
    fn owner_labels_and_managers_are_the_audience() {
        let people = [
            Access::all("ann"),
            Access::all("bob").label("team:red"),
            Access::all("cid").label("team:blue"),
            Access::all("root").role("admin"),
        ];
        let of = |document| readers("notes", document, &people);
        assert_eq!(of(r#"{"author":"ann"}"#), ["ann", "root"]);
        assert_eq!(of(r#"{"author":"x","team":"red"}"#), ["bob", "root"]);
        assert_eq!(of(r#"{"team":["red","blue",7]}"#), ["bob", "cid", "root"]);
        assert_eq!(of("{}"), ["root"]);
        assert_eq!(readers("news", "{}", &people).len(), 4);
    }

    #[test]
    fn the_file_gives_roles_and_labels_to_users() {
        let rules: RulesFile = RULES.parse().unwrap();
        let ann = rules.grant(Access::all("ann").role("x"));
        assert!(ann.holds("role:editor") && ann.holds("role:x") && ann.holds("team:red"));
        let bob = rules.grant(Access::all("bob"));
        assert_eq!(bob, Access::all("bob"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, told) in [
            ("[collections.a]\nred = []", "line 2"),
            ("[collections.a]\n\nread = [\"a b\"]", "line 3"),
            ("[collections.\"a b\"]\nread = []", "collection"),
            ("[colections.a]", "line 1"),
            ("[collections.a]\nread = \"x\"", "line 2"),
        ] {
            let error = text.parse::<RulesFile>().unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
        let one: RulesFile = RULES.parse().unwrap();
        let other: RulesFile = RULES.replace("editor", "writer").parse().unwrap();
        assert_ne!(one.version(), other.version());
    }
}
