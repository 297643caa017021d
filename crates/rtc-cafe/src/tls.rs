//! The server's certificate: read, shown to clients, and read again when its files change.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, InconsistentKeys, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject},
        },
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};
use x509_cert::{Certificate, der::Decode};

use crate::stop::Hangups;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// A certificate that ends within this time is worth a word.
const SOON: Duration = Duration::from_hours(24 * 14);

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("--tls-cert and --tls-key belong together: the certificate's file, and that of its key")]
    Alone,
    #[error("{option} {}: cannot be read", path.display())]
    Unreadable { option: &'static str, path: PathBuf, source: io::Error },
    #[error("--tls-cert {}: there is no certificate in it; PEM with BEGIN CERTIFICATE is needed", .0.display())]
    NoCertificate(PathBuf),
    #[error("--tls-cert {}: certificate {at} in it is broken: {reason}", path.display())]
    BrokenCertificate { path: PathBuf, at: usize, reason: String },
    #[error(
        "--tls-key {}: the key in it is encrypted; `openssl pkey -in FILE -out NEW` writes one that is not",
        .0.display()
    )]
    Encrypted(PathBuf),
    #[error("--tls-key {}: there is no private key in it; PEM with BEGIN PRIVATE KEY is needed", .0.display())]
    NoKey(PathBuf),
    #[error("--tls-key {}: the key in it cannot be used: {reason}", path.display())]
    BrokenKey { path: PathBuf, reason: String },
    #[error(
        "--tls-key {}: the key in it is not that of the first certificate in {}",
        key.display(), certificate.display()
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
}

/// Where certificate and key are.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    /// Both, or neither.
    pub(crate) fn new(certificate: Option<&str>, key: Option<&str>) -> Result<Option<Self>, TlsError> {
        let given = |path: Option<&str>| path.filter(|path| !path.trim().is_empty()).map(PathBuf::from);
        match (given(certificate), given(key)) {
            (Some(certificate), Some(key)) => Ok(Some(Self { certificate, key })),
            (None, None) => Ok(None),
            _ => Err(TlsError::Alone),
        }
    }

    fn read(&self) -> Result<Content, TlsError> {
        let read = |option, path: &Path| {
            fs::read(path).map_err(|source| TlsError::Unreadable { option, path: path.to_owned(), source })
        };
        Ok(Content { certificate: read("--tls-cert", &self.certificate)?, key: read("--tls-key", &self.key)? })
    }

    fn parse(&self, content: &Content) -> Result<Identity, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&content.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| TlsError::NoCertificate(self.certificate.clone()))?;
        let mut expiry = u64::MAX;
        for (at, certificate) in chain.iter().enumerate() {
            let parsed = Certificate::from_der(certificate).map_err(|error| {
                let (path, at, reason) = (self.certificate.clone(), at + 1, error.to_string());
                TlsError::BrokenCertificate { path, at, reason }
            })?;
            expiry = expiry.min(parsed.tbs_certificate().validity().not_after.to_unix_duration().as_secs());
        }
        let key = PrivateKeyDer::from_pem_slice(&content.key).map_err(|error| self.no_key(&content.key, &error))?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch { certificate: self.certificate.clone(), key: self.key.clone() }
            }
            error => TlsError::BrokenKey { path: self.key.clone(), reason: error.to_string() },
        })?;
        Ok(Identity { key: Arc::new(key), expiry })
    }

    fn no_key(&self, content: &[u8], error: &pem::Error) -> TlsError {
        let is_encrypted = content.windows(9).any(|window| window.eq_ignore_ascii_case(b"encrypted"));
        match error {
            _ if is_encrypted => TlsError::Encrypted(self.key.clone()),
            pem::Error::NoItemsFound => TlsError::NoKey(self.key.clone()),
            error => TlsError::BrokenKey { path: self.key.clone(), reason: error.to_string() },
        }
    }
}

/// What the files say.
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Content {
    /// Changes with the files, and gives the key away to nobody.
    fn hash(&self) -> [u8; 32] {
        Sha256::new().chain_update(&self.certificate).chain_update([0]).chain_update(&self.key).finalize().into()
    }
}

/// A certificate with its key.
struct Identity {
    key: Arc<CertifiedKey>,
    /// When the first certificate of its chain ends, in seconds since 1970.
    expiry: u64,
}

/// The certificate that clients are shown, now and after each change of its files. Clones show the same.
#[derive(Clone)]
pub(crate) struct Certificates {
    files: Files,
    shown: Arc<Shown>,
    /// What was logged last of its end.
    told: Arc<Mutex<Warned>>,
}

impl Certificates {
    /// Reads the files; blocks.
    pub(crate) fn load(files: Files) -> Result<Self, TlsError> {
        let content = files.read()?;
        let identity = files.parse(&content)?;
        let shown = Shown(RwLock::new((identity, content.hash())));
        let this = Self { files, shown: Arc::new(shown), told: Arc::default() };
        this.warn();
        Ok(this)
    }

    /// What does the handshakes.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider supports the versions that it was built with")
            .with_no_client_auth()
            .with_cert_resolver(self.shown.clone());
        // TURN is at the same port, or served with the same certificate (RFC 7443).
        config.alpn_protocols = ["http/1.1", "stun.turn", "stun.nat-discovery"].map(Vec::from).to_vec();
        if let Ok(ticketer) = aws_lc_rs::Ticketer::new() {
            config.ticketer = ticketer;
        }
        TlsAcceptor::from(Arc::new(config))
    }

    /// When the certificate ends, in seconds since 1970.
    pub(crate) fn expiry(&self) -> u64 {
        self.shown.0.read().unwrap_or_else(PoisonError::into_inner).0.expiry
    }

    /// Follows changes of the files for ever; a hangup has them read at once. What cannot be used is told, and changes nothing.
    pub(crate) async fn follow(self, mut hangups: Hangups) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What was wrong the last time, and how often in a row.
        let mut failed = (String::new(), 0);
        loop {
            let is_asked = tokio::select! {
                _ = ticks.tick() => false,
                () = hangups.next() => true,
            };
            let this = self.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || this.read_again()).await else { continue };
            self.warn();
            let Err(error) = read else {
                failed = (String::new(), 0);
                continue;
            };
            let why = format!("{:#}", anyhow::Error::from(error));
            failed = if failed.0 == why { (failed.0, failed.1 + 1) } else { (why, 1) };
            // Files that are just being written are whole the next time.
            if is_asked || failed.1 == 2 {
                tracing::error!(why = failed.0, "the new certificate cannot be used; the old one stays");
            }
        }
    }

    /// Warns of a certificate that ends soon, and of one that has ended: once each.
    fn warn(&self) {
        let (expiry, hash) = {
            let shown = self.shown.0.read().unwrap_or_else(PoisonError::into_inner);
            (shown.0.expiry, shown.1)
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let due = self.told.lock().unwrap_or_else(PoisonError::into_inner).due(hash, expiry, now.as_secs());
        let (file, expires) = (self.files.certificate.display(), date(expiry));
        match due {
            Some(Left::None) => tracing::error!(%file, %expires, "the certificate has expired; clients refuse it"),
            Some(Left::Little) => tracing::warn!(%file, %expires, "the certificate expires soon"),
            Some(Left::Enough) | None => {}
        }
    }

    fn read_again(&self) -> Result<(), TlsError> {
        let content = self.files.read()?;
        let hash = content.hash();
        if self.shown.0.read().unwrap_or_else(PoisonError::into_inner).1 == hash {
            return Ok(());
        }
        let identity = self.files.parse(&content)?;
        tracing::info!(expires = %date(identity.expiry), "the certificate has changed");
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = (identity, hash);
        Ok(())
    }
}

/// The certificate, and the hash of the files that it is from.
struct Shown(RwLock<(Identity, [u8; 32])>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).0.key.clone())
    }
}

/// How much time a certificate has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Enough,
    Little,
    None,
}

/// Of which certificate what was told.
#[derive(Debug, Default)]
struct Warned(Option<([u8; 32], Left)>);

impl Warned {
    /// What is to be told of a certificate now, unless it was.
    fn due(&mut self, hash: [u8; 32], expiry: u64, now: u64) -> Option<Left> {
        let left = match expiry.checked_sub(now) {
            None => Left::None,
            Some(left) if left < SOON.as_secs() => Left::Little,
            Some(_) => Left::Enough,
        };
        (self.0.replace((hash, left)) != Some((hash, left))).then_some(left)
    }
}

fn date(seconds: u64) -> impl fmt::Display {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default().format("%Y-%m-%d %H:%M UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_warning_comes_once_for_each_certificate() {
        let (day, soon) = (24 * 3600, SOON.as_secs());
        let mut warned = Warned::default();
        let mut due = |hash: u8, now| warned.due([hash; 32], 100 * day, now);
        assert_eq!(due(1, 0), Some(Left::Enough));
        assert_eq!(due(1, 100 * day - soon), None);
        assert_eq!([due(1, 87 * day), due(1, 88 * day), due(1, 99 * day)], [Some(Left::Little), None, None]);
        assert_eq!([due(1, 101 * day), due(1, 102 * day)], [Some(Left::None), None]);
        assert_eq!([due(2, 99 * day), due(2, 99 * day)], [Some(Left::Little), None]);
    }
}
