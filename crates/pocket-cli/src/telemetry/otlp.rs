//! Spans to an OpenTelemetry collector: OTLP, protobuf over HTTP.
//!
//! What else OpenTelemetry lets be set is read from its own variables: the service's name and other attributes
//! (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), sampling (`OTEL_TRACES_SAMPLER`), headers
//! (`OTEL_EXPORTER_OTLP_HEADERS`), sizes and pauses of batches (`OTEL_BSP_…`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use pocket_core::codes as core_codes;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::TlsConnector;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::failure::{Failure, Result};

/// How long a collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the end of the process waits for the last batch.
const GOODBYE: Duration = Duration::from_secs(1);

/// Bytes of an answer that are read at the most.
const ANSWER: usize = 64 * 1024;

/// The name of the service, unless `OTEL_SERVICE_NAME` says another.
const SERVICE: &str = "pocket";

/// Spans on their way.
pub(super) struct Spans(SdkTracerProvider);

impl Spans {
    /// Sends spans to the collector at this address; `/v1/traces` is added.
    pub(super) fn to(endpoint: &str, runtime: &Handle) -> Result<Self> {
        let wrong = |why: &dyn std::fmt::Display| {
            // An address may hold a password where none belongs.
            let shown = if endpoint.contains('@') { "" } else { endpoint };
            Failure::new(
                core_codes::CONFIG,
                format!("--otlp-endpoint {shown}: {why}"),
            )
        };
        let uri: hyper::Uri = endpoint.parse().map_err(|error| wrong(&error))?;
        let has_credentials = uri.authority().is_some_and(|of| of.as_str().contains('@'));
        if uri.host().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong(&"an address like http://127.0.0.1:4318"));
        }
        if has_credentials || uri.query().is_some() {
            return Err(wrong(
                &"no user and no query belongs here; headers are in OTEL_EXPORTER_OTLP_HEADERS",
            ));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(uri.scheme_str() == Some("https"), runtime)?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(PATIENCE)
            .build()
            .map_err(|error| wrong(&error))?;
        let named = EnvResourceDetector::new().detect();
        let resource = Resource::builder()
            .with_service_name(std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| {
                let name = named.get(&opentelemetry::Key::from_static_str("service.name"));
                name.map_or_else(|| SERVICE.to_owned(), |name| name.to_string())
            }))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(exporter)
            .build();
        Ok(Self(provider))
    }

    /// What has the server's spans exported.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        let tracer: SdkTracer = self.0.tracer("pocket");
        let own = Targets::new().with_target("pocket", LevelFilter::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_filter(own)
    }

    /// Sends what waits.
    pub(super) fn end(self) {
        if let Err(error) = self.0.shutdown_with_timeout(GOODBYE) {
            tracing::warn!(target: "pocket::serve", %error, "the last spans may be lost");
        }
    }
}

/// Sends batches, each by a connection of its own: there is one in five seconds.
///
/// Batches are made on a thread without a runtime, so the work is done on that of the server.
#[derive(Clone)]
struct Client {
    tls: Option<TlsConnector>,
    runtime: Handle,
}

impl Client {
    fn new(tls: bool, runtime: &Handle) -> Result<Self> {
        let connector = || {
            let mut roots = rustls::RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?
                .with_root_certificates(roots)
                .with_no_client_auth();
            Ok(TlsConnector::from(Arc::new(config)))
        };
        let tls = tls.then(connector).transpose();
        Ok(Self {
            tls: tls.map_err(|error: io::Error| Failure::io("cannot speak TLS", &error))?,
            runtime: runtime.clone(),
        })
    }

    async fn exchange(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.uri().clone();
        let host = uri.host().ok_or("the address names no host")?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16();
        let port = port.unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let stream = TcpStream::connect((bare, port)).await?;
        match &self.tls {
            None => send(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(bare.to_owned())?;
                send(tls.connect(name, stream).await?, request).await
            }
        }
    }
}

async fn send<S>(stream: S, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender, or with the error that the answer tells.
    tokio::spawn(connection);
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().ok_or("the address names no host")?;
    let host = authority.as_str().parse()?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = path.parse()?;
    parts.headers.insert(HOST, host);
    parts.uri = path;
    let answer = sender
        .send_request(Request::from_parts(parts, Full::new(body)))
        .await?;
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = self.clone().exchange(request);
        let in_time = async { tokio::time::timeout(PATIENCE, exchange).await };
        self.runtime.spawn(in_time).await??
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}
