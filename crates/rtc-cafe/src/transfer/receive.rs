//! `rtc-cafe receive`: takes a file that somebody in the room sends.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use indicatif::ProgressBar;
use rtc_cafe_client::{Client, Event, Events, RoomId, Sid};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines, Stdin},
    time::sleep_until,
};

use super::{
    DEFAULT_PATIENCE, Failure,
    files::{self, FinishError, Partial},
    progress,
    protocol::{ACKNOWLEDGE, FileMessage, MAX_REASON, Offer, decode},
};
use crate::{
    join::people::People,
    listed::{Listed, number, path},
    peer::{self, PeerOptions, own_name},
    stop::StopSignals,
    text::clean_line,
};

/// Offers that are remembered while another one is dealt with.
const MAX_OFFERS: usize = 16;
/// How long a sender may send nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// Takes a file that somebody in the room sends
///
/// Waits until somebody runs `rtc-cafe send`, asks whether the file is wanted, and ends when it is there and its SHA-256
/// is right. Nothing is overwritten: where there is a file of that name already, the new one gets a number. Until it is
/// whole, it is called `NAME.HASH.part`; if that is there from an earlier attempt, only the rest is fetched.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The room to meet in, any text
    #[arg(value_name = "ROOM", value_parser = peer::room)]
    room: RoomId,

    #[command(flatten)]
    peer: PeerOptions,

    /// The folder to put it in, or the file to make of it [default: the current folder]
    #[arg(long, short, env = "RTC_CAFE_OUTPUT", value_name = "DIR|FILE", value_parser = path())]
    output: Option<PathBuf>,

    /// Takes the first file that is offered without asking
    #[arg(long, short, env = "RTC_CAFE_YES", value_parser = clap::builder::FalseyValueParser::new())]
    yes: bool,

    /// The name that the others see [default: the user's]
    #[arg(long, env = "RTC_CAFE_NAME", value_name = "NAME")]
    name: Option<String>,

    /// Seconds to wait for a file [default: for ever]
    #[arg(long, env = "RTC_CAFE_TIMEOUT", value_name = "SECONDS", value_parser = number::<u64>)]
    timeout: Option<Listed<u64>>,

    /// Seconds that a sender who is lost on the way may take to come back
    #[arg(long, env = "RTC_CAFE_PATIENCE", value_name = "SECONDS", default_value = "15", value_parser = number::<u64>)]
    patience: Listed<u64>,
}

const EXAMPLES: &str = "\
Examples:
  rtc-cafe receive kitchen-table
      Waits for a file, and asks before it takes it.
  rtc-cafe receive backups --yes --output /srv/backups/ --timeout 3600
      For a script.

Exit codes:
  0    the file is there, and its SHA-256 is right
  1    the file cannot be written, or the command not be started
  2    wrong usage
  3    no file was offered within --timeout
  4    the sender left, or could not go on; the same command fetches the rest later
  5    what arrived is not what was sent
  6    the file was declined
  130  stopped by a signal";

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    anyhow::ensure!(
        options.yes || io::stdin().is_terminal(),
        "there is no terminal to ask on whether a file is wanted; --yes takes the first one"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(receive(options));
    runtime.shutdown_background();
    result
}

async fn receive(options: Options) -> anyhow::Result<()> {
    let mut stop = StopSignals::new()?;
    let output = options.output.clone().filter(|output| !output.as_os_str().is_empty());
    if let Some(folder) = output.as_deref().filter(|output| output.to_string_lossy().ends_with(['/', '\\'])) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let (client, events) = options.peer.connect(Some(&options.room))?;
    let name = own_name(options.name.as_deref());
    progress::tell(&format!("Waiting for a file in {}.", peer::shown(&options.room)));
    let receiver = Receiver {
        client: &client,
        people: People::new(name.clone(), Instant::now()),
        name,
        output,
        yes: options.yes,
        patience: Duration::from_secs(options.patience.unwrap_or(DEFAULT_PATIENCE)),
        offers: VecDeque::new(),
        stage: Stage::Waiting,
        answers: BufReader::new(tokio::io::stdin()).lines(),
    };
    let result = receiver.run(events, options.timeout.flatten().map(Duration::from_secs), &mut stop).await;
    client.close().await;
    result
}

/// What it is at.
enum Stage {
    /// There is no offer.
    Waiting,
    /// The user is being asked.
    Asking(Sid, Offer),
    /// The file comes in.
    Receiving(Box<Incoming>),
    /// The sender was lost on the way, and may come back until then.
    Lost(Box<Incoming>, Instant),
    /// The file is there.
    Done(PathBuf, Offer),
}

/// A file that comes in.
struct Incoming {
    sid: Sid,
    offer: Offer,
    partial: Partial,
    acknowledged: u64,
    heard: Instant,
    bar: ProgressBar,
}

struct Receiver<'a> {
    client: &'a Client,
    people: People,
    name: String,
    output: Option<PathBuf>,
    yes: bool,
    patience: Duration,
    offers: VecDeque<(Sid, Offer)>,
    stage: Stage,
    answers: Lines<BufReader<Stdin>>,
}

impl Receiver<'_> {
    async fn run(
        mut self,
        mut events: Events,
        timeout: Option<Duration>,
        stop: &mut StopSignals,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            self.consider().await?;
            if let Stage::Done(path, offer) = &self.stage {
                progress::tell(&format!("Received {}: {}", offer.describe(), path.display()));
                return Ok(());
            }
            let deadline = self.deadline(timeout.map(|timeout| started + timeout));
            let is_asking = matches!(self.stage, Stage::Asking(..));
            tokio::select! {
                biased;
                () = stop.next() => {
                    self.give_up("the receiver was stopped").await;
                    return Err(Failure::Stopped.into());
                }
                answer = self.answers.next_line(), if is_asking => self.handle_answer(answer?).await?,
                event = events.recv() => match event {
                    Some(event) => self.handle(event).await?,
                    None => return Err(Failure::Left("the connection was closed".to_owned()).into()),
                },
                () = sleep_until(deadline.unwrap_or(started).into()), if deadline.is_some() => {
                    return Err(self.overdue(timeout).into());
                }
            }
        }
    }

    /// Until when something has to happen.
    fn deadline(&self, end: Option<Instant>) -> Option<Instant> {
        match &self.stage {
            Stage::Waiting => end,
            Stage::Asking(..) | Stage::Done(..) => None,
            Stage::Receiving(incoming) => Some(incoming.heard + SILENCE),
            Stage::Lost(_, until) => Some(*until),
        }
    }

    fn overdue(&self, timeout: Option<Duration>) -> Failure {
        match &self.stage {
            Stage::Receiving(incoming) => incoming.left("sends nothing any more", &self.people),
            Stage::Lost(incoming, _) => incoming.left("left", &self.people),
            _ => Failure::Nobody(timeout.unwrap_or_default()),
        }
    }

    /// Takes up the next offer, if there is one and nothing else to do.
    async fn consider(&mut self) -> anyhow::Result<()> {
        self.resume().await?;
        if !matches!(self.stage, Stage::Waiting) {
            return Ok(());
        }
        let Some((sid, offer)) = self.offers.pop_front() else { return Ok(()) };
        if self.yes {
            return self.accept(sid, offer).await;
        }
        self.say(&sid, FileMessage::Wait { id: offer.id.clone() }).await;
        let mut error = io::stderr();
        // Who closed standard error is not asked.
        let _ = write!(error, "{} offers {}. Take it? [Y/n] ", self.people.label(&sid), offer.describe());
        let _ = error.flush();
        self.stage = Stage::Asking(sid, offer);
        Ok(())
    }

    /// Goes on with a file whose sender was lost, if it is back, or somebody else has the same.
    async fn resume(&mut self) -> anyhow::Result<()> {
        let Stage::Lost(incoming, _) = &self.stage else { return Ok(()) };
        let same = self.offers.iter().position(|(_, offer)| offer.sha256 == incoming.offer.sha256);
        let Some((sid, offer)) = same.and_then(|index| self.offers.remove(index)) else { return Ok(()) };
        if let Stage::Lost(mut incoming, _) = std::mem::replace(&mut self.stage, Stage::Waiting) {
            incoming.sid = sid;
            incoming.offer.id = offer.id;
            self.begin(incoming).await?;
        }
        Ok(())
    }

    async fn handle_answer(&mut self, answer: Option<String>) -> anyhow::Result<()> {
        let Stage::Asking(sid, offer) = std::mem::replace(&mut self.stage, Stage::Waiting) else { return Ok(()) };
        match answer.as_deref().map(|answer| answer.trim().to_lowercase()).as_deref() {
            Some("" | "y" | "yes") => self.accept(sid, offer).await,
            answer => {
                self.say(&sid, FileMessage::Decline { id: offer.id }).await;
                if answer.is_none() || self.offers.is_empty() {
                    return Err(Failure::Declined.into());
                }
                Ok(())
            }
        }
    }

    async fn accept(&mut self, sid: Sid, offer: Offer) -> anyhow::Result<()> {
        let target = files::target(self.output.as_deref(), &offer.name);
        // What there is already may take a while to be read.
        self.say(&sid, FileMessage::Wait { id: offer.id.clone() }).await;
        let opened = {
            let (target, offer) = (target.clone(), offer.clone());
            tokio::task::spawn_blocking(move || Partial::open(&target, &offer)).await?
        };
        let partial = match opened {
            Ok(partial) => partial,
            Err(error) => {
                let reason = format!("the receiver cannot write the file: {error}");
                self.say(&sid, FileMessage::Failed { id: offer.id, reason }).await;
                return Err(error).with_context(|| format!("cannot write {}", target.display()));
            }
        };
        let bar = progress::bar(offer.size, &self.people.label(&sid));
        let incoming = Incoming { sid, offer, acknowledged: partial.written(), partial, heard: Instant::now(), bar };
        self.begin(Box::new(incoming)).await
    }

    /// Has the sender send what is missing.
    async fn begin(&mut self, mut incoming: Box<Incoming>) -> anyhow::Result<()> {
        let offset = incoming.partial.written();
        incoming.acknowledged = offset;
        incoming.heard = Instant::now();
        incoming.bar.set_position(offset);
        incoming.bar.reset_eta();
        if offset > 0 {
            incoming.bar.suspend(|| progress::tell("Fetching the rest of what is there already."));
        }
        self.say(&incoming.sid, FileMessage::Accept { id: incoming.offer.id.clone(), offset }).await;
        self.stage = Stage::Receiving(incoming);
        self.finish_if_whole().await
    }

    async fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        let now = Instant::now();
        match event {
            Event::ConnectToPeer { sid } => {
                self.people.connected(&sid, now);
                let _ = self.client.send_message_to([sid], &crate::join::hello(&self.name)).await;
            }
            Event::DisconnectFromPeer { sid } => self.lose(&sid, now),
            Event::ReassignPeerSid { old_sid, sid } => self.rename(&old_sid, &sid),
            Event::Message { sender, message } => match FileMessage::read(message.as_json()) {
                Some(message) => self.received(sender, message, now).await?,
                None => drop(self.people.received(&sender, message.as_json(), now)),
            },
            Event::Error { code, message, .. } => progress::tell_error(code, &message),
            _ => {}
        }
        Ok(())
    }

    async fn received(&mut self, sid: Sid, message: FileMessage, now: Instant) -> anyhow::Result<()> {
        match message {
            FileMessage::Offer(offer) => {
                self.offered(sid, offer);
                Ok(())
            }
            FileMessage::Part { id, offset, data } => {
                let Stage::Receiving(incoming) = &mut self.stage else { return Ok(()) };
                if incoming.sid != sid || incoming.offer.id != id {
                    return Ok(());
                }
                incoming.heard = now;
                let failed = incoming.write(offset, &data);
                if let Err(error) = failed {
                    self.give_up(&error.to_string()).await;
                    return Err(error);
                }
                self.acknowledge().await;
                self.finish_if_whole().await
            }
            FileMessage::Failed { id, reason } => {
                let is_ours = matches!(&self.stage, Stage::Receiving(incoming)
                    if incoming.sid == sid && incoming.offer.id == id);
                if is_ours {
                    let text =
                        format!("{} could not go on: {}", self.people.label(&sid), clean_line(&reason, MAX_REASON));
                    return Err(Failure::Left(text).into());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Remembers an offer; the latest of everybody counts.
    fn offered(&mut self, sid: Sid, offer: Offer) {
        self.offers.retain(|(of, _)| *of != sid);
        if self.offers.len() < MAX_OFFERS {
            self.offers.push_back((sid, offer));
        }
    }

    async fn acknowledge(&mut self) {
        let Stage::Receiving(incoming) = &mut self.stage else { return };
        let offset = incoming.partial.written();
        if offset - incoming.acknowledged >= ACKNOWLEDGE {
            incoming.acknowledged = offset;
            let (sid, id) = (incoming.sid.clone(), incoming.offer.id.clone());
            self.say(&sid, FileMessage::Ack { id, offset }).await;
        }
    }

    async fn finish_if_whole(&mut self) -> anyhow::Result<()> {
        let is_whole = matches!(&self.stage, Stage::Receiving(incoming)
            if incoming.partial.written() == incoming.offer.size);
        if !is_whole {
            return Ok(());
        }
        let Stage::Receiving(incoming) = std::mem::replace(&mut self.stage, Stage::Waiting) else { return Ok(()) };
        let Incoming { sid, offer, partial, bar, .. } = *incoming;
        bar.finish();
        let id = offer.id.clone();
        let (finished, offer) = tokio::task::spawn_blocking(move || (partial.finish(&offer), offer)).await?;
        match finished {
            Ok(path) => {
                self.say(&sid, FileMessage::Done { id }).await;
                self.stage = Stage::Done(path, offer);
                Ok(())
            }
            Err(error) => {
                self.say(&sid, FileMessage::Failed { id, reason: error.to_string() }).await;
                Err(match error {
                    FinishError::Mismatch(_) => Failure::Mismatch(error.to_string()).into(),
                    FinishError::Io(error) => anyhow::Error::new(error).context("cannot write the file"),
                })
            }
        }
    }

    fn lose(&mut self, sid: &Sid, now: Instant) {
        self.offers.retain(|(of, _)| of != sid);
        match std::mem::replace(&mut self.stage, Stage::Waiting) {
            Stage::Asking(of, offer) if of == *sid => {
                progress::tell(&format!("\n{} is gone, and {} with it.", self.people.label(sid), offer.describe()));
            }
            Stage::Receiving(incoming) if incoming.sid == *sid => {
                let who = self.people.label(sid);
                incoming.bar.suspend(|| progress::tell(&format!("{who} is gone, and may come back.")));
                self.stage = Stage::Lost(incoming, now + self.patience);
            }
            other => self.stage = other,
        }
        self.people.disconnected(sid);
    }

    fn rename(&mut self, old: &Sid, new: &Sid) {
        self.people.reassigned(old, new);
        let ours = match &mut self.stage {
            Stage::Asking(sid, _) => Some(sid),
            Stage::Receiving(incoming) => Some(&mut incoming.sid),
            _ => None,
        };
        for sid in self.offers.iter_mut().map(|(sid, _)| sid).chain(ours) {
            if sid == old {
                *sid = new.clone();
            }
        }
    }

    /// Tells the sender that it need not go on.
    async fn give_up(&self, reason: &str) {
        let (sid, id) = match &self.stage {
            Stage::Asking(sid, offer) => (sid, &offer.id),
            Stage::Receiving(incoming) => (&incoming.sid, &incoming.offer.id),
            _ => return,
        };
        self.say(sid, FileMessage::Failed { id: id.clone(), reason: reason.to_owned() }).await;
    }

    async fn say(&self, sid: &Sid, message: FileMessage) {
        // Who is gone is told by an event.
        let _ = self.client.send_message_to([sid.clone()], &message).await;
    }
}

impl Incoming {
    fn write(&mut self, offset: u64, data: &str) -> anyhow::Result<()> {
        let is_next = offset == self.partial.written();
        let data = decode(data).filter(|data| is_next && offset + data.len() as u64 <= self.offer.size);
        let Some(data) = data else {
            return Err(Failure::Left("the sender does not keep to the protocol".to_owned()).into());
        };
        let written = self.partial.write(&data);
        self.bar.set_position(self.partial.written());
        written.with_context(|| format!("cannot write {}", self.partial.path().display()))
    }

    fn left(&self, how: &str, people: &People) -> Failure {
        let percent = self.partial.written() * 100 / self.offer.size.max(1);
        Failure::Left(format!(
            "{} {how} when {percent} % were there; {} is kept, and the same command fetches the rest",
            people.label(&self.sid),
            self.partial.path().display(),
        ))
    }
}
