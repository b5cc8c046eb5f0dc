//! `pocket serve`: the sync server.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pocket_core::storage::Storage as _;
use pocket_core::{Value, codes as core_codes};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_server::auth::{Namespaces, Secret};
use pocket_sync_server::{Config, Namespace, SyncServer, Tls, TokenTable};
use tokio::net::TcpListener;

use crate::args::{Global, ServeArgs, StorageKind};
use crate::directory::{Directory, Role};
use crate::failure::{Failure, Result};
use crate::gate::Gate;
use crate::held::{Content, Holding};
use crate::open;
use crate::output::{Output, object};
use crate::signals::Stop;

/// How often it is looked whether certificates have changed.
const RENEWAL: Duration = Duration::from_secs(10);

pub(super) async fn run(global: &Global, args: ServeArgs, out: &mut Output, stop: &Stop) -> Result {
    if args.print_config {
        out.bytes(args.printed.as_bytes())?;
        return out.flush();
    }
    let rights = args.rights.read(tokens(&args)?)?;
    let tls = tls(&args)?;
    let mut config = Config::default();
    config.admin.page = !args.no_admin;
    config.admin.token = args.admin_token.as_deref().map(Secret::from);
    args.rights.configure(&mut config)?;
    args.retention.configure(&mut config);
    let addresses = addresses(&args.listen).await?;
    let exposed = addresses
        .iter()
        .any(|address| !address.ip().to_canonical().is_loopback());
    if exposed && rights.is_open() {
        return Err(Failure::usage(format!(
            "without a token everybody who reaches {} may read and write everything; give one with --token, or \
             listen on 127.0.0.1",
            args.listen
        )));
    }
    // Before the store: a server that cannot listen leaves no new database behind.
    let listener = TcpListener::bind(&addresses[..])
        .await
        .map_err(|error| Failure::io(format!("cannot listen on {}", args.listen), &error))?;
    let (storage, held_in) = storage(global, out).await?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::io("cannot tell the address", &error))?;
    if rights.is_open() {
        out.note("no token is configured: everybody on this machine may connect, as the user `anonymous`");
    } else if exposed && tls.is_none() {
        out.note(
            "this address speaks plain text; give a certificate with --tls-cert and --tls-key, or put a proxy with TLS \
             in front of it",
        );
    }
    let holding = held_in.map(|directory| {
        let content = Content::Server(storage.clone());
        Holding::begin(directory.path(), directory.storage(), content, out)
    });
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    let url = format!("{scheme}://{address}/sync");
    let listening = object([("listening", Value::from(url.as_str()))]);
    out.either(&listening, format_args!("listening on {url}"))?;
    out.flush()?;
    let builder = SyncServer::builder(storage.clone()).config(config);
    let mut builder = rights.apply(builder);
    if let Some(tls) = &tls {
        builder = builder.tls(tls.clone());
    }
    let server = builder.build();
    let until_stdin_ends = args.until_stdin_ends;
    let shutdown = async {
        tokio::select! {
            () = stop.requested() => {}
            () = stdin_ended(), if until_stdin_ends => {}
            () = renew(tls) => {}
        }
    };
    server.serve(listener, shutdown).await;
    if let Some(holding) = holding {
        holding.end().await;
    }
    Ok(storage.close().await?)
}

/// The store, and the directory it lies in.
async fn storage(global: &Global, out: &Output) -> Result<(Arc<Gate>, Option<Directory>)> {
    if global.storage == Some(StorageKind::Memory) {
        out.note("--storage memory: nothing is kept, everything ends with this process");
        return Ok((Gate::new(Arc::new(MemoryStorage::new())), None));
    }
    let path = open::place(global, Role::Server);
    let directory = Directory::at(&path, Role::Server, global.storage)?;
    let storage = open::store(directory.clone(), global.json).await?;
    Ok((Gate::new(storage), Some(directory)))
}

/// The certificate, if one is named.
fn tls(args: &ServeArgs) -> Result<Option<Arc<Tls>>> {
    let (Some(certificates), Some(key)) = (&args.tls_cert, &args.tls_key) else {
        return Ok(None);
    };
    let tls = Tls::load(certificates, key);
    let tls = tls.map_err(|error| Failure::new(core_codes::CONFIG, error))?;
    Ok(Some(Arc::new(tls)))
}

/// Reads certificates again, when their files have changed and at each SIGHUP. Never ends.
async fn renew(tls: Option<Arc<Tls>>) {
    let Some(tls) = tls else {
        return std::future::pending().await;
    };
    let mut hangup = Hangup::new();
    loop {
        let read = tokio::select! {
            () = hangup.next() => tls.reload().map(|()| true),
            () = tokio::time::sleep(RENEWAL) => tls.reload_if_changed(),
        };
        match read {
            Ok(true) => tracing::info!(target: "pocket::serve", "the certificate was read again"),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(target: "pocket::serve", %error, "the old certificate stays in use");
            }
        }
    }
}

#[cfg(unix)]
struct Hangup(Option<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Hangup {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self(signal(SignalKind::hangup()).ok())
    }

    async fn next(&mut self) {
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

#[cfg(not(unix))]
struct Hangup;

#[cfg(not(unix))]
impl Hangup {
    fn new() -> Self {
        Self
    }

    async fn next(&mut self) {
        std::future::pending().await
    }
}

/// What `--listen` names.
async fn addresses(listen: &str) -> Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host(listen).await;
    let found: Vec<SocketAddr> = found
        .map_err(|error| {
            Failure::usage(format!(
                "--listen {listen:?} is no address like 127.0.0.1:7700: {error}"
            ))
        })?
        .collect();
    if found.is_empty() {
        return Err(Failure::usage(format!(
            "--listen {listen:?} names no address"
        )));
    }
    Ok(found)
}

/// Waits until whoever started this process is gone.
async fn stdin_ended() {
    let ended = tokio::task::spawn_blocking(|| {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = [0; 256];
        // An error ends it as well: nobody can tell any more.
        while stdin.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    // It does not panic, and a cancelled wait is an end, too.
    let _ = ended.await;
}

/// All tokens of the command line and of the file.
fn tokens(args: &ServeArgs) -> Result<TokenTable> {
    let mut table = Tokens::default();
    for argument in &args.token {
        let granted = parse_argument(argument).and_then(|grant| table.add(grant));
        granted.map_err(|why| Failure::usage(format!("--token {why}")))?;
    }
    if let Some(path) = &args.token_file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
        for (place, line) in text.lines().enumerate() {
            let added =
                parse_line(line).and_then(|grant| grant.map_or(Ok(()), |grant| table.add(grant)));
            added.map_err(|why| bad_file(path, format_args!("line {}: {why}", place + 1)))?;
        }
        if table.table.is_open() {
            return Err(bad_file(
                path,
                "it holds no token, and the server would be open to everybody",
            ));
        }
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
