//! A chat with everybody in the room, on a terminal or without one.

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    time::{Duration, Instant},
};

use rtc_cafe_client::{Client, ErrorCode, Event, Events, Recipients, SendMessageError, Sid, SignallerState, TrackId};
use serde::Serialize;
use tokio::{sync::mpsc, time::sleep_until};

use super::{
    look::Look,
    people::{self, Note, People},
    plain::Plain,
    recordings::{Ended, Recordings},
    terminal::{Terminal, Typed},
};
use crate::{stop::StopSignals, text::clean_line};

/// How long others may take to be found.
const LOOKS_EMPTY_AFTER: Duration = Duration::from_millis(1500);
/// Longest error that is shown, in characters.
const MAX_EXCUSE: usize = 200;
const HELP: &str = "\
What you type is sent to everybody. The arrow keys bring back earlier lines.
  /who               who is here
  /tracks            what the others offer to see and hear
  /record N [FILE]   records track N of that list
  /quit              leaves, and so do Ctrl-D and Ctrl-C
A line that begins with // is sent with one slash.";

/// Where a chat is shown.
#[derive(Debug)]
pub(crate) enum Screen {
    /// With a line to type in.
    Terminal(Terminal),
    /// Lines in, lines out.
    Plain(Plain),
}

/// What pages of the chat sample send.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Said {
    /// Who one is.
    Hello {
        /// The name.
        name: String,
    },
    /// A message.
    Chat {
        /// What it says.
        text: String,
    },
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), SendMessageError>> + Send + 'a>>;

/// A chat under way.
pub(crate) struct Chat<'a> {
    client: &'a Client,
    recordings: &'a Recordings,
    people: People,
    hello: Said,
    screen: Screen,
    look: Look,
    /// A line that is being sent. No other is read meanwhile.
    sending: Option<Sending<'a>>,
    /// A line that waits for somebody to read it.
    held: Option<String>,
    /// When it is told that nobody is here.
    alone_at: Option<Instant>,
    was_lost: bool,
    listed: Vec<(Sid, TrackId)>,
}

impl<'a> Chat<'a> {
    pub(crate) fn new(client: &'a Client, recordings: &'a Recordings, name: &str, screen: Screen) -> Self {
        Self {
            client,
            recordings,
            people: People::new(name.to_owned(), Instant::now()),
            hello: Said::Hello { name: name.to_owned() },
            screen,
            look: Look::detect(),
            sending: None,
            held: None,
            alone_at: None,
            was_lost: false,
            listed: Vec::new(),
        }
    }

    /// Talks until the input ends, a signal comes or nobody reads any more; then leaves.
    pub(crate) async fn run(
        mut self,
        room: &str,
        mut events: Events,
        mut ended: mpsc::UnboundedReceiver<Ended>,
        stop: &mut StopSignals,
    ) {
        if let (Screen::Terminal(_), Said::Hello { name }) = (&self.screen, &self.hello) {
            let text = format!("You are {} in {room}. Type to talk, /help says more.", self.look.name(name));
            self.tell(&text).await;
        }
        while self.step(&mut events, &mut ended, stop).await {}
        let leaving = super::leave(self.client, self.recordings);
        tokio::select! {
            () = leaving => {}
            () = stop.next() => {}
        }
        while let Ok(ended) = ended.try_recv() {
            self.tell_recording(ended).await;
        }
        if let Screen::Terminal(terminal) = &self.screen {
            terminal.printed().await;
        }
    }

    /// Does the next thing; false when it is time to leave.
    async fn step(
        &mut self,
        events: &mut Events,
        ended: &mut mpsc::UnboundedReceiver<Ended>,
        stop: &mut StopSignals,
    ) -> bool {
        let deadline = self.people.deadline().into_iter().chain(self.alone_at).min();
        let is_free = self.sending.is_none() && self.held.is_none();
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => self.handle(&event).await.is_ok(),
                None => false,
            },
            Some(ended) = ended.recv() => {
                self.tell_recording(ended).await;
                true
            }
            result = sent(&mut self.sending) => {
                self.sending = None;
                self.tell_sent(result).await;
                true
            }
            typed = next(&mut self.screen), if is_free => self.handle_typed(typed).await,
            () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {
                self.tick().await.is_ok()
            }
            () = stop.next() => false,
        }
    }

    async fn tick(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.alone_at.take_if(|at| now >= *at).is_some() && self.client.connected_peers().is_empty() {
            self.tell("Nobody else is here yet.").await;
        }
        let notes = self.people.tick(now);
        self.show(notes).await
    }

    async fn handle(&mut self, event: &Event) -> io::Result<()> {
        self.recordings.handle(self.client, event);
        let now = Instant::now();
        let notes = match event {
            Event::ConnectToPeer { sid } => {
                self.people.connected(sid, now);
                // Who is gone again needs no greeting.
                let _ = self.client.try_send_message(Recipients::Only([sid.clone()].into()), &self.hello);
                if let Some(text) = self.held.take() {
                    self.send(text);
                }
                Vec::new()
            }
            Event::DisconnectFromPeer { sid } => self.people.disconnected(sid).into_iter().collect(),
            Event::ReassignPeerSid { old_sid, sid } => {
                self.people.reassigned(old_sid, sid);
                Vec::new()
            }
            Event::Message { sender, message } => self.people.received(sender, message.as_json(), now),
            other => {
                self.tell_event(other).await;
                Vec::new()
            }
        };
        self.show(notes).await
    }

    async fn tell_event(&mut self, event: &Event) {
        match event {
            Event::SignallerStateChanged { state: SignallerState::Connected } => {
                match std::mem::take(&mut self.was_lost) {
                    true => self.tell("The server is there again.").await,
                    false => self.alone_at = Some(Instant::now() + LOOKS_EMPTY_AFTER),
                }
            }
            Event::SignallerStateChanged { state: SignallerState::Reconnecting } => {
                self.lost("The server is gone. Who is here stays; it is tried again.").await;
            }
            Event::MessageUndelivered { sid, message, may_have_arrived } => {
                let Some(text) = people::spoken(message.as_json()) else { return };
                let (who, text) = (self.people.label(sid), clean_line(&text, MAX_EXCUSE));
                let how = if *may_have_arrived { "may not have got" } else { "did not get" };
                self.tell(&format!("{who} {how} your message: {text}")).await;
            }
            Event::PeerTrackDefined { sid, .. } => {
                let who = self.people.label(sid);
                tracing::debug!(who, "offers a track");
            }
            Event::Error { code, message, sid } => {
                let who = || sid.as_ref().map_or_else(|| "somebody".to_owned(), |sid| self.people.label(sid));
                let text = match code {
                    ErrorCode::SignallerUnreachable => {
                        let text = format!("The server cannot be reached, and is tried again: {message}");
                        return self.lost(&clean_line(&text, MAX_EXCUSE)).await;
                    }
                    ErrorCode::ConnectFailed => format!("{} is hard to reach; it is tried again.", who()),
                    _ => clean_line(message, MAX_EXCUSE),
                };
                self.tell(&text).await;
            }
            _ => {}
        }
    }

    /// Tells that the server is gone, once.
    async fn lost(&mut self, text: &str) {
        if !std::mem::replace(&mut self.was_lost, true) {
            self.tell(text).await;
        }
    }

    async fn tell_recording(&self, ended: Ended) {
        match ended {
            Ended::Complete(complete) => {
                let (path, seconds) = (complete.path.display(), complete.duration.as_secs_f32());
                self.tell(&format!("Recorded {path} ({seconds:.1} s).")).await;
            }
            Ended::Failed(reason) => self.tell(&format!("Not recorded: {}", clean_line(&reason, MAX_EXCUSE))).await,
        }
    }

    async fn tell_sent(&self, result: Result<(), SendMessageError>) {
        if let Err(error) = result {
            self.tell(&format!("Your message was not sent: {error}.")).await;
        }
    }

    /// False when it is time to leave.
    async fn handle_typed(&mut self, typed: Option<String>) -> bool {
        let Some(line) = typed else { return false };
        let is_terminal = matches!(self.screen, Screen::Terminal(_));
        let (command, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match command {
            "" => {}
            "/quit" | "/exit" if is_terminal => return false,
            "/help" if is_terminal => self.tell(HELP).await,
            "/who" if is_terminal => self.tell_who().await,
            "/tracks" if is_terminal => self.tell_tracks().await,
            "/record" if is_terminal => self.record(rest).await,
            _ if is_terminal && command.starts_with('/') && !command.starts_with("//") => {
                self.tell(&format!("There is no {command}; /help names what there is.")).await;
            }
            _ => self.say(line.strip_prefix('/').filter(|_| is_terminal).unwrap_or(&line).to_owned()).await,
        }
        true
    }

    async fn say(&mut self, text: String) {
        if !self.client.connected_peers().is_empty() {
            self.send(text);
        } else if matches!(self.screen, Screen::Terminal(_)) {
            self.tell("Nobody else is here, so nobody has read this.").await;
        } else {
            self.held = Some(text);
        }
    }

    fn send(&mut self, text: String) {
        let client = self.client;
        self.sending = Some(Box::pin(async move { client.send_message(&Said::Chat { text }).await }));
    }

    async fn tell_who(&self) {
        let names: Vec<_> = self.people.labels().map(|name| self.look.name(&name)).collect();
        let text = match names.len() {
            0 => "Nobody else is here.".to_owned(),
            _ => format!("Here with you: {}.", names.join(", ")),
        };
        self.tell(&text).await;
    }

    async fn tell_tracks(&mut self) {
        let definitions = self.client.peer_track_definitions();
        self.listed.clear();
        let mut text = "The others offer nothing to see or hear.".to_owned();
        for (sid, tracks) in &definitions {
            for (id, track) in tracks {
                self.listed.push((sid.clone(), id.clone()));
                let described =
                    track.description.parse::<String>().unwrap_or_else(|_| track.description.as_json().into());
                let described = clean_line(&described, 60);
                let line = format!(
                    "{:3}  {} of {}  {}",
                    self.listed.len(),
                    track.kind.as_str(),
                    self.look.name(&self.people.label(sid)),
                    self.look.dim(&described)
                );
                text = if self.listed.len() == 1 { line } else { text + "\n" + &line };
            }
        }
        self.tell(&text).await;
    }

    async fn record(&mut self, arguments: &str) {
        let (number, file) = arguments.trim().split_once(' ').unwrap_or((arguments.trim(), ""));
        let index = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let Some((sid, id)) = index.and_then(|index| self.listed.get(index)).cloned() else {
            return self.tell("/record N [FILE] records track N of what /tracks lists.").await;
        };
        let kind = self.client.peer_track_definitions().get(&sid).and_then(|tracks| Some(tracks.get(&id)?.kind));
        let file = match (file.trim(), kind) {
            ("", Some(kind)) => self.recordings.unused(Path::new("."), &sid, kind),
            (file, _) => PathBuf::from(file),
        };
        match self.client.request_peer_track(&sid, &id) {
            Ok(()) => {
                self.tell(&format!("Recording to {} until it ends or you leave.", file.display())).await;
                self.recordings.want(self.client, sid, id, file);
            }
            Err(error) => self.tell(&format!("Not recorded: {error}.")).await,
        }
    }

    async fn show(&mut self, notes: Vec<Note>) -> io::Result<()> {
        for note in notes {
            match &mut self.screen {
                Screen::Terminal(terminal) => {
                    let time = chrono::Local::now().format("%H:%M").to_string();
                    terminal.print(&self.look.note(&note, &time)).await;
                }
                Screen::Plain(plain) => plain.show(&note).await?,
            }
        }
        Ok(())
    }

    /// Tells something that nobody said.
    async fn tell(&self, text: &str) {
        match &self.screen {
            Screen::Terminal(terminal) => terminal.print(&self.look.dim(text)).await,
            Screen::Plain(plain) => plain.tell(text),
        }
    }
}

/// The next line; `None` at the end. Cancel safe.
async fn next(screen: &mut Screen) -> Option<String> {
    match screen {
        Screen::Plain(plain) => plain.next_line().await,
        Screen::Terminal(terminal) => match terminal.next().await {
            Typed::Line(line) => Some(line),
            Typed::Interrupt | Typed::End => None,
        },
    }
}

/// When a line is sent; never, if none is.
async fn sent(sending: &mut Option<Sending<'_>>) -> Result<(), SendMessageError> {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}
