//! `rtc-cafe send`: offers a file to a room, and sends it to everybody who takes it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar};
use rtc_cafe_client::{Client, Event, Events, RoomId, Sid};
use tokio::time::sleep_until;

use super::{
    DEFAULT_PATIENCE, Failure, files, progress,
    protocol::{FileMessage, Offer, PART},
    sending::{Part, Sending, Stage},
};
use crate::{
    join::people::People,
    listed::{Listed, number},
    peer::{self, PeerOptions, own_name},
    stop::StopSignals,
};

/// Sends a file to whoever waits in the room
///
/// Everybody in the room is offered it, whether they came before or come later; those who run `rtc-cafe receive` take
/// it, several at once. It ends when they have confirmed that the file is there and its SHA-256 is right. Nothing of it
/// passes the server, and files of any size take the same little memory. A receiver that is lost may come back, or be
/// started again, and gets the rest.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The room to meet in, any text
    #[arg(value_name = "ROOM", value_parser = peer::room)]
    room: RoomId,

    #[command(flatten)]
    peer: PeerOptions,

    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The name that the others see [default: the user's]
    #[arg(long, env = "RTC_CAFE_NAME", value_name = "NAME")]
    name: Option<String>,

    /// How many receivers must have confirmed before it ends; others who are at it are waited for as well
    #[arg(long, env = "RTC_CAFE_RECEIVERS", value_name = "NUMBER", default_value = "1", value_parser = number::<NonZeroUsize>)]
    receivers: Listed<NonZeroUsize>,

    /// Seconds to wait for receivers [default: for ever]
    ///
    /// Whoever declines or fails meanwhile does not end it. Without this it ends when all who are there have declined or
    /// failed and nobody comes within the seconds of --patience.
    #[arg(long, env = "RTC_CAFE_TIMEOUT", value_name = "SECONDS", value_parser = number::<u64>)]
    timeout: Option<Listed<u64>>,

    /// Seconds that a receiver who is lost on the way may take to come back, or another one to come
    #[arg(long, env = "RTC_CAFE_PATIENCE", value_name = "SECONDS", default_value = "15", value_parser = number::<u64>)]
    patience: Listed<u64>,
}

const EXAMPLES: &str = "\
Examples:
  rtc-cafe send kitchen-table holiday.zip
      Waits until somebody runs `rtc-cafe receive kitchen-table`.
  rtc-cafe send lecture slides.pdf --receivers 20 --timeout 600
      Ends when twenty have it, and fails when they do not come within ten minutes.

Exit codes:
  0    enough receivers have the file, and its SHA-256 is right
  1    the file cannot be read, or the command not be started
  2    wrong usage
  3    nobody came within --timeout
  4    too few have it: a receiver left, or could not go on
  6    all who came declined the file
  130  stopped by a signal";

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(send(options));
    runtime.shutdown_background();
    result
}

async fn send(options: Options) -> anyhow::Result<()> {
    let mut stop = StopSignals::new()?;
    let (file, offer) = tokio::select! {
        opened = tokio::task::spawn_blocking({ let path = options.file.clone(); move || open(&path) }) => opened??,
        () = stop.next() => return Err(Failure::Stopped.into()),
    };
    let (client, events) = options.peer.connect(Some(&options.room))?;
    let name = own_name(options.name.as_deref());
    progress::tell(&format!("Offering {} in {}.", offer.describe(), peer::shown(&options.room)));
    let patience = Duration::from_secs(options.patience.unwrap_or(DEFAULT_PATIENCE));
    let sender = Sender {
        client: &client,
        file,
        people: People::new(name.clone(), Instant::now()),
        name,
        sending: Sending::new(offer, options.receivers.map_or(1, NonZeroUsize::get), patience),
        bars: Bars::default(),
    };
    let result = sender.run(events, options.timeout.flatten().map(Duration::from_secs), &mut stop).await;
    client.close().await;
    result
}

/// Reads the file once, to tell what it is.
fn open(path: &Path) -> anyhow::Result<(File, Offer)> {
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let metadata = file.metadata().with_context(|| format!("cannot read {shown}"))?;
    anyhow::ensure!(metadata.is_file(), "{shown} is no file; pack a folder into an archive to send it");
    let bar = progress::bar(metadata.len(), "Reading");
    let (size, sha256) =
        files::measure(&mut file, |done| bar.set_position(done)).with_context(|| format!("cannot read {shown}"))?;
    bar.finish_and_clear();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((file, Offer { id: sha256[..16].to_owned(), name, size, sha256 }))
}

struct Sender<'a> {
    client: &'a Client,
    file: File,
    name: String,
    people: People,
    sending: Sending,
    bars: Bars,
}

impl Sender<'_> {
    async fn run(
        mut self,
        mut events: Events,
        timeout: Option<Duration>,
        stop: &mut StopSignals,
    ) -> anyhow::Result<()> {
        let mut alone_since = Instant::now();
        loop {
            let now = Instant::now();
            self.sending.tick(now);
            self.bars.show(&self.sending, &self.people);
            if let Some(receivers) = self.sending.success() {
                self.bars.clear();
                return self.conclude(receivers);
            }
            if self.sending.is_busy() {
                alone_since = now;
            }
            let end = match timeout {
                Some(timeout) => Some(alone_since + timeout),
                None => self.sending.give_up_at(),
            };
            if end.is_some_and(|end| now >= end) {
                self.bars.clear();
                let nobody = Failure::Nobody(timeout.unwrap_or_default());
                return Err(self.sending.failure().unwrap_or(nobody).into());
            }
            let deadline = end.into_iter().chain(self.sending.deadline()).min();
            let part = self.sending.next_part();
            tokio::select! {
                biased;
                () = stop.next() => {
                    self.give_up("the sender was stopped").await;
                    return Err(Failure::Stopped.into());
                }
                event = events.recv(), if part.is_none() => match event {
                    Some(event) => self.handle(event).await,
                    None => return Err(Failure::Left("the connection was closed".to_owned()).into()),
                },
                () = std::future::ready(()), if part.is_some() => {
                    if let Some(part) = part {
                        self.send_part(part).await?;
                    }
                    while let Some(event) = events.try_recv() {
                        self.handle(event).await;
                    }
                }
                () = sleep_until(deadline.unwrap_or(now).into()), if deadline.is_some() => {}
            }
        }
    }

    fn conclude(&self, receivers: usize) -> anyhow::Result<()> {
        let them = if receivers == 1 { "1 receiver has".to_owned() } else { format!("{receivers} receivers have") };
        progress::tell(&format!("{them} {}.", self.sending.offer().describe()));
        Ok(())
    }

    async fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::ConnectToPeer { sid } => {
                self.people.connected(&sid, now);
                self.sending.connected(&sid);
                let hello = crate::join::hello(&self.name);
                // Who is gone again needs no offer.
                let _ = self.client.send_message_to([sid.clone()], &hello).await;
                let offer = FileMessage::Offer(self.sending.offer().clone());
                let _ = self.client.send_message_to([sid], &offer).await;
            }
            Event::DisconnectFromPeer { sid } => {
                self.people.disconnected(&sid);
                self.sending.disconnected(&sid, now);
            }
            Event::ReassignPeerSid { old_sid, sid } => {
                self.people.reassigned(&old_sid, &sid);
                self.sending.reassigned(&old_sid, &sid);
                self.bars.reassigned(&old_sid, &sid);
            }
            Event::Message { sender, message } => match FileMessage::read(message.as_json()) {
                Some(message) => self.sending.received(&sender, message, now),
                None => drop(self.people.received(&sender, message.as_json(), now)),
            },
            Event::Error { code, message, .. } => progress::tell_error(code, &message),
            _ => {}
        }
    }

    async fn send_part(&mut self, Part { sid, offset, length }: Part) -> anyhow::Result<()> {
        let mut data = vec![0; length.min(PART)];
        let read = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.read_exact(&mut data));
        if let Err(error) = read {
            self.give_up("the sender cannot read the file any more").await;
            return Err(error).context("the file cannot be read any more");
        }
        let part = FileMessage::part(&self.sending.offer().id, offset, &data);
        // Who is gone is told by an event.
        let _ = self.client.send_message_to([sid], &part).await;
        Ok(())
    }

    /// Tells those who are at it that nothing more comes.
    async fn give_up(&self, reason: &str) {
        let is_at_it = |stage: &Stage| matches!(stage, Stage::Asking | Stage::Receiving { .. });
        for (sid, _) in self.sending.receivers().iter().filter(|(_, stage)| is_at_it(stage)) {
            let failed = FileMessage::Failed { id: self.sending.offer().id.clone(), reason: reason.to_owned() };
            let _ = self.client.send_message_to([sid.clone()], &failed).await;
        }
    }
}

/// A progress bar for everybody who receives.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    by_sid: BTreeMap<Sid, (ProgressBar, Stage)>,
}

impl Bars {
    fn show(&mut self, sending: &Sending, people: &People) {
        for (sid, stage) in sending.receivers() {
            if matches!(stage, Stage::Offered) {
                continue;
            }
            let (bar, before) = self
                .by_sid
                .entry(sid.clone())
                .or_insert_with(|| (self.all.add(progress::bar(sending.offer().size, "")), Stage::Offered));
            if let Stage::Receiving { acknowledged, .. } = stage {
                bar.set_position(*acknowledged);
            }
            if std::mem::discriminant(before) != std::mem::discriminant(stage) {
                let who = people.label(sid);
                bar.set_prefix(who.clone());
                match stage {
                    Stage::Receiving { .. } => bar.reset_eta(),
                    Stage::Confirmed => bar.finish(),
                    Stage::Declined => progress::note(&self.all, &format!("{who} does not want it.")),
                    Stage::Lost { .. } => progress::note(&self.all, &format!("{who} is gone, and may come back.")),
                    Stage::Failed(reason) => progress::note(&self.all, &format!("{who} does not have it: {reason}.")),
                    Stage::Offered | Stage::Asking => {}
                }
            }
            *before = stage.clone();
        }
        let gone: Vec<_> = self.by_sid.keys().filter(|sid| !sending.receivers().contains_key(*sid)).cloned().collect();
        for (bar, _) in gone.iter().filter_map(|sid| self.by_sid.remove(sid)) {
            self.all.remove(&bar);
        }
    }

    fn reassigned(&mut self, old: &Sid, sid: &Sid) {
        if let Some(bar) = self.by_sid.remove(old) {
            self.by_sid.insert(sid.clone(), bar);
        }
    }

    fn clear(&self) {
        for (bar, stage) in self.by_sid.values() {
            if *stage != Stage::Confirmed {
                bar.abandon();
            }
        }
    }
}
