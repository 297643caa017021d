//! Who is let in, as options: by signed tokens, or by asking a server.

use std::{fs, time::Duration};

use anyhow::Context;
use rtc_cafe_signaller::{
    Builder,
    admission::{Tokens, Webhook},
};

use crate::{
    hidden::Hidden,
    listed::{Listed, listed},
};

/// Longest time for an answer: the server decides within ten seconds, or not at all.
const MOST_SECONDS: u64 = 10;

/// Without any of these everybody is let in. With both, tokens are looked at first, and then the URL is asked.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Admission")]
pub(crate) struct AdmissionOptions {
    /// Lets in who has a token (JWT, HS256) signed with this secret of at least 32 bytes, `[KID:]SECRET`; repeat it, or
    /// have several in the variable, one in each line
    ///
    /// Clients give the token as `token` in Socket.IO's `auth`, in the header `Authorization: Bearer`, or as a field of
    /// their signals. It needs `exp`; it may have `nbf`, `sub` (who it is), `rooms` (such as `["lobby","team-*"]`), `send`
    /// and `limits`. With a KID in front, the secret is for tokens that name it (or none), so that keys can be changed; a
    /// secret with a colon in it needs one. Better have it in the variable than in the list of processes.
    #[arg(
        long,
        env = "RTC_CAFE_JWT_SECRET",
        hide_env_values = true,
        value_name = "[KID:]SECRET",
        value_delimiter = '\n',
        value_parser = secret
    )]
    jwt_secret: Vec<Listed<Key>>,

    /// Lets in who has a token (JWT, EdDSA) signed with the private key of this public one, a PEM file with an Ed25519
    /// key, `[KID:]FILE`; repeat it, or separate several by commas
    ///
    /// `openssl genpkey -algorithm ed25519 -out private.pem && openssl pkey -in private.pem -pubout -out public.pem`
    #[arg(
        long,
        env = "RTC_CAFE_JWT_PUBLIC_KEY",
        value_name = "[KID:]FILE",
        value_delimiter = ',',
        value_parser = file
    )]
    jwt_public_key: Vec<Listed<Key>>,

    /// Takes only tokens for this audience (`aud`); tokens for any are refused without it
    #[arg(long, env = "RTC_CAFE_JWT_AUDIENCE", value_name = "NAME")]
    jwt_audience: Option<String>,

    /// URL that is asked about every client, and every event of a client, `http://` or `https://`
    ///
    /// It gets a POST with the JSON `{sid, event, data, address, origin, identity}`; for a client that connects, `event` is
    /// `connect`, and `data` its `auth`. A status of 2xx lets it through, unless the body is `{"error": ...}`; that, or a
    /// status of 4xx, refuses it with that error or the text of the body. No answer, or another one, refuses it too.
    #[arg(long, env = "RTC_CAFE_VALIDATE_URL", hide_env_values = true, value_name = "URL")]
    validate_url: Option<Hidden>,

    /// Seconds that an answer of `--validate-url` may take, 1 to 10 [default: 5]
    #[arg(long, env = "RTC_CAFE_VALIDATE_TIMEOUT", value_name = "SECONDS", value_parser = seconds)]
    validate_timeout: Option<Listed<u64>>,
}

/// A key, or the name of its file, and the name by which tokens call it.
#[derive(Clone)]
pub(crate) struct Key {
    id: Option<String>,
    value: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What is wrong with a secret is found out later: a value that is refused here is shown.
fn secret(text: &str) -> Result<Listed<Key>, String> {
    listed(text, |text| Ok(named(text, 1)))
}

fn file(text: &str) -> Result<Listed<Key>, String> {
    // One letter is a drive, and no name of a key.
    listed(text, |text| Ok(named(text, 2)))
}

/// Splits off the name of a key, which has at least so many characters.
fn named(text: &str, shortest: usize) -> Key {
    match text.split_once(':') {
        Some((id, value)) if id.len() >= shortest => Key { id: Some(id.to_owned()), value: value.to_owned() },
        _ => Key { id: None, value: text.to_owned() },
    }
}

fn seconds(text: &str) -> Result<Listed<u64>, String> {
    match crate::listed::number(text)? {
        Some(seconds) if !(1..=MOST_SECONDS).contains(&seconds) => Err(format!("it must be 1 to {MOST_SECONDS}")),
        seconds => Ok(seconds),
    }
}

impl AdmissionOptions {
    /// Has the server ask whoever is to be asked.
    pub(crate) fn apply(&self, mut builder: Builder) -> anyhow::Result<Builder> {
        if let Some(tokens) = self.tokens()? {
            builder = builder.admission(tokens);
        }
        if let Some(url) = said(self.validate_url.as_deref(), "--validate-url")? {
            let mut webhook = Webhook::new(url).context("--validate-url")?;
            if let Some(seconds) = self.validate_timeout.flatten() {
                webhook = webhook.timeout(Duration::from_secs(seconds));
            }
            builder = builder.admission(webhook);
        }
        Ok(builder)
    }

    fn tokens(&self) -> anyhow::Result<Option<Tokens>> {
        let (secrets, files) = (self.jwt_secret.iter().flatten(), self.jwt_public_key.iter().flatten());
        let audience = said(self.jwt_audience.as_deref(), "--jwt-audience")?;
        for (option, keys) in [("--jwt-secret", &self.jwt_secret), ("--jwt-public-key", &self.jwt_public_key)] {
            anyhow::ensure!(keys.is_empty() || keys.iter().any(Option::is_some), Blank(option));
        }
        let mut tokens = Tokens::new();
        let mut keys = 0;
        for Key { id, value } in secrets {
            tokens = tokens.secret(id.as_deref(), value.as_bytes()).context("--jwt-secret")?;
            keys += 1;
        }
        for Key { id, value } in files {
            let pem = fs::read(value).with_context(|| format!("--jwt-public-key: cannot read {value}"))?;
            tokens = tokens.public_key(id.as_deref(), &pem).with_context(|| format!("--jwt-public-key: {value}"))?;
            keys += 1;
        }
        if let Some(audience) = audience {
            anyhow::ensure!(keys > 0, "--jwt-audience needs --jwt-secret or --jwt-public-key");
            tokens = tokens.audience(audience);
        }
        Ok((keys > 0).then_some(tokens))
    }
}

/// An option, or its variable, that is there and says nothing, as where a secret could not be read. Other variables may be
/// empty; without one of these everybody would be let in.
#[derive(Debug, thiserror::Error)]
#[error("{0}, or its variable, is empty; leave it away to let everybody in")]
struct Blank(&'static str);

/// What an option says, if it is there.
fn said<'a>(text: Option<&'a str>, option: &'static str) -> Result<Option<&'a str>, Blank> {
    match text.map(str::trim) {
        Some("") => Err(Blank(option)),
        said => Ok(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_have_names() {
        let long = "x".repeat(32);
        let key = |text: &str| secret(text).unwrap().map(|key| (key.id, key.value));
        assert_eq!(key(&long), Some((None, long.clone())));
        assert_eq!(key(&format!("2026:{long}")), Some((Some("2026".into()), long.clone())));
        assert_eq!(key(&format!("k:{long}:")), Some((Some("k".into()), format!("{long}:"))));
        assert_eq!(key(""), None);
        assert!(!format!("{:?}", secret(&long)).contains(&long));
        let name = |text: &str| file(text).unwrap().map(|key| (key.id, key.value));
        assert_eq!(name("new:/etc/key.pem"), Some((Some("new".into()), "/etc/key.pem".into())));
        assert_eq!(name("C:\\key.pem"), Some((None, "C:\\key.pem".into())));
    }
}
