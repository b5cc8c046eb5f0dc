//! TLS: rustls on ring, with the certificates this machine trusts.

use std::ffi::OsStr;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::{Endpoint, SyncError, codes};

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
        let named = NAMED
            .iter()
            .find_map(|name| Some((*name, std::env::var_os(name)?)));
        return Err(no_authorities(
            named
                .as_ref()
                .map(|(name, value)| (*name, value.as_os_str())),
            &reasons,
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

/// The variables that say where to look for authorities, instead of where this machine keeps them.
const NAMED: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Nobody is trusted: what was named has no certificate in it, or this machine has none.
fn no_authorities(named: Option<(&str, &OsStr)>, reasons: &[String]) -> io::Error {
    let why = match reasons {
        [] => String::new(),
        reasons => format!(" ({})", reasons.join("; ")),
    };
    let message = match named {
        Some((name, value)) => format!(
            "the variable {name} names `{}`, in which no certificate of an authority was found; correct it, or leave it out \
             to trust those of this machine{why}",
            value.display()
        ),
        None => {
            format!("this machine has no trusted certificates; install `ca-certificates`{why}")
        }
    };
    let error = SyncError::config(message);
    io::Error::new(io::ErrorKind::NotFound, error)
}

/// What a handshake that failed says about the other side; none when it was something else.
pub(super) fn failure(error: &io::Error, endpoint: &Endpoint) -> Option<SyncError> {
    let inner = error.get_ref()?;
    if let Some(told) = inner.downcast_ref::<SyncError>() {
        // It is no fault of the other side.
        return Some(told.clone());
    }
    match inner.downcast_ref()? {
        rustls::Error::InvalidMessage(_) => Some(super::no_tls(endpoint)),
        rustls::Error::InvalidCertificate(why) => {
            let why = distrust(why, endpoint.host());
            let message = format!("the certificate of `{}` {why}", super::shown(endpoint));
            Some(SyncError::new(codes::CERTIFICATE, message))
        }
        _ => None,
    }
}

/// Why a certificate is not trusted, and what to do about it.
fn distrust(why: &CertificateError, host: &str) -> String {
    let trust = "name a PEM file with that authority in the variable SSL_CERT_FILE, or add it to those of this machine, and \
                 start again";
    match why {
        // The latter when an authority of the same name is trusted that has another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("is of an authority that this machine does not trust; {trust}")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "is not for the name {host}; use a name that it is for, or give the server another one"
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired; renew it, or set this machine's clock".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet; set this machine's clock".to_owned()
        }
        // What rustls takes from the crate below it has no name of its own.
        other if other.to_string().contains("CaUsedAsEndEntity") => format!(
            "is that of an authority itself (CA:TRUE); have it sign another one for the server, with CA:FALSE, and {trust}"
        ),
        other => format!("cannot be trusted: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use rustls::OtherError;

    use super::*;

    /// A file that is missing was told as a machine without authorities.
    #[test]
    fn a_variable_that_names_no_authority_is_named() {
        let endpoint = Endpoint::parse("wss://h/").expect("a URL");
        let reasons = ["no such file".to_owned()];
        let named = Some(("SSL_CERT_FILE", OsStr::new("gone.pem")));
        let error = failure(&no_authorities(named, &reasons), &endpoint).expect("it is told");
        assert_eq!((error.code(), error.is_retryable()), ("config", false));
        for part in ["SSL_CERT_FILE", "gone.pem", "no such file"] {
            assert!(error.message().contains(part), "{error}");
        }
        assert!(!error.message().contains("ca-certificates"), "{error}");
        let error = failure(&no_authorities(None, &[]), &endpoint).expect("it is told");
        assert!(error.message().contains("ca-certificates"), "{error}");
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_told_with_what_to_do() {
        let endpoint = Endpoint::parse("wss://example.org/sync").unwrap();
        let told = |why: CertificateError| {
            let error = io::Error::other(rustls::Error::InvalidCertificate(why));
            let error = failure(&error, &endpoint).expect("it is about a certificate");
            assert_eq!((error.code(), error.is_retryable()), ("certificate", false));
            error.message().to_owned()
        };
        let authority = OtherError(Arc::new(io::Error::other("CaUsedAsEndEntity")));
        for (why, part) in [
            (CertificateError::UnknownIssuer, "SSL_CERT_FILE"),
            (CertificateError::NotValidForName, "name example.org"),
            (CertificateError::Expired, "expired"),
            (CertificateError::NotValidYet, "clock"),
            (CertificateError::Other(authority), "CA:FALSE"),
            (CertificateError::Revoked, "cannot be trusted"),
        ] {
            let message = told(why);
            assert!(message.contains(part), "{message}");
            assert!(message.contains("wss://example.org/sync"), "{message}");
        }
        assert!(failure(&io::ErrorKind::ConnectionReset.into(), &endpoint).is_none());
    }
}
