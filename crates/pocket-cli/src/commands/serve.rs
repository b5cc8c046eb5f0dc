//! `pocket serve`: the sync server.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;

use pocket_core::storage::Storage as _;
use pocket_core::{Value, codes as core_codes};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_server::auth::Secret;
use pocket_sync_server::{Config, SyncServer, Tls, WatchedFiles};
use tokio::net::TcpListener;

use crate::args::{Global, ServeArgs, StorageKind};
use crate::directory::{Directory, Role};
use crate::failure::{Failure, Result};
use crate::gate::Gate;
use crate::held::{Content, Holding};
use crate::open;
use crate::output::{Output, object};
use crate::reload::{self, Hangup, Source};
use crate::signals::Stop;

pub(super) async fn run(global: &Global, args: ServeArgs, out: &mut Output, stop: &Stop) -> Result {
    let mut config = Config::default();
    args.limits.configure(&mut config)?;
    let rights = args.rights.read()?;
    let tls = tls(&args)?;
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
    if args.print_config {
        if global.storage != Some(StorageKind::Memory) {
            Directory::at(
                &open::place(global, Role::Server),
                Role::Server,
                global.storage,
            )?;
        }
        for setting in &args.in_force {
            out.either(&setting.fields(), setting)?;
        }
        return out.flush();
    }
    // Before the store: a server that cannot listen leaves no new database behind.
    let listener = TcpListener::bind(&addresses[..])
        .await
        .map_err(|error| cannot_listen(&args.listen, &error))?;
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
    // Where there is nothing to read again, a terminal that is closed ends the server as it ends others.
    let hangup = (tls.is_some() || rights.has_files()).then(Hangup::new);
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
    if let Some((tls, _)) = &tls {
        builder = builder.tls(tls.clone());
    }
    let server = builder
        .build()
        .map_err(|error| Failure::new(error.code(), error.to_string()))?;
    let mut sources = args.rights.sources(&rights, &server);
    sources.extend(tls.map(|(tls, files)| {
        let read = move || tls.reload().map_err(|error| error.to_string());
        Source::new("certificate", files, read)
    }));
    let reloading = hangup.map(|hangup| tokio::spawn(reload::watch(sources, hangup)));
    let until_stdin_ends = args.until_stdin_ends;
    let shutdown = async {
        tokio::select! {
            () = stop.requested() => {}
            () = stdin_ended(), if until_stdin_ends => {}
        }
    };
    server.serve(listener, shutdown).await;
    if let Some(reloading) = reloading {
        reloading.abort();
    }
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

/// The certificate, if one is named, and its files.
fn tls(args: &ServeArgs) -> Result<Option<(Arc<Tls>, WatchedFiles)>> {
    let (Some(certificates), Some(key)) = (&args.tls_cert, &args.tls_key) else {
        return Ok(None);
    };
    let files = WatchedFiles::new([certificates.clone(), key.clone()]);
    let tls = Tls::load(certificates, key);
    let tls = tls.map_err(|error| Failure::new(core_codes::CONFIG, error))?;
    Ok(Some((Arc::new(tls), files)))
}

fn cannot_listen(listen: &str, error: &io::Error) -> Failure {
    let failure = Failure::io(format!("cannot listen on {listen}"), error);
    match error.kind() {
        io::ErrorKind::AddrInUse => failure.and(
            "end what runs there, or take another port with --listen (port 0 takes a free one)",
        ),
        io::ErrorKind::PermissionDenied => {
            failure.and("ports below 1024 are for root; take another one with --listen")
        }
        io::ErrorKind::AddrNotAvailable => {
            failure.and("this machine has no such address; name one that it has with --listen")
        }
        _ => failure,
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
