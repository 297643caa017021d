//! `rtc-cafe join`: a peer on the command line, for people and for programs.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use anyhow::Context;
use rtc_cafe_client::{Client, RoomId, TrackSource};

use crate::{
    listed::path,
    peer::{self, PeerOptions, own_name},
    stop::StopSignals,
    text::clean_line,
};

mod chat;
mod json;
mod lines;
mod look;
pub(crate) mod people;
mod plain;
mod recordings;
mod terminal;

pub(crate) use look::Look;
use recordings::Recordings;

/// Joins a room, as any page does: a chat on a terminal, a pipe without one, JSON lines for programs
///
/// On a terminal it is a chat with whoever is in the room, pages of the chat sample included; `/help` names what else
/// there is. Without a terminal each line of input is sent as a message, and what others say is printed as
/// `NAME: TEXT`; who comes and goes is told on standard error. With --json every event is a line of JSON on the output,
/// and every line of the input is an operation.
///
/// The end of input leaves the room and exits with 0, and so do SIGTERM and SIGINT.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rtc-cafe join kitchen-table
      A chat on this machine's own server.
  rtc-cafe join kitchen-table --server https://cafe.example.org --name Ana
      The same elsewhere, with a name of one's own.
  tail -f errors.log | rtc-cafe join operations --name web1
      Tells a room of every new line. The first waits until somebody is there to read it.
  rtc-cafe join show --play talk.ogg --play slides.ivf --record recordings
      Offers two files as tracks, and records what the others offer.
  rtc-cafe join game --json
      For a program: {\"op\":\"sendMessage\",\"message\":{\"x\":1},\"call\":1} goes in,
      {\"event\":\"message\",\"sender\":\"...\",\"message\":{\"x\":2}} comes out.

Operations of --json, each with an optional \"call\" that comes back in its `result` or `error`:
  joinRoom {room}                     leaveRoom {room}
  sendMessage {message, peerSids?}    getConnectionReport {sid}
  addTrack {file, description?}       removeTrack {id}
  getTracks {idFilter?}               getPeerTrackDefinitions {sidFilter?, idFilter?}
  requestPeerTrack {sid, id, record?} getPeerTracks {sidFilter?, idFilter?}
  removePeerTrack {sid, id}           forwardPeerTrack {sid, id, description?}
  networkChanged {}                   properties {}

What waits for a peer (sendMessage to a slow one, forwardPeerTrack for the first packet, 10 seconds at the most) does not
keep other operations waiting. Messages are sent in their order.

Events are those of the JavaScript client, and `recorded` {sid, id, file, frames, seconds}: the file of `record` or --record
is complete. A recording that fails is an `error` with the code MEDIA.

Files to play are Opus in Ogg (.ogg, .opus), VP8 or VP9 in IVF (.ivf), or H.264 as a byte stream (.h264).
The room of the command line is a text; rooms that are numbers are joined by `joinRoom`.")]
pub(crate) struct Options {
    /// The room to meet in, any text; with --json it may be left to the operation `joinRoom`
    #[arg(value_name = "ROOM", value_parser = peer::room, required_unless_present = "json")]
    room: Option<RoomId>,

    #[command(flatten)]
    peer: PeerOptions,

    /// Events and operations as lines of JSON
    #[arg(long, env = "RTC_CAFE_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    json: bool,

    /// The name to go by in the chat [default: the user's]
    ///
    /// With --json nothing is sent but what the program sends, no name either.
    #[arg(long, env = "RTC_CAFE_NAME", value_name = "NAME")]
    name: Option<String>,

    /// Records every track that the others offer into this folder
    #[arg(long, env = "RTC_CAFE_RECORD", value_name = "DIR", value_parser = path())]
    record: Option<PathBuf>,

    /// Offers this file as a track, played in real time once somebody wants it; may be repeated
    #[arg(long, env = "RTC_CAFE_PLAY", value_name = "FILE", value_delimiter = ',', value_parser = path())]
    play: Vec<PathBuf>,

    /// Plays the files over and over
    #[arg(long, env = "RTC_CAFE_REPEAT", value_parser = clap::builder::FalseyValueParser::new())]
    repeat: bool,
}

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(join(options));
    // Standard input may be read for ever.
    runtime.shutdown_background();
    result
}

async fn join(options: Options) -> anyhow::Result<()> {
    let mut stop = StopSignals::new()?;
    let folder = options.record.clone().filter(|folder| !folder.as_os_str().is_empty());
    let shown = folder.clone().unwrap_or_default();
    let (recordings, ended) =
        Recordings::new(folder).with_context(|| format!("cannot record into {}", shown.display()))?;
    let (client, events) = options.peer.connect(options.room.as_ref())?;
    for file in options.play.iter().filter(|file| !file.as_os_str().is_empty()) {
        play(&client, file, options.repeat).with_context(|| format!("cannot play {}", file.display()))?;
    }
    if options.json {
        json::run(&client, events, &recordings, ended, &mut stop).await;
        return Ok(());
    }
    let name = own_name(options.name.as_deref());
    let screen = match io::stdin().is_terminal() && io::stdout().is_terminal() {
        true => terminal::Terminal::open().map(chat::Screen::Terminal),
        false => None,
    };
    let screen = screen.unwrap_or_else(|| chat::Screen::Plain(plain::Plain::new()));
    let chat = chat::Chat::new(&client, &recordings, &name, screen);
    chat.run(&options.room.as_ref().map(peer::shown).unwrap_or_default(), events, ended, &mut stop).await;
    Ok(())
}

fn play(client: &Client, file: &Path, repeat: bool) -> anyhow::Result<()> {
    let source = TrackSource::file(file)?;
    let source = if repeat { source.repeating() } else { source };
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    client.add_track(source, &clean_line(&name, 100))?;
    Ok(())
}

/// Completes recordings, and leaves the room.
async fn leave(client: &Client, recordings: &Recordings) {
    recordings.finish().await;
    client.close().await;
}

/// What tells the others in the room who this is, as pages of the chat sample say it.
pub(crate) fn hello(name: &str) -> impl serde::Serialize + use<> {
    chat::Said::Hello { name: name.to_owned() }
}
