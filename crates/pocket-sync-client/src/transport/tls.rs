//! TLS: rustls on ring, with the certificates this machine trusts.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore};

/// The settings for all connections of this process, read once and off the runtime's workers.
pub(super) async fn config() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let read = tokio::task::spawn_blocking(read)
        .await
        .map_err(io::Error::other)??;
    Ok(CONFIG.get_or_init(|| Arc::new(read)).clone())
}

fn read() -> io::Result<ClientConfig> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "this machine has no trusted certificates; install `ca-certificates` ({})",
                reasons.join("; ")
            ),
        ));
    }
    // Named, not the process's default: another crate may have chosen that, or nobody.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Whether the other side's first bytes were no TLS.
pub(super) fn is_no_tls(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidMessage(_)))
}
