//! The RTCCafe client core in WebAssembly: what goes in and out of it, as texts.
//!
//! Nothing here calls into JavaScript: TypeScript calls in, and then takes what is to be done with `poll`. There is one
//! way in and one way out, because each exported function would bring code on both sides that every page has to load.
//! [`line`] has the form of what crosses; `packages/rtc-cafe-client/src/core.ts` gives its types.

mod input;
mod line;
mod output;

use rtc_cafe_core::{ApiVersion, Client, Config, Session, Sid, Time, wire::json};
use wasm_bindgen::prelude::*;

use line::{Call, Line};

/// Two thirds smaller than the default one.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

/// Bytes in a data channel above which no more is handed to it. Browsers give a UDP socket no larger buffer than the
/// system's default, on Linux 208 KiB, bursts overflow it, and Chromium takes seconds to recover what is lost.
const HIGH_WATER: usize = 256 << 10;
/// Bytes in a data channel below which it is filled again.
const LOW_WATER: usize = 64 << 10;

/// Answers that are made ready where each takes an allocation on a relay.
const READY_RELAYED: usize = 2;

/// Why a call is refused.
#[derive(Debug)]
struct Refusal {
    /// For programs.
    code: &'static str,
    message: String,
    /// The peers that were left out.
    sids: Vec<Sid>,
}

impl Refusal {
    const fn new(code: &'static str, message: String) -> Self {
        Self { code, message, sids: Vec::new() }
    }
}

/// One of the two state machines of the core.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Machine(Kind);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a page has one of each, and a box would be more code")]
enum Kind {
    Client(Client),
    Session(Session),
}

#[wasm_bindgen]
impl Machine {
    /// A client that has joined nothing, of `["client", handshakeOverPeers, ready, ...seed]`, where `ready` is how many answers
    /// it makes ready and the seed is 32 unpredictable bytes; or of `["session"]` a session that has not begun, for the newest version.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &str) -> Self {
        let options = Call::read(options);
        if options.text(0) == "session" {
            return Self(Kind::Session(Session::new(ApiVersion::LATEST)));
        }
        let mut seed = [0; 32];
        for (at, byte) in seed.iter_mut().enumerate() {
            *byte = options.number(at + 3) as u8;
        }
        let mut config = Config::default();
        config.handshake_over_peers = options.flag(1);
        config.ready = options.number(2) as usize;
        config.ready_relayed = READY_RELAYED;
        (config.limits.high_water, config.limits.low_water) = (HIGH_WATER, LOW_WATER);
        Self(Kind::Client(Client::new(config, seed)))
    }

    /// Carries out `[name, ...arguments]`. Returns `[value]`, or `[code, message, ...sids]` if it is refused, where the
    /// sids are those of peers that were left out.
    pub fn call(&mut self, now: f64, call: &str) -> String {
        let call = Call::read(call);
        let result = match &mut self.0 {
            // Milliseconds, rounded down.
            Kind::Client(client) => input::client(client, Time::from_millis(now as u64), &call),
            Kind::Session(session) => input::session(session, &call),
        };
        match result {
            Ok(value) => json::concat(&["[", &value, "]"]),
            Err(Refusal { code, message, sids }) => {
                let mut refusal = vec![code, &message];
                refusal.extend(sids.iter().map(Sid::as_str));
                Line::of(&refusal).end()
            }
        }
    }

    /// What to do next; nothing if there is nothing.
    pub fn poll(&mut self) -> String {
        match &mut self.0 {
            Kind::Client(client) => client.poll().map(output::client),
            Kind::Session(session) => session.poll().map(output::session),
        }
        .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use rtc_cafe_core::{ApiVersion, ErrorCode};

    const SIGNALLER: &str = include_str!("../../../packages/rtc-cafe-client/src/signaller.ts");
    const ERRORS: &str = include_str!("../../../packages/rtc-cafe-client/src/errors.ts");

    #[test]
    fn typescript_knows_the_versions() {
        let versions = ApiVersion::ALL.map(|version| format!("'{version}'")).join(" | ");
        assert!(SIGNALLER.contains(&format!("export type ApiVersion = {versions};")));
        assert!(SIGNALLER.contains(&format!("LATEST_API_VERSION = '{}'", ApiVersion::LATEST)));
    }

    #[test]
    fn typescript_knows_the_codes() {
        let events = [ErrorCode::Signal, ErrorCode::Protocol, ErrorCode::ConnectFailed];
        let thrown = include_str!("input.rs")
            .split('"')
            .filter(|text| text.len() > 5 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
        for code in events.map(ErrorCode::as_str).into_iter().chain(thrown) {
            assert!(ERRORS.contains(&format!("| '{code}'")), "{code}");
        }
    }
}
