//! The scenes of `conformance/`, played by two ends of a backend.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rtc_cafe_core::{
    Command, ConnectionEvent, Limits, TrackId, TrackKind,
    wire::{peer::Mids, signal::IceCandidate},
};

/// The scenes, in the order of the file.
const SCENES: &str = include_str!("../../../conformance/scenes.txt");

/// Two ends of a WebRTC backend that can reach each other.
pub trait Backend {
    /// Carries out a command at an end, 0 or 1.
    fn execute(&mut self, end: usize, command: Command);
    /// Has a track of a kind ready, to be added by its id.
    fn prepare_track(&mut self, end: usize, id: &TrackId, kind: TrackKind);
    /// Waits for the next event of an end; `None` when none has come for a good while.
    fn event(&mut self, end: usize) -> Option<ConnectionEvent>;
}

/// Plays every scene on a backend of its own.
///
/// # Panics
/// When the backend does not do what a scene demands.
pub fn conforms<B: Backend>(mut backend: impl FnMut() -> B) {
    let scenes = || SCENES.split("== ").filter(|scene| !scene.trim().is_empty());
    let first = scenes().next().expect("there are scenes");
    for scene in scenes() {
        let mut stage = Stage::new(backend());
        stage.play(scene, first);
        stage.finish(scene.lines().next().unwrap_or_default());
    }
}

struct Stage<B> {
    backend: B,
    ends: [End; 2],
    /// Descriptions by their names in the scene.
    descriptions: BTreeMap<String, (String, Mids)>,
    line: String,
}

#[derive(Default)]
struct End {
    events: VecDeque<ConnectionEvent>,
    /// Candidates of the other end that wait for its description.
    candidates: Vec<Option<IceCandidate>>,
    described: bool,
    buffered: usize,
}

impl<B: Backend> Stage<B> {
    fn new(backend: B) -> Self {
        Self { backend, ends: Default::default(), descriptions: BTreeMap::new(), line: String::new() }
    }

    fn play(&mut self, scene: &str, first: &str) {
        let title = scene.lines().next().unwrap_or_default();
        for line in scene.lines().skip(1).map(str::trim).filter(|line| !line.is_empty()) {
            if line == "connect" {
                self.play(first, "");
                continue;
            }
            self.line = format!("in the scene \"{title}\": {line}");
            let (end, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{}", self.line));
            let end = usize::from(end == "b");
            match rest.strip_prefix("> ") {
                Some(expected) => self.expect(end, expected),
                None => self.act(end, rest),
            }
        }
    }

    fn act(&mut self, end: usize, action: &str) {
        let (verb, detail) = action.split_once(' ').unwrap_or((action, ""));
        let command = match verb {
            "open" => Command::Open,
            "createOffer" => Command::CreateOffer,
            "prepareOffer" => Command::PrepareOffer,
            "foretellAnswer" => Command::ForetellAnswer,
            "acceptOffer" => Command::AcceptOffer(self.description(detail)),
            "acceptAnswer" => Command::AcceptAnswer(self.description(detail)),
            "addTrack" => {
                let (id, kind) = detail.split_once(' ').unwrap_or((detail, "video"));
                let kind = TrackKind::parse(kind).unwrap_or_else(|| panic!("{}", self.line));
                self.backend.prepare_track(end, &track(id), kind);
                Command::AddTrack(track(id))
            }
            "removeTrack" => Command::RemoveTrack(track(detail)),
            "restartIce" => Command::RestartIce,
            "send" => Command::Send(text(detail)),
            "close" => Command::Close,
            "addCandidate" => {
                let candidate = IceCandidate { candidate: detail.to_owned(), ..IceCandidate::default() };
                Command::AddCandidate(Some(candidate))
            }
            _ => panic!("{}", self.line),
        };
        let describes = matches!(command, Command::AcceptOffer(_) | Command::AcceptAnswer(_));
        self.backend.execute(end, command);
        if describes {
            self.ends[end].described = true;
            self.pass_candidates(end);
        }
    }

    fn expect(&mut self, end: usize, expected: &str) {
        let (kind, detail) = expected.split_once(' ').unwrap_or((expected, ""));
        if kind == "drained" {
            while self.ends[end].buffered > Limits::default().low_water {
                self.wait(end);
            }
            return;
        }
        let at = loop {
            if let Some(at) = self.ends[end].events.iter().position(|event| self.is(event, kind, detail)) {
                break at;
            }
            self.wait(end);
        };
        match self.ends[end].events.remove(at) {
            Some(ConnectionEvent::OfferCreated { sdp, mids }) => {
                let mut words = detail.split(' ');
                let called = words.next().unwrap_or_default().to_owned();
                let sent: BTreeSet<_> = mids.iter().map(|(_, id)| id.clone()).collect();
                assert_eq!(sent, words.map(track).collect(), "{}", self.line);
                self.descriptions.insert(called, (sdp, mids));
            }
            Some(ConnectionEvent::AnswerCreated(sdp)) => {
                self.descriptions.insert(detail.to_owned(), (sdp, Mids::new()));
            }
            Some(ConnectionEvent::ChannelMessage(message)) => {
                assert!(message == text(detail), "{}: {} bytes came", self.line, message.len());
            }
            _ => {}
        }
    }

    /// Whether an event is of the kind that is expected, and a track the one, for tracks of one offer come in any order.
    fn is(&self, event: &ConnectionEvent, kind: &str, detail: &str) -> bool {
        let (offer, id) = detail.split_once(' ').unwrap_or_default();
        let mids = self.descriptions.get(offer).map_or(&[][..], |(_, mids)| mids);
        match event {
            ConnectionEvent::TrackAdded(mid) => kind == "trackAdded" && mids.contains(&(mid.clone(), track(id))),
            event => name(event) == kind,
        }
    }

    fn description(&self, name: &str) -> String {
        self.descriptions.get(name).map_or_else(|| name.to_owned(), |(sdp, _)| sdp.clone())
    }

    /// Takes in the next event of an end.
    fn wait(&mut self, end: usize) {
        let event = self.backend.event(end).unwrap_or_else(|| {
            panic!("{}: nothing more comes; there is {:?}", self.line, self.ends[end].events);
        });
        self.take(end, event);
    }

    fn take(&mut self, end: usize, event: ConnectionEvent) {
        match event {
            ConnectionEvent::CandidateFound(candidate) => {
                let other = 1 - end;
                self.ends[other].candidates.push(candidate);
                self.pass_candidates(other);
            }
            ConnectionEvent::StateChanged(_) | ConnectionEvent::PathChanged { .. } => {}
            ConnectionEvent::ChannelBuffered(bytes) => self.ends[end].buffered = bytes,
            event => self.ends[end].events.push_back(event),
        }
    }

    fn pass_candidates(&mut self, end: usize) {
        if self.ends[end].described {
            for candidate in std::mem::take(&mut self.ends[end].candidates) {
                self.backend.execute(end, Command::AddCandidate(candidate));
            }
        }
    }

    fn finish(mut self, title: &str) {
        for end in 0..2 {
            while let Some(event) = self.backend.event(end) {
                self.take(end, event);
            }
            assert!(self.ends[end].events.is_empty(), "after \"{title}\": {:?}", self.ends[end].events);
        }
    }
}

fn track(id: &str) -> TrackId {
    TrackId::new(id).unwrap_or_else(|| panic!("{id} names no track"))
}

/// A text, or one of so many bytes.
fn text(detail: &str) -> String {
    detail.parse().map_or_else(|_| detail.to_owned(), |length| "x".repeat(length))
}

const fn name(event: &ConnectionEvent) -> &'static str {
    match event {
        ConnectionEvent::OfferCreated { .. } => "offerCreated",
        ConnectionEvent::AnswerCreated(_) => "answerCreated",
        ConnectionEvent::AnswerForetold(_) => "answerForetold",
        ConnectionEvent::Failed(_) => "failed",
        ConnectionEvent::TrackAdded(_) => "trackAdded",
        ConnectionEvent::ChannelOpen => "channelOpen",
        ConnectionEvent::ChannelMessage(_) => "channelMessage",
        ConnectionEvent::ChannelClosed => "channelClosed",
        ConnectionEvent::ChannelStalled => "channelStalled",
        ConnectionEvent::CandidateFound(_)
        | ConnectionEvent::StateChanged(_)
        | ConnectionEvent::ChannelBuffered(_)
        | ConnectionEvent::PathChanged { .. } => "",
    }
}
