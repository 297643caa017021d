//! Credentials that end by themselves: the form of "A REST API For Access To TURN Services", as coturn's `use-auth-secret`.
//!
//! The user name is when they end, in seconds since 1970, and whose they are: `1795852800:3f9a`. The password is the
//! base64 of an HMAC-SHA1 of it with a secret that the TURN servers share with whoever gives credentials out. Nothing else
//! is shared, and nothing is stored.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// Longest user name, in bytes (RFC 8489 section 14.3 allows 508).
const MAX_USERNAME: usize = 508;

/// What TURN servers share with whoever gives out credentials for them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A user name and its password, as they go into `iceServers`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `username` of `RTCIceServer`.
    pub username: String,
    /// `credential` of `RTCIceServer`.
    pub password: String,
}

/// Why a user name has no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// It is not of the form `SECONDS:ID`.
    #[error("not a user name of this server")]
    Foreign,
    /// Its time is over.
    #[error("the credentials have expired")]
    Expired,
}

/// The secret is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret must not be empty")]
pub struct EmptySecretError;

impl Secret {
    /// A secret that others know as well.
    ///
    /// # Errors
    /// When it is empty or blank: everybody could mint credentials.
    pub fn new(secret: impl Into<String>) -> Result<Self, EmptySecretError> {
        let secret = secret.into();
        if secret.trim().is_empty() { Err(EmptySecretError) } else { Ok(Self(secret)) }
    }

    /// A secret that nobody knows, for a server that is alone; 256 bits from the operating system.
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system has random numbers");
        Self(BASE64_STANDARD.encode(bytes))
    }

    /// Credentials for somebody that end after some time. Servers count per `id`, so each client should have its own.
    #[must_use]
    pub fn mint(&self, id: &str, lifetime: Duration, now: SystemTime) -> Credentials {
        let end = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(lifetime).as_secs();
        let username = format!("{end}:{id}");
        Credentials { password: self.sign(&username), username }
    }

    /// The password of a user name that has not ended.
    pub(crate) fn password(&self, username: &str, now: SystemTime) -> Result<String, CredentialError> {
        let end = username.split(':').next().and_then(|end| end.parse::<u64>().ok()).ok_or(CredentialError::Foreign)?;
        if username.len() > MAX_USERNAME {
            return Err(CredentialError::Foreign);
        }
        if now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() >= end {
            return Err(CredentialError::Expired);
        }
        Ok(self.sign(username))
    }

    fn sign(&self, username: &str) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(self.0.as_bytes()).expect("an HMAC takes keys of any length");
        mac.update(username.as_bytes());
        BASE64_STANDARD.encode(mac.finalize().into_bytes())
    }
}

/// Whose credentials they are, which is what counts against quotas.
pub(crate) fn id(username: &str) -> &str {
    username.split_once(':').map_or(username, |(_, id)| id)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    #[test]
    fn passwords_are_those_of_coturn() {
        // printf 1795852800:ana | openssl dgst -sha1 -hmac north -binary | base64
        let secret = Secret::new("north").unwrap();
        let made = secret.mint("ana", Duration::from_secs(1_795_852_800), NOW);
        assert_eq!(made.username, "1795852800:ana");
        assert_eq!(made.password, "yFrEDrZXuKAlCcqOsCZunD/YfeY=");
        assert_eq!(secret.password("1795852800:ana", NOW), Ok(made.password));
    }

    #[test]
    fn they_end() {
        let secret = Secret::random();
        let at = |seconds| NOW + Duration::from_secs(seconds);
        assert!(secret.password("100:ana", at(99)).is_ok());
        assert_eq!(secret.password("100:ana", at(100)), Err(CredentialError::Expired));
        for foreign in ["", "ana", ":", ":100", "-1:ana", "1e3:ana", &format!("100:{}", "a".repeat(600))] {
            assert_eq!(secret.password(foreign, at(0)), Err(CredentialError::Foreign), "{foreign:?}");
        }
    }

    #[test]
    fn secrets_are_kept() {
        assert!(Secret::new(" ").is_err());
        assert_ne!(Secret::random(), Secret::random());
        let secret = Secret::new("north").unwrap();
        let shown = format!("{secret:?} {:?}", secret.mint("ana", Duration::ZERO, NOW));
        assert!(
            !shown.contains("north") && !shown.contains(&secret.mint("ana", Duration::ZERO, NOW).password),
            "{shown}"
        );
    }
}
