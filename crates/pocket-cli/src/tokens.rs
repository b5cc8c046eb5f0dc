//! Fixed tokens, as the command line and a file name them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use pocket_core::codes as core_codes;
use pocket_sync_server::auth::Namespaces;
use pocket_sync_server::{Namespace, TokenTable};

use crate::failure::{Failure, Result};

/// All tokens of the command line and of the file.
///
/// None at all is an open server; a file without a token is refused, unless there are others.
pub(crate) fn read(given: &[String], file: Option<&Path>) -> Result<TokenTable> {
    let mut table = Tokens::default();
    for argument in given {
        let granted = parse_argument(argument).and_then(|grant| table.add(grant));
        granted.map_err(|why| Failure::usage(format!("--token {why}")))?;
    }
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
        for (place, line) in text.lines().enumerate() {
            let added =
                parse_line(line).and_then(|grant| grant.map_or(Ok(()), |grant| table.add(grant)));
            added.map_err(|why| bad_file(path, format_args!("line {}: {why}", place + 1)))?;
        }
        if table.table.is_empty() {
            return Err(bad_file(
                path,
                "it holds no token, and the server would be open to everybody",
            ));
        }
    }
    if table.table.is_empty() {
        return Ok(TokenTable::open());
    }
    Ok(table.table)
}

fn bad_file(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(
        core_codes::CONFIG,
        format!(
            "{}: {why}; a line is TOKEN USER [NAMESPACE,…]",
            path.display()
        ),
    )
}

#[derive(Default)]
struct Tokens {
    table: TokenTable,
    seen: BTreeSet<String>,
}

/// A token and what it stands for. What is wrong is told without the token: messages end up in logs.
#[derive(Debug)]
struct Grant<'a> {
    token: &'a str,
    user: Option<&'a str>,
    namespaces: Namespaces,
}

impl Tokens {
    fn add(&mut self, grant: Grant<'_>) -> Result<(), String> {
        if !self.seen.insert(grant.token.to_owned()) {
            return Err("the same token is given twice".to_owned());
        }
        let table = std::mem::take(&mut self.table);
        self.table = table.token(grant.token, grant.user, grant.namespaces);
        Ok(())
    }
}

/// Reads `TOKEN[=USER[:NAMESPACE,…]]`.
fn parse_argument(text: &str) -> Result<Grant<'_>, String> {
    let (token, rest) = match text.split_once('=') {
        Some((token, rest)) => (token, Some(rest)),
        None => (text, None),
    };
    let (user, namespaces) = match rest.map(|rest| rest.split_once(':').ok_or(rest)) {
        None => (None, None),
        Some(Err(user)) => (Some(user), None),
        Some(Ok((user, namespaces))) => (Some(user), Some(namespaces)),
    };
    grant(token, user, namespaces)
}

/// Reads `TOKEN USER [NAMESPACE,…]`; none of a blank line or a comment.
fn parse_line(line: &str) -> Result<Option<Grant<'_>>, String> {
    let mut words = line.split_whitespace();
    let Some(token) = words.next().filter(|word| !word.starts_with('#')) else {
        return Ok(None);
    };
    let user = words.next().ok_or("a user is missing behind the token")?;
    let namespaces = words.next();
    if words.next().is_some() {
        return Err("there is more than a token, a user and namespaces".to_owned());
    }
    grant(token, Some(user), namespaces).map(Some)
}

fn grant<'a>(
    token: &'a str,
    user: Option<&'a str>,
    namespaces: Option<&str>,
) -> Result<Grant<'a>, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    if token.is_empty() || !token.bytes().all(fits) {
        return Err("a token has letters, digits and `._~-` only".to_owned());
    }
    if user.is_some_and(|user| {
        user.is_empty() || user.chars().any(|c| c.is_whitespace() || c.is_control())
    }) {
        return Err("a user has at least one character and no blanks".to_owned());
    }
    let namespaces = match namespaces {
        None => Namespaces::All,
        Some(list) => {
            let names: Option<BTreeSet<Namespace>> = list.split(',').map(Namespace::new).collect();
            let names =
                names.ok_or("a namespace has 1 to 128 bytes; several are joined by commas")?;
            Namespaces::Only(Arc::new(names))
        }
    };
    Ok(Grant {
        token,
        user,
        namespaces,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(grant: &Grant<'_>) -> Vec<String> {
        match &grant.namespaces {
            Namespaces::All => vec!["*".to_owned()],
            Namespaces::Only(some) => some.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_token_may_name_a_user_and_namespaces() {
        for (text, token, user, namespaces) in [
            ("t0k.e~n_-", "t0k.e~n_-", None, vec!["*"]),
            ("t=ann", "t", Some("ann"), vec!["*"]),
            ("t=ann:b,a", "t", Some("ann"), vec!["a", "b"]),
            ("t=ann@x.org:a:b", "t", Some("ann@x.org"), vec!["a:b"]),
        ] {
            let grant = parse_argument(text).unwrap();
            assert_eq!((grant.token, grant.user), (token, user), "{text}");
            assert_eq!(names(&grant), namespaces, "{text}");
        }
    }

    #[test]
    fn a_wrong_token_is_refused_without_being_shown() {
        for text in [
            "",
            "=ann",
            "s e",
            "sesame!",
            "sesame=",
            "sesame=:a",
            "sesame=ann:",
            "sesame=ann:a,,b",
        ] {
            let why = parse_argument(text).unwrap_err();
            assert!(!why.contains("sesame"), "{why}");
        }
    }

    #[test]
    fn no_token_at_all_is_an_open_server_and_a_file_without_one_an_error() {
        assert!(read(&[], None).unwrap().is_open());
        assert!(!read(&["t=ann".to_owned()], None).unwrap().is_open());
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(read(&[], Some(file.path())).is_err());
        let given = read(&["t=ann".to_owned()], Some(file.path())).unwrap();
        assert!(!given.is_open() && !given.is_empty());
    }

    #[test]
    fn a_token_file_has_comments_blank_lines_and_a_token_each_line() {
        assert!(parse_line("  ").unwrap().is_none());
        assert!(parse_line("# ann's").unwrap().is_none());
        let grant = parse_line("t\tann  a,b ").unwrap().unwrap();
        assert_eq!((grant.token, grant.user), ("t", Some("ann")));
        assert_eq!(names(&grant), ["a", "b"]);
        for line in ["t", "t ann a b", "t! ann", "t ann ,"] {
            assert!(parse_line(line).is_err(), "{line}");
        }
    }
}
