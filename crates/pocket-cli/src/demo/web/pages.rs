//! The built application over HTTP, beside the sync endpoint.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, Response, StatusCode, Uri};
use axum::middleware::{self, Next};
use percent_encoding::percent_decode_str;
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeDir;

/// The page that is shown under every address that names no file.
const INDEX: &str = "/index.html";

/// Where the build puts files whose names change with what is in them.
const HASHED: &str = "/assets/";

/// For a file that never changes.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// For a file that may be another one next time. A service worker above all: an old one would keep the old application.
const ASK_FIRST: HeaderValue = HeaderValue::from_static("no-cache");

/// The application needs nothing from elsewhere, and its code comes from its files alone.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; object-src 'none'; base-uri 'none'; \
     frame-ancestors 'none'",
);

/// The files that are given out.
struct Files {
    /// The folder, without symbolic links on the way to it; none if that cannot be told.
    folder: Option<PathBuf>,
    serve: ServeDir,
}

/// The files in `assets` under `/`, and what `sync` answers under its own paths.
pub(super) fn router(sync: Router, assets: &Path) -> Router {
    // A folder is no page: the application has one page for all addresses.
    let files = Files {
        folder: assets.canonicalize().ok(),
        serve: ServeDir::new(assets).append_index_html_on_directories(false),
    };
    let application = Router::new()
        .fallback(answer)
        .with_state(Arc::new(files))
        // The WebAssembly is less than half of it then.
        .layer(CompressionLayer::new());
    sync.fallback_service(application)
        .layer(middleware::from_fn(own_pages))
}

async fn answer(State(files): State<Arc<Files>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let of_page = is_of_page(&request);
    let mut response = if is_hidden(&path) {
        status(StatusCode::NOT_FOUND)
    } else {
        file(&files, request).await
    };
    let mut found = path.as_str();
    if response.status() == StatusCode::NOT_FOUND && of_page {
        response = file(&files, get(INDEX)).await;
        found = INDEX;
    }
    let is_hashed = found.starts_with(HASHED) && response.status() != StatusCode::NOT_FOUND;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, if is_hashed { FOR_EVER } else { ASK_FIRST });
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    response
}

async fn file(files: &Files, request: Request) -> Response<Body> {
    if !files.has_within(request.uri().path()).await {
        return status(StatusCode::NOT_FOUND);
    }
    match files.serve.clone().try_call(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) if is_absent(&error) => status(StatusCode::NOT_FOUND),
        Err(error) => {
            tracing::warn!(%error, "a file of the application cannot be read");
            status(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

impl Files {
    /// Whether what a path names lies in the folder, also where a symbolic link leads. Whether there is anything is not said.
    async fn has_within(&self, path: &str) -> bool {
        let (Some(folder), Ok(path)) = (&self.folder, percent_decode_str(path).decode_utf8())
        else {
            return false;
        };
        let path = folder.join(path.trim_start_matches('/'));
        match tokio::fs::canonicalize(path).await {
            Ok(place) => place.starts_with(folder),
            Err(_) => true,
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied
    )
}

/// Whether somebody asks for a page of the application: an address without a file's ending. A script or a picture that is
/// missing must stay missing, or a browser would take the page for it.
fn is_of_page(request: &Request) -> bool {
    let last = request.uri().path().rsplit('/').next();
    let is_file = last.is_some_and(|name| name.contains('.') || name.contains('%'));
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    reads && !is_file && !request.uri().path().starts_with(HASHED)
}

/// Whether a part of the path begins with a dot: what the build notes for itself is nobody else's.
fn is_hidden(path: &str) -> bool {
    path.split('/')
        .any(|part| part.starts_with('.') || part.starts_with("%2e") || part.starts_with("%2E"))
}

/// Lets the pages that this server gave out connect to it, also under the address it has in a network.
///
/// The sync server lets no page in whose origin it does not know, and the addresses of this machine may change while it
/// runs. A page whose origin is the very IP address that it asks was given out here; under a name that need not be so,
/// for whoever owns a name can let it point anywhere.
async fn own_pages(mut request: Request, next: Next) -> Response<Body> {
    if is_own_page(request.headers()) {
        request.headers_mut().remove(ORIGIN);
    }
    next.run(request).await
}

fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(ORIGIN), text(HOST)) else {
        return false;
    };
    let is_address = host.parse::<Uri>().is_ok_and(|uri| {
        let name = uri.host().unwrap_or_default();
        let name = name.trim_start_matches('[').trim_end_matches(']');
        name.parse::<std::net::IpAddr>().is_ok()
    });
    let stripped = origin.strip_prefix("http://");
    is_address && stripped.or_else(|| origin.strip_prefix("https://")) == Some(host)
}

fn get(path: &'static str) -> Request {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static(path);
    request
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    fn headers(host: &'static str, origin: &'static str) -> HeaderMap {
        [(HOST, host), (ORIGIN, origin)]
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .into_iter()
            .collect()
    }

    #[test]
    fn a_page_is_of_this_server_if_its_origin_is_the_ip_address_that_it_asks() {
        for (host, origin) in [
            ("192.168.1.5:7711", "http://192.168.1.5:7711"),
            ("10.0.0.9", "http://10.0.0.9"),
            // A proxy with TLS stands between.
            ("10.0.0.9", "https://10.0.0.9"),
            ("[fe80::1]:7711", "http://[fe80::1]:7711"),
        ] {
            assert!(is_own_page(&headers(host, origin)), "{host} {origin}");
        }
        for (host, origin) in [
            ("192.168.1.5:7711", "http://192.168.1.6:7711"),
            ("192.168.1.5:7711", "http://192.168.1.5:80"),
            ("192.168.1.5:7711", "null"),
            ("evil.example:7711", "http://evil.example:7711"),
            ("localhost:7711", "http://localhost:7711"),
            ("x@192.168.1.5:7711", "http://evil.example"),
        ] {
            assert!(!is_own_page(&headers(host, origin)), "{host} {origin}");
        }
        assert!(!is_own_page(&HeaderMap::new()));
    }

    #[test]
    fn addresses_without_an_ending_are_pages_and_dots_hide() {
        let page = |path: &'static str| is_of_page(&get(path));
        for path in ["/", "/done", "/lists/7", "/lists/"] {
            assert!(page(path), "{path}");
        }
        for path in [
            "/sw.js",
            "/assets/old",
            "/assets/a.wasm",
            "/x/y.png",
            "/..%2fx",
        ] {
            assert!(!page(path), "{path}");
        }
        assert!(is_hidden("/.built") && is_hidden("/%2ebuilt") && is_hidden("/a/.b/c"));
        assert!(!is_hidden("/a.b/c.d"));
    }
}
