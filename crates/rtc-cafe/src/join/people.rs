//! Who is in the room and what they say, as the chat sample understands it: `{kind: 'hello', name}`, `{kind: 'chat',
//! text}`, or a bare text.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rtc_cafe_wire::Sid;
use serde::Deserialize;

use crate::{
    text::{MAX_NAME, clean_line, clean_text},
    transfer::protocol::Offer,
};

/// How long a peer may take to say its name.
const NAMELESS_AFTER: Duration = Duration::from_millis(1500);
/// Who is connected this soon was here before.
const HERE_BEFORE: Duration = Duration::from_secs(3);
/// Messages that a peer may send at once, and then per second; the rest is not shown.
const BURST: f64 = 200.0;
const RATE: f64 = 20.0;
/// People that are remembered; beyond that, those who left are forgotten.
const MAX_REMEMBERED: usize = 1024;

/// Something to show. All texts are safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// Somebody is there: `is here`, `joined` or `is back`.
    Arrived(String, &'static str),
    /// Somebody is gone.
    Left(String),
    /// Somebody has another name: before, and from now on.
    Renamed(String, String),
    /// Somebody said something.
    Said(String, String),
    /// Somebody offers a file: who, and what.
    Offers(String, String),
    /// Somebody sends too much to be shown.
    Floods(String),
}

#[derive(Debug)]
struct Person {
    name: String,
    namesake: usize,
    guest: String,
    connected: bool,
    announced: bool,
    was_here: bool,
    since: Instant,
    allowance: f64,
    refilled: Instant,
    flooding: bool,
}

impl Person {
    fn new(sid: &Sid, now: Instant) -> Self {
        let short = clean_line(sid.as_str(), 4);
        Self {
            name: String::new(),
            namesake: 1,
            guest: format!("Guest {}", if short.is_empty() { "?" } else { &short }),
            connected: false,
            announced: false,
            was_here: false,
            since: now,
            allowance: BURST,
            refilled: now,
            flooding: false,
        }
    }

    fn label(&self) -> String {
        match (self.name.as_str(), self.namesake) {
            ("", _) => self.guest.clone(),
            (name, 1) => name.to_owned(),
            (name, namesake) => format!("{name} ({namesake})"),
        }
    }

    fn may_speak(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.refilled).as_secs_f64() * RATE;
        self.allowance = (self.allowance + gained).min(BURST);
        self.refilled = now;
        let may = self.allowance >= 1.0;
        if may {
            self.allowance -= 1.0;
        }
        may
    }
}

/// What a peer says, of what a chat understands.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Text(String),
    Tagged(Tagged),
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Tagged {
    Hello { name: String },
    Chat { text: String },
    FileOffer(Offer),
}

/// What a message says to people, if it says something.
pub(crate) fn spoken(json: &str) -> Option<String> {
    match serde_json::from_str(json).ok()? {
        Said::Text(text) | Said::Tagged(Tagged::Chat { text }) => Some(text),
        Said::Tagged(_) => None,
    }
}

/// Everybody in the room.
#[derive(Debug)]
pub(crate) struct People {
    me: String,
    entered: Instant,
    by_sid: BTreeMap<Sid, Person>,
}

impl People {
    /// `me`: the own name, so that a namesake is told apart.
    pub(crate) const fn new(me: String, now: Instant) -> Self {
        Self { me, entered: now, by_sid: BTreeMap::new() }
    }

    /// What somebody is called.
    pub(crate) fn label(&self, sid: &Sid) -> String {
        self.by_sid.get(sid).map_or_else(|| "somebody".to_owned(), Person::label)
    }

    /// Everybody who is connected.
    pub(crate) fn labels(&self) -> impl Iterator<Item = String> {
        self.by_sid.values().filter(|person| person.connected).map(Person::label)
    }

    /// A peer is connected. It is announced by its name, which it says soon.
    pub(crate) fn connected(&mut self, sid: &Sid, now: Instant) {
        if self.by_sid.len() >= MAX_REMEMBERED {
            self.by_sid.retain(|_, person| person.connected);
        }
        let person = self.by_sid.entry(sid.clone()).or_insert_with(|| Person::new(sid, now));
        person.connected = true;
        person.since = now;
    }

    /// A peer is gone.
    pub(crate) fn disconnected(&mut self, sid: &Sid) -> Option<Note> {
        let person = self.by_sid.get_mut(sid)?;
        person.connected = false;
        std::mem::take(&mut person.announced).then(|| Note::Left(person.label()))
    }

    /// A peer has another sid.
    pub(crate) fn reassigned(&mut self, old: &Sid, sid: &Sid) {
        if let Some(person) = self.by_sid.remove(old) {
            self.by_sid.insert(sid.clone(), person);
        }
    }

    /// A peer sent this JSON.
    pub(crate) fn received(&mut self, sid: &Sid, json: &str, now: Instant) -> Vec<Note> {
        let Some(person) = self.by_sid.get_mut(sid) else { return Vec::new() };
        if !person.may_speak(now) {
            let first = !std::mem::replace(&mut person.flooding, true);
            return first.then(|| Note::Floods(person.label())).into_iter().collect();
        }
        match serde_json::from_str(json) {
            Ok(Said::Tagged(Tagged::Hello { name })) => self.named(sid, clean_line(&name, MAX_NAME), now),
            Ok(Said::Text(text) | Said::Tagged(Tagged::Chat { text })) => {
                let text = clean_text(&text);
                if text.is_empty() { Vec::new() } else { self.spoke(sid, now, |label| Note::Said(label, text)) }
            }
            Ok(Said::Tagged(Tagged::FileOffer(offer))) => {
                self.spoke(sid, now, |label| Note::Offers(label, offer.describe()))
            }
            Err(_) => Vec::new(),
        }
    }

    /// Announces who has no name after a while.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Note> {
        let is_due = |person: &Person| person.connected && now >= person.since + NAMELESS_AFTER;
        let due = self.by_sid.iter().filter(|(_, person)| !person.announced && is_due(person));
        let due: Vec<_> = due.map(|(sid, _)| sid.clone()).collect();
        due.iter().filter_map(|sid| self.announce(sid, now)).collect()
    }

    /// When `tick` has something to do next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let waiting = self.by_sid.values().filter(|person| person.connected && !person.announced);
        waiting.map(|person| person.since + NAMELESS_AFTER).min()
    }

    fn spoke(&mut self, sid: &Sid, now: Instant, note: impl FnOnce(String) -> Note) -> Vec<Note> {
        let arrived = self.announce(sid, now);
        if let Some(person) = self.by_sid.get_mut(sid) {
            person.flooding = false;
        }
        arrived.into_iter().chain([note(self.label(sid))]).collect()
    }

    fn named(&mut self, sid: &Sid, name: String, now: Instant) -> Vec<Note> {
        let others = self.by_sid.iter().filter(|(other, _)| *other != sid);
        let others = others.filter(|(_, person)| person.connected && person.name == name);
        let taken: BTreeSet<_> = others.map(|(_, person)| person.namesake).collect();
        // The first of one's own name is oneself.
        let first = if name == self.me { 2 } else { 1 };
        let Some(person) = self.by_sid.get_mut(sid) else { return Vec::new() };
        if name.is_empty() || person.name == name {
            return Vec::new();
        }
        let before = person.announced.then(|| person.label());
        person.name = name;
        person.namesake = (first..).find(|number| !taken.contains(number)).unwrap_or(first);
        let renamed = before.map(|before| Note::Renamed(before, person.label()));
        renamed.into_iter().chain(self.announce(sid, now)).collect()
    }

    fn announce(&mut self, sid: &Sid, now: Instant) -> Option<Note> {
        let early = now < self.entered + HERE_BEFORE;
        let person = self.by_sid.get_mut(sid).filter(|person| !person.announced)?;
        person.announced = true;
        let was_here = std::mem::replace(&mut person.was_here, true);
        let how = match (was_here, early) {
            (true, _) => "is back",
            (false, true) => "is here",
            (false, false) => "joined",
        };
        Some(Note::Arrived(person.label(), how))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sid(text: &str) -> Sid {
        Sid::new(text).unwrap()
    }

    #[test]
    fn people_come_and_go_by_their_names() {
        let start = Instant::now();
        let mut people = People::new("Ana".to_owned(), start);
        let (a, b) = (sid("aaaaaa"), sid("bbbbbb"));
        people.connected(&a, start);
        people.connected(&b, start);
        let hello = r#"{"kind":"hello","name":"Ana"}"#;
        assert_eq!(people.received(&a, hello, start), [Note::Arrived("Ana (2)".into(), "is here")]);
        assert_eq!(people.received(&a, hello, start), []);
        assert_eq!(people.deadline(), Some(start + NAMELESS_AFTER));
        let later = start + Duration::from_secs(4);
        assert_eq!(people.tick(later), [Note::Arrived("Guest bbbb".into(), "joined")]);
        assert_eq!(people.deadline(), None);
        assert_eq!(
            people.received(&b, r#"{"kind":"hello","name":"Ana"}"#, later),
            [Note::Renamed("Guest bbbb".into(), "Ana (3)".into())]
        );
        assert_eq!(people.disconnected(&a), Some(Note::Left("Ana (2)".into())));
        assert_eq!(people.disconnected(&a), None);
        let d = sid("d");
        people.connected(&d, later);
        assert_eq!(people.received(&d, hello, later), [Note::Arrived("Ana (2)".into(), "joined")]);
        assert_eq!(people.disconnected(&d), Some(Note::Left("Ana (2)".into())));
        people.connected(&a, later);
        people.reassigned(&a, &sid("c"));
        let text = r#"{"kind":"chat","text":"hi\u001b[2J"}"#;
        let notes = people.received(&sid("c"), text, later);
        assert_eq!(notes, [Note::Arrived("Ana (2)".into(), "is back"), Note::Said("Ana (2)".into(), "hi[2J".into())]);
        assert_eq!(people.labels().count(), 2);
    }

    #[test]
    fn what_is_no_chat_is_not_shown() {
        let start = Instant::now();
        let mut people = People::new(String::new(), start);
        let a = sid("a");
        assert_eq!(people.received(&a, "\"hi\"", start), []);
        people.connected(&a, start);
        for json in ["{}", "[", "null", "1", r#"{"kind":"file-part"}"#, r#"{"kind":"chat","text":" "}"#, "\"\""] {
            assert_eq!(people.received(&a, json, start), [], "{json}");
        }
        let notes = people.received(&a, "\"hi\"", start);
        assert_eq!(notes.last(), Some(&Note::Said("Guest a".into(), "hi".into())));
    }

    #[test]
    fn floods_are_not_shown() {
        let start = Instant::now();
        let mut people = People::new(String::new(), start);
        let a = sid("a");
        people.connected(&a, start);
        let said: Vec<_> = (0..1000).flat_map(|_| people.received(&a, "\"hi\"", start)).collect();
        assert_eq!(said.len(), 202);
        assert_eq!(said.last(), Some(&Note::Floods("Guest a".into())));
        let later = start + Duration::from_secs(1);
        let said: Vec<_> = (0..1000).flat_map(|_| people.received(&a, "\"hi\"", later)).collect();
        assert_eq!(said.len(), 21);
    }
}
