//! Whom TLS trusts: the roots of the operating system, and those that the application adds.
//!
//! The roots are read by `rustls-native-certs`, which is small and kept by the makers of rustls. What
//! `rustls-platform-verifier` adds, revocation by the operating system, is not worth its bindings for three platforms to
//! a client that talks to one server.

use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why there is no configuration for TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// The system has no root certificates, and none were given.
    #[error(
        "no root certificates were found{0}; install them (on Debian the package ca-certificates), name a file of them \
         in SSL_CERT_FILE, or give your own"
    )]
    NoRoots(String),
    /// A given root certificate is none.
    #[error("root certificate {index} cannot be used: {reason}")]
    Root {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The given text contains no certificate.
    #[error("there is no certificate in it; neither DER nor PEM with BEGIN CERTIFICATE")]
    NoCertificate,
}

/// Trusts the roots of the operating system and these. Reads files, so keep and share what it returns.
pub(crate) fn client_config(extra_roots: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, TlsConfigError> {
    let native = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(native.certs);
    for (index, root) in extra_roots.iter().enumerate() {
        let added = roots.add(root.clone());
        added.map_err(|error| TlsConfigError::Root { index, reason: error.to_string() })?;
    }
    if roots.is_empty() {
        let errors = native.errors.first().map(|error| format!(" ({error})"));
        return Err(TlsConfigError::NoRoots(errors.unwrap_or_default()));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the versions that it was built with")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// This configuration, or that of clients that bring none.
pub(crate) async fn or_shared(config: Option<Arc<ClientConfig>>) -> Result<Arc<ClientConfig>, TlsConfigError> {
    match config {
        Some(config) => Ok(config),
        // Reading files blocks.
        None => tokio::task::spawn_blocking(shared)
            .await
            .unwrap_or_else(|error| Err(TlsConfigError::NoRoots(format!(" ({error})")))),
    }
}

/// The configuration of clients that bring none, read when the first of them needs it.
fn shared() -> Result<Arc<ClientConfig>, TlsConfigError> {
    static SHARED: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    match SHARED.get() {
        Some(config) => Ok(config.clone()),
        None => client_config(&[]).map(|config| SHARED.get_or_init(|| config).clone()),
    }
}

/// The certificates in a file's content: one in DER, or any number in PEM.
pub(crate) fn certificates(content: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    // A certificate is a SEQUENCE (RFC 5280 section 4.1), whose tag no text begins with in a PEM file.
    if content.first() == Some(&0x30) {
        return Ok(vec![CertificateDer::from(content.to_vec())]);
    }
    let certificates = CertificateDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>();
    certificates.ok().filter(|certificates| !certificates.is_empty()).ok_or(TlsConfigError::NoCertificate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_given_in_der_or_pem() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let der = certificates(made.cert.der()).unwrap();
        let pem = certificates([made.cert.pem(), made.cert.pem()].concat().as_bytes()).unwrap();
        assert_eq!(der, [made.cert.der().clone()]);
        assert_eq!(pem, [der[0].clone(), der[0].clone()]);
        assert!(client_config(&pem).is_ok());
    }

    #[test]
    fn what_is_no_certificate() {
        assert_eq!(certificates(b""), Err(TlsConfigError::NoCertificate));
        assert_eq!(certificates(b"hello"), Err(TlsConfigError::NoCertificate));
        let broken = client_config(&certificates(b"0hello").unwrap()).unwrap_err();
        assert!(matches!(broken, TlsConfigError::Root { index: 0, .. }), "{broken}");
    }
}
