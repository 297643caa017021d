//! Who asks: nonces, and the long-term credentials of RFC 8489 section 9.2, without a state of its own.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hmac::{Hmac, Mac};
use sha1::Sha1;
use turn_types::stun::{
    attribute::{ErrorCode, MessageIntegrity, MessageIntegritySha256, Nonce, Realm, Username},
    message::{IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageIntegrityCredentials},
    prelude::AttributeStaticType,
};

use crate::credentials::Secret;

/// How long a nonce is good. A client that comes with an older one is given another (438), and notices nothing else.
const NONCE_LIFETIME: Duration = Duration::from_secs(600);

/// What requests are checked with.
pub(crate) struct Authenticator {
    realm: String,
    secret: Secret,
    nonce_key: [u8; 32],
}

/// Somebody who has shown to have credentials.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) username: String,
    credentials: MessageIntegrityCredentials,
    pub(crate) algorithm: IntegrityAlgorithm,
}

/// Neither the key of its nonces nor its secret.
impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("realm", &self.realm).finish_non_exhaustive()
    }
}

/// Not the password.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A request is refused, with this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) u16);

impl Authenticator {
    pub(crate) fn new(realm: String, secret: Secret) -> Self {
        let mut nonce_key = [0; 32];
        getrandom::fill(&mut nonce_key).expect("the operating system has random numbers");
        Self { realm, secret, nonce_key }
    }

    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    /// Checks a request. Who has an allocation already keeps it with the credentials it was made with, though they may have
    /// expired meanwhile.
    pub(crate) fn check(
        &self,
        message: &Message<'_>,
        client: SocketAddr,
        known: Option<&Identity>,
        now: SystemTime,
    ) -> Result<Identity, Refusal> {
        if !message.has_attribute(MessageIntegrity::TYPE) && !message.has_attribute(MessageIntegritySha256::TYPE) {
            return Err(Refusal(ErrorCode::UNAUTHORIZED));
        }
        let (Ok(username), Ok(realm), Ok(nonce)) =
            (message.attribute::<Username>(), message.attribute::<Realm>(), message.attribute::<Nonce>())
        else {
            return Err(Refusal(ErrorCode::BAD_REQUEST));
        };
        if !self.is_nonce(nonce.nonce(), client, now) {
            return Err(Refusal(ErrorCode::STALE_NONCE));
        }
        if realm.realm() != self.realm {
            return Err(Refusal(ErrorCode::UNAUTHORIZED));
        }
        let username = username.username().to_owned();
        let credentials = match known {
            Some(identity) if identity.username == username => identity.credentials.clone(),
            // RFC 8656 section 5: nobody takes over the allocation of another.
            Some(_) => return Err(Refusal(ErrorCode::WRONG_CREDENTIALS)),
            None => {
                let password = self.secret.password(&username, now).map_err(|error| {
                    tracing::debug!(%client, %error, "refused");
                    Refusal(ErrorCode::UNAUTHORIZED)
                })?;
                LongTermKeyCredentials::new(username.clone(), password, self.realm.clone()).into()
            }
        };
        let algorithm = message.validate_integrity(&credentials).map_err(|_| Refusal(ErrorCode::UNAUTHORIZED))?;
        Ok(Identity { username, credentials, algorithm })
    }

    /// A nonce for a client. It is good for this address alone, and any server with the same key would know it again.
    pub(crate) fn nonce(&self, client: SocketAddr, now: SystemTime) -> String {
        let end = (now.duration_since(UNIX_EPOCH).unwrap_or_default() + NONCE_LIFETIME).as_secs();
        self.sign_nonce(end, client)
    }

    fn is_nonce(&self, nonce: &str, client: SocketAddr, now: SystemTime) -> bool {
        let end = nonce.split('-').next().and_then(|end| u64::from_str_radix(end, 16).ok());
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // What an attacker learns from the time that the comparison takes is a nonce for its own address, which it may ask for.
        end.is_some_and(|end| now < end && self.sign_nonce(end, client) == nonce)
    }

    fn sign_nonce(&self, end: u64, client: SocketAddr) -> String {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.nonce_key).expect("an HMAC takes keys of any length");
        mac.update(&end.to_be_bytes());
        mac.update(client.to_string().as_bytes());
        let signature = mac.finalize().into_bytes();
        let signature: String = signature[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{end:x}-{signature}")
    }
}

impl Identity {
    pub(crate) const fn credentials(&self) -> &MessageIntegrityCredentials {
        &self.credentials
    }
}
