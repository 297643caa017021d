//! Inputs that are scripts: one step in a line, so that seeds can be read and mutations stay meaningful.

use rtc_cafe_signaller::hub::{Hub, SocketId};
use rtc_cafe_wire::ApiVersion;

/// Most steps that are taken of one input.
const MAX_STEPS: usize = 200;

/// The steps of a script.
pub(crate) fn steps(script: &str) -> impl Iterator<Item = &str> {
    script.split('\n').filter(|step| !step.is_empty()).take(MAX_STEPS)
}

/// A number at the start, 0 where there is none, and what follows it.
pub(crate) fn number(text: &str) -> (u32, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    (number.parse().unwrap_or(0), rest)
}

/// The first character, and what follows it.
pub(crate) fn first(text: &str) -> (char, &str) {
    let mut chars = text.chars();
    (chars.next().unwrap_or_default(), chars.as_str())
}

/// A word that ends at a space, and what follows the space.
pub(crate) fn word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// The text with `$0`, `$1` and so on replaced by what the function knows of that number.
pub(crate) fn fill<'a>(text: &str, known: impl Fn(usize) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digit = rest.bytes().next().filter(u8::is_ascii_digit);
        match digit.and_then(|digit| known(usize::from(digit - b'0'))) {
            Some(value) => {
                out.push_str(value);
                rest = &rest[1..];
            }
            None => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

/// All that ever connected to a hub, by number, with the sids they had.
#[derive(Default)]
pub(crate) struct Sockets(Vec<(SocketId, String)>);

impl Sockets {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, number: usize) -> Option<(SocketId, &str)> {
        self.0.get(number).map(|(socket, sid)| (*socket, sid.as_str()))
    }

    pub(crate) fn sid(&self, socket: SocketId) -> Option<&str> {
        self.0.iter().find(|(other, _)| *other == socket).map(|(_, sid)| sid.as_str())
    }

    /// Connects another, with one of the versions.
    pub(crate) fn connect(&mut self, hub: &mut Hub, version: usize) -> (SocketId, ApiVersion) {
        let version = ApiVersion::ALL[version % ApiVersion::ALL.len()];
        let socket = hub.connect(version);
        let sid = hub.sid(socket).expect("it has just connected").to_owned();
        assert!(self.0.iter().all(|(_, other)| *other != sid), "{sid} was given twice");
        self.0.push((socket, sid));
        (socket, version)
    }

    /// `$1` is the sid of the second socket.
    pub(crate) fn fill(&self, text: &str) -> String {
        fill(text, |number| Some(self.0.get(number)?.1.as_str()))
    }

    /// `1 join {"room":5}`: who speaks, the event, and its payload.
    pub(crate) fn said<'a>(&self, step: &'a str) -> Option<(SocketId, &'a str, String)> {
        let (number, rest) = number(step);
        let (socket, _) = self.get(number as usize)?;
        let (event, payload) = word(rest.trim_start_matches(' '));
        Some((socket, event, self.fill(payload)))
    }
}
