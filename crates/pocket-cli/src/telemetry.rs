//! What a process says of itself: lines on stderr, and with the feature `otel` spans for a collector.

#[cfg(feature = "otel")]
mod otlp;

use std::io::IsTerminal;

use tokio::runtime::Handle;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Arguments, Command, LogFormat};
use crate::failure::Result;

/// What has to be told its end.
pub(crate) struct Telemetry {
    #[cfg(feature = "otel")]
    spans: Option<otlp::Spans>,
}

impl Telemetry {
    /// Begins as the command line wants it. What is exported travels on `runtime`.
    pub(crate) fn begin(arguments: &Arguments, runtime: &Handle) -> Result<Self> {
        let serve = match &arguments.command {
            Command::Serve(serve) => Some(serve),
            _ => None,
        };
        let as_json = serve.is_some_and(|serve| serve.log_format == LogFormat::Json);
        let endpoint = serve.and_then(|serve| serve.otlp_endpoint.as_deref());
        let lines = lines(arguments.global.verbose, as_json);
        #[cfg(feature = "otel")]
        {
            let spans = endpoint.map(|endpoint| otlp::Spans::to(endpoint, runtime));
            let spans = spans.transpose()?;
            let layer = spans.as_ref().map(otlp::Spans::layer);
            tracing_subscriber::registry()
                .with(lines)
                .with(layer)
                .init();
            Ok(Self { spans })
        }
        #[cfg(not(feature = "otel"))]
        {
            let _ = runtime;
            if endpoint.is_some() {
                return Err(crate::failure::Failure::new(
                    pocket_core::codes::CONFIG,
                    "--otlp-endpoint: this program was built without traces; build it with --features otel",
                ));
            }
            tracing_subscriber::registry().with(lines).init();
            Ok(Self {})
        }
    }

    /// Sends what waits. The runtime must still run, and this must not be called on it.
    #[cfg_attr(
        not(feature = "otel"),
        expect(clippy::unused_self, reason = "without traces nothing waits")
    )]
    pub(crate) fn end(self) {
        #[cfg(feature = "otel")]
        if let Some(spans) = self.spans {
            spans.end();
        }
    }
}

/// Lines on stderr.
fn lines<S>(verbose: u8, as_json: bool) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let all = if verbose > 1 {
        LevelFilter::DEBUG
    } else {
        LevelFilter::WARN
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = if as_json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.boxed()
    };
    let shown = Targets::new()
        .with_target("pocket", level)
        .with_default(all);
    lines.with_filter(shown)
}
