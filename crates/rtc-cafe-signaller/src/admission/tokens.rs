//! Signed tokens: whoever has one that the application has signed is let in, as far as it says (JWT, RFC 7519).

use std::{
    collections::HashSet,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::http::{HeaderMap, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Admission, Given, Pass, Rejection, Request, Ruling, Visitor, grant::Grant};
use crate::ErrorCode;

/// Bytes of a token. A client cannot have more of the server's time by a longer one.
const MAX_TOKEN: usize = 8 * 1024;
/// Bytes of a secret: as many as the hash has (RFC 7518, 3.2).
const MIN_SECRET: usize = 32;
/// How much the clocks of who signs and who checks may differ.
const LEEWAY: Duration = Duration::from_secs(10);
/// What stands in front of the 32 bytes of a public key in its DER (RFC 8410).
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The secret can be guessed.
    #[error("a secret must have at least {MIN_SECRET} bytes; `openssl rand -base64 32` makes one")]
    ShortSecret,
    /// It is no public key in PEM.
    #[error("it is no public key in PEM (-----BEGIN PUBLIC KEY-----)")]
    NotAPublicKey,
    /// It is a key for another algorithm.
    #[error("it is no Ed25519 key; `openssl genpkey -algorithm ed25519` makes one")]
    NotEd25519,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Lets in who has a token, a JWT that is signed with one of the keys: HS256 with a secret, EdDSA with a key pair.
///
/// The token comes as `token` in `auth`, in the header `Authorization: Bearer`, or as the field `token` of signals. Without
/// one a client is let in, but nothing is taken from it, and nothing told, until a signal has one. A token that is refused is
/// an error in any case. A later token takes the place of the one before, if its `sub` is the same.
///
/// | claim | |
/// |---|---|
/// | `exp` | needed: until when rooms may be joined. Who is in a room by then stays in it |
/// | `nbf` | from when on it counts |
/// | `sub` | who it is; the identity |
/// | `aud` | for whom it is; refused unless it is [`Self::audience`] |
/// | `rooms` | names and numbers of rooms that may be joined; `"team-*"` is all that begin with `team-`. Without it, all |
/// | `send` | `false` for who may hear who comes and goes, and connect to nobody |
/// | `limits` | `{"rooms", "eventsPerSecond", "burst"}`, each in place of the server's |
///
/// A token that names a key (`kid`) is checked with that key and those without a name; other tokens with all of the
/// algorithm. To change a key, add the new one, sign with it, and take the old one away when its last token has expired.
pub struct Tokens {
    keys: Vec<Key>,
    audience: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    exp: f64,
    sub: Option<Value>,
    #[serde(flatten)]
    grant: Grant,
}

impl Tokens {
    /// Without keys no token is valid.
    pub const fn new() -> Self {
        Self { keys: Vec::new(), audience: None }
    }

    /// Takes tokens that are signed with a secret (HS256), of at least 32 bytes.
    pub fn secret(self, id: Option<&str>, secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET {
            return Err(KeyError::ShortSecret);
        }
        Ok(self.key(id, Algorithm::HS256, DecodingKey::from_secret(secret)))
    }

    /// Takes tokens that are signed with the private key that belongs to this public one: Ed25519, in PEM.
    pub fn public_key(self, id: Option<&str>, pem: &[u8]) -> Result<Self, KeyError> {
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::NotAPublicKey)?;
        let key = key.strip_prefix(&ED25519).filter(|key| key.len() == 32).ok_or(KeyError::NotEd25519)?;
        Ok(self.key(id, Algorithm::EdDSA, DecodingKey::from_ed_der(key)))
    }

    /// Takes only tokens that are for this audience (`aud`).
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    fn key(mut self, id: Option<&str>, algorithm: Algorithm, key: DecodingKey) -> Self {
        self.keys.push(Key { id: id.map(str::to_owned), algorithm, key });
        self
    }

    /// What a token says, if it is valid now.
    pub fn verify(&self, token: &str) -> Result<Pass, Rejection> {
        if token.len() > MAX_TOKEN {
            return Err(invalid(&format!("it is longer than {MAX_TOKEN} bytes")));
        }
        let header = decode_header(token).map_err(|_| invalid("it is no JWT of an algorithm that is known"))?;
        // A key is for one algorithm, whatever a token says.
        let fits = |key: &&Key| {
            let named = header.kid.is_none() || key.id.is_none() || header.kid == key.id;
            key.algorithm == header.alg && named
        };
        let mut last = invalid("there is no key for it");
        for key in self.keys.iter().filter(fits) {
            let error = match decode::<Claims>(token, &key.key, &self.validation(key.algorithm)) {
                Ok(token_data) => return pass(token, token_data.claims),
                Err(error) => error,
            };
            last = match error.kind() {
                ErrorKind::InvalidSignature => invalid("its signature is not valid"),
                // With another key the signature would not be valid.
                kind => return Err(refusal(kind)),
            };
        }
        Err(last)
    }

    /// The pass for a later token. What others have said of the client still holds.
    fn renew(&self, token: &str, pass: Option<&Pass>, given: Option<&Given>) -> Result<Pass, Rejection> {
        let mut renewed = self.verify(token)?;
        if given.is_some_and(|given| given.pass.identity != renewed.identity) {
            return Err(invalid("its subject is another one than before; connect anew"));
        }
        if let Some(pass) = pass {
            pass.carry(given.map_or(&Pass::default(), |given| &given.pass), &mut renewed);
        }
        Ok(renewed)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims = HashSet::from(["exp".to_owned()]);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        if let Some(audience) = &self.audience {
            validation.required_spec_claims.insert("aud".to_owned());
            validation.set_audience(&[audience]);
        }
        validation
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self::new()
    }
}

impl Admission for Tokens {
    fn connect(&self, visitor: &Visitor, request: &Request<'_>) -> Ruling {
        let auth = match request.data() {
            Ok(auth) => auth,
            Err(rejection) => return rejection.into(),
        };
        match auth["token"].as_str().or_else(|| bearer(visitor.headers())) {
            Some(token) => self.verify(token).map_or_else(Ruling::Reject, Ruling::Admit),
            // It may come with the first signal.
            None => Ruling::Allow,
        }
    }

    fn event(&self, visitor: &Visitor, request: &Request<'_>) -> Ruling {
        let given = visitor.pass().and_then(|pass| pass.token.as_deref());
        match (request.token(), given) {
            (Some(token), Some(given)) if given.digest == digest(&token) => Ruling::Allow,
            (Some(token), given) => {
                self.renew(&token, visitor.pass(), given).map_or_else(Ruling::Reject, Ruling::Admit)
            }
            (None, Some(_)) => Ruling::Allow,
            (None, None) => missing().into(),
        }
    }

    fn ready_handshakes(&self) -> bool {
        true
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("keys", &self.keys.len()).field("audience", &self.audience).finish()
    }
}

fn pass(token: &str, claims: Claims) -> Result<Pass, Rejection> {
    let mut pass = Pass::default();
    claims.grant.apply(&mut pass).map_err(|error| invalid(&format!("its claims cannot be used: {error}")))?;
    pass.identity = claims.sub;
    // Beyond what a clock can show it is for ever.
    let exp = Duration::try_from_secs_f64(claims.exp).ok().and_then(|exp| exp.checked_add(LEEWAY));
    pass.expires = exp.and_then(|exp| UNIX_EPOCH.checked_add(exp)).filter(|exp| *exp < far());
    pass.token = Some(Arc::new(Given { digest: digest(token), pass: pass.clone() }));
    Ok(pass)
}

/// A time that nobody lives to see, and that the hub's clock can show.
fn far() -> SystemTime {
    SystemTime::now() + Duration::from_secs(100 * 365 * 24 * 3600)
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refusal(kind: &ErrorKind) -> Rejection {
    match kind {
        ErrorKind::ExpiredSignature => {
            Rejection::new("your token has expired; get a new one").with_code(ErrorCode::TokenExpired)
        }
        ErrorKind::ImmatureSignature => invalid("it is not valid yet"),
        ErrorKind::InvalidAudience => invalid("it is for another audience"),
        ErrorKind::MissingRequiredClaim(claim) => invalid(&format!("it has no \"{claim}\"")),
        _ => invalid("its claims cannot be read"),
    }
}

fn invalid(why: &str) -> Rejection {
    Rejection::new(format!("your token is not accepted: {why}")).with_code(ErrorCode::TokenInvalid)
}

fn missing() -> Rejection {
    let reason = "a token is needed: as \"token\" in auth when connecting, or as a field of signals";
    Rejection::new(reason).with_code(ErrorCode::TokenMissing)
}
