//! The demo for browsers: a to-do application and its sync server, from one address.

mod build;
mod checkout;
mod pages;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pocket_core::Value;
use pocket_core::storage::Storage as _;
use pocket_sync_server::SyncServer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::args::{SiteArgs, YesNo};
use crate::codes;
use crate::directory::{Directory, Role};
use crate::failure::{Failure, Result};
use crate::gate::Gate;
use crate::open;
use crate::output::{Output, object};
use crate::signals::Stop;
use checkout::Checkout;

/// How long answers that are under way may take when a signal came. The process has 1.8 s in all.
const ENDING: Duration = Duration::from_millis(500);

/// Serves the application until a signal comes, building it before if it must.
pub(crate) async fn run(
    keep: Option<&Path>,
    args: &SiteArgs,
    out: &mut Output,
    stop: &Stop,
) -> Result {
    // First of all: whoever cannot have the port need not wait for a build.
    let listener = listen(args).await?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::io("cannot tell the address", &error))?;
    let making = make(keep, args, out);
    let (assets, stage) = tokio::select! {
        made = making => made?,
        () = stop.requested() => {
            return Err(Failure::interrupted(
                "a signal came before the application was built; the same command goes on with it",
            ));
        }
    };
    let opened = open::store(stage, out.is_json()).await;
    let storage = Gate::new(opened.map_err(of_demo)?);
    let server = SyncServer::builder(storage.clone()).build();
    let server = server.map_err(|error| Failure::new(error.code(), error.to_string()))?;
    tell(address, out)?;
    let url = format!(
        "http://{}/",
        SocketAddr::from(([127, 0, 0, 1], address.port()))
    );
    if opens(args.open, out)
        && let Err(error) = open_browser(&url)
        && args.open == Some(YesNo::Yes)
    {
        out.note(format_args!("no browser could be opened: {error}"));
    }
    serve(listener, &server, &assets, stop).await?;
    Ok(storage.close().await?)
}

async fn listen(args: &SiteArgs) -> Result<TcpListener> {
    let ip = if args.lan {
        Ipv4Addr::UNSPECIFIED
    } else {
        Ipv4Addr::LOCALHOST
    };
    let address = SocketAddr::from((ip, args.port));
    let listening = TcpListener::bind(address).await;
    listening.map_err(|error| {
        let hint = if error.kind() == std::io::ErrorKind::AddrInUse {
            "; end what runs there, or take another port with --port"
        } else {
            ""
        };
        Failure::new(
            codes::IO,
            format_args!("cannot listen on {address}: {error}{hint}"),
        )
    })
}

/// The built files, and where the server's database is kept.
async fn make(keep: Option<&Path>, args: &SiteArgs, out: &Output) -> Result<(PathBuf, Directory)> {
    let checkout = Checkout::find();
    let stage = match (keep, &checkout) {
        (Some(path), _) => kept(path)?,
        (None, Ok(checkout)) => checkout.stage(),
        // The same place each time: what browsers hold belongs to this database.
        (None, Err(_)) => PathBuf::from("pocket-demo-web"),
    };
    let directory = Directory::at(&stage.join("server"), Role::Server, None).map_err(of_demo)?;
    let assets = match &args.assets {
        Some(path) => built(path)?,
        None => build::build(&checkout?, out).await?,
    };
    Ok((assets, directory))
}

/// The directory that was named: a new one, or one of an earlier demo.
fn kept(path: &Path) -> Result<PathBuf> {
    let is_strange = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some())
        && !path.join("server").is_dir();
    if is_strange {
        return Err(Failure::new(
            codes::DEMO,
            format_args!(
                "{} is neither empty nor of an earlier demo; name another directory with --keep",
                path.display()
            ),
        ));
    }
    Ok(path.to_owned())
}

/// What other commands say of a directory, with the option that names it here.
fn of_demo(failure: Failure) -> Failure {
    failure.with_option("--db", "--keep")
}

/// The folder of built files that was named.
fn built(path: &Path) -> Result<PathBuf> {
    if path.is_file() {
        return Err(Failure::usage(format_args!(
            "--assets {} is a file; name the folder of built files that index.html lies in",
            path.display()
        )));
    }
    if !path.join("index.html").is_file() {
        return Err(Failure::usage(format_args!(
            "--assets {}: there is no index.html, so this is no folder of built files",
            path.display()
        )));
    }
    Ok(path.to_owned())
}

fn tell(address: SocketAddr, out: &mut Output) -> Result {
    let port = address.port();
    let url = format!("http://127.0.0.1:{port}/");
    let network = (!address.ip().is_loopback()).then(|| in_network(port));
    let mut told = object([("listening", Value::from(url.as_str()))]);
    if let Some(Some(network)) = &network {
        told.insert("network", network.as_str());
    }
    if out.is_json() {
        out.either(&told, "")?;
        return out.flush();
    }
    out.line(format_args!("listening on {url}"))?;
    match network {
        Some(Some(url)) => {
            out.line(format_args!("in your network {url}"))?;
        }
        Some(None) => out.note("this machine seems to be in no network"),
        None => {}
    }
    out.flush()?;
    out.note("\nOpen it in two windows, or in two browsers, and change something in each. Then end this with Ctrl-C: both go");
    out.note("on without it, and meet when it is back.");
    if !address.ip().is_loopback() {
        out.note(
            "\nWARNING: no token is asked for. Whoever is in the same network can read and change these lists while this \
             runs, and\nnothing is encrypted. Use it in a network that you trust.",
        );
    }
    Ok(())
}

/// The address of this machine by which others in its network reach it.
fn in_network(port: u16) -> Option<String> {
    // Nothing is sent: connecting a UDP socket only chooses the way. The address is one that is nobody's (RFC 5737).
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    let is_useful = !ip.is_loopback() && !ip.is_unspecified();
    is_useful.then(|| format!("http://{}/", SocketAddr::from((ip, port))))
}

fn opens(asked: Option<YesNo>, out: &Output) -> bool {
    use std::io::IsTerminal;
    match asked {
        Some(asked) => asked == YesNo::Yes,
        None => std::io::stdout().is_terminal() && !out.is_json(),
    }
}

/// Asks the desktop for a browser. Without one there is still the line that says where to go.
fn open_browser(url: &str) -> std::io::Result<()> {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else if cfg!(windows) {
        "explorer"
    } else {
        "xdg-open"
    };
    Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(())
}

async fn serve(listener: TcpListener, server: &SyncServer, assets: &Path, stop: &Stop) -> Result {
    let router = pages::router(server.router(), assets);
    let (end, ended) = oneshot::channel::<()>();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async {
        // Dropped, it is an end as well.
        let _ = ended.await;
    });
    let mut serving = tokio::spawn(serving.into_future());
    tokio::select! {
        served = &mut serving => return ending(served),
        () = stop.requested() => {}
    }
    // Sessions are told to come back; what they sent is answered before.
    server.stop().await;
    drop(end);
    if let Ok(served) = tokio::time::timeout(ENDING, &mut serving).await {
        return ending(served);
    }
    // Somebody reads a file too slowly to be waited for.
    serving.abort();
    Ok(())
}

fn ending(served: Result<std::io::Result<()>, tokio::task::JoinError>) -> Result {
    let served = served.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    served.map_err(|error| Failure::io("the server broke off", &error))
}
