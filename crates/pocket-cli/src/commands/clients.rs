//! `pocket clients`: who is connected to a server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pocket_core::{Map, Value};
use pocket_sync_client::{Endpoint, codes as sync_codes};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::args::{ClientsArgs, Global};
use crate::failure::{Failure, Result};
use crate::output::{Output, grouped, json};

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Bytes of an answer that are read at the most.
const MOST: u64 = 64 * 1024 * 1024;

pub(super) async fn run(global: &Global, args: ClientsArgs, out: &mut Output) -> Result {
    let place = Place::of(&args.server)?;
    let is_near = ["localhost", "127.0.0.1", "[::1]"].contains(&place.host.as_str());
    if args.admin_token.is_some() && !place.tls && !is_near && !global.insecure {
        return Err(Failure::new(
            sync_codes::PLAINTEXT_REFUSED,
            format!(
                "the token would travel in plain text to {}; use https://, or --insecure on a network you trust",
                args.server
            ),
        ));
    }
    let asked = ask(&place, args.admin_token.as_deref());
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    let answer = answer
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|error| {
            Failure::new(
                sync_codes::CONNECT,
                format!("cannot ask {}: {error}", args.server),
            )
        })?;
    let clients = read(&answer, &args.server)?;
    for client in &clients {
        if out.is_json() {
            out.line(json(client))?;
            continue;
        }
        let text = |name| client.get(name).and_then(Value::as_str).unwrap_or_default();
        let lag = client.get("lag").and_then(Value::as_integer);
        out.line(format_args!(
            "{}  {}  {}  since {}  {} behind",
            text("client"),
            text("namespace"),
            text("user"),
            text("since"),
            grouped(lag.and_then(pocket_core::Integer::as_u64).unwrap_or(0))
        ))?;
    }
    if clients.is_empty() && !out.is_json() {
        out.note("nobody is connected");
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    tls: bool,
    host: String,
    port: u16,
    /// Where the server is mounted, without a slash at its end.
    base: String,
}

impl Place {
    /// The server of a URL like that for syncing: a path before `/sync` is where it is mounted.
    fn of(url: &str) -> Result<Self> {
        // The same rules as for syncing.
        Endpoint::parse(url)?;
        let (scheme, rest) = url.split_once("://").unwrap_or(("ws", url));
        let tls = ["wss", "https"].contains(&scheme.to_ascii_lowercase().as_str());
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let path = rest[authority.len()..].split(['?', '#']).next();
        let path = path.unwrap_or_default().trim_end_matches('/');
        let base = path.strip_suffix("/sync").unwrap_or(path);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, None),
        };
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: port.unwrap_or(if tls { 443 } else { 80 }),
            base: base.to_owned(),
        })
    }
}

async fn ask(place: &Place, token: Option<&str>) -> io::Result<String> {
    let bare = place.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, place.port)).await?;
    if !place.tls {
        return get(stream, place, token).await;
    }
    let mut roots = rustls::RootCertStore::empty();
    let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    roots.add_parsable_certificates(found.map_err(io::Error::other)?.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    get(connector.connect(name, stream).await?, place, token).await
}

/// Asks over HTTP/1.0: the answer ends with the connection and comes in one piece.
async fn get(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    place: &Place,
    token: Option<&str>,
) -> io::Result<String> {
    let token = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    let request = format!(
        "GET {}/admin/clients HTTP/1.0\r\nHost: {}:{}\r\n{token}\r\n",
        place.base, place.host, place.port
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = stream.take(MOST).read_to_end(&mut answer).await;
    // Some ends of TLS come without a goodbye; what is whole is good.
    if answer.is_empty() {
        read?;
    }
    String::from_utf8(answer).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn read(answer: &str, server: &str) -> Result<Vec<Map>> {
    let foreign = || {
        Failure::new(
            sync_codes::CONNECT,
            format!("{server} does not answer as a Pocket server does; is it mounted elsewhere?"),
        )
    };
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(foreign)?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    let value = Value::from_json_str(body).map_err(|_| foreign())?;
    let map = value.as_map().ok_or_else(foreign)?;
    if status == "401" {
        return Err(Failure::new(
            "unauthorized",
            "this needs the admin token of the server; give it with --admin-token",
        ));
    }
    let clients = map.get("clients").filter(|_| status == "200");
    match clients {
        Some(Value::Array(clients)) => clients
            .iter()
            .map(|client| client.as_map().cloned().ok_or_else(foreign))
            .collect(),
        _ => Err(foreign()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_below_a_path_is_asked_there() {
        let place = |url| {
            let place = Place::of(url).map_err(|_| url);
            place.map(|place| (place.tls, place.host, place.port, place.base))
        };
        let at =
            |tls, host: &str, port, base: &str| Ok((tls, host.to_owned(), port, base.to_owned()));
        assert_eq!(place("ws://h:7700"), at(false, "h", 7700, ""));
        assert_eq!(place("ws://h:7700/"), at(false, "h", 7700, ""));
        assert_eq!(place("wss://h/sync"), at(true, "h", 443, ""));
        assert_eq!(
            place("https://h/pocket/sync"),
            at(true, "h", 443, "/pocket")
        );
        assert_eq!(place("http://[::1]:80/a/b"), at(false, "[::1]", 80, "/a/b"));
    }
}
