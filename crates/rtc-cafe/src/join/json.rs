//! `rtc-cafe join --json`: JSON lines in and out, for programs.

use rtc_cafe_client::{Client, Events};
use tokio::{io::BufReader, sync::mpsc};

use super::{
    lines::{Line, Lines},
    recordings::{Ended, Recordings},
};
use crate::stop::StopSignals;

mod call;
mod operations;
mod output;
mod report;
mod waiting;

use call::Call;
use output::Output;
use waiting::Waiting;

/// Bytes of the longest line that is read: the longest message and what stands around it.
const MAX_LINE: usize = rtc_cafe_wire::limits::MAX_MESSAGE + (64 << 10);
/// Bytes of events that are written at once, when they come faster than they are read.
const BATCH: usize = 64 << 10;

/// Why an operation was not done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// For programs; the same as in JavaScript, where there is the same.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn json(message: impl Into<String>) -> Self {
        Self::new("INVALID_JSON", message)
    }

    fn argument(message: impl Into<String>) -> Self {
        Self::new("INVALID_ARGUMENT", message)
    }

    fn room(error: &dyn std::error::Error) -> Self {
        Self::new("INVALID_ROOM", error.to_string())
    }
}

/// Obeys until the input ends, a signal comes, or nobody reads the output any more; then closes the client.
pub(crate) async fn run(
    client: &Client,
    events: Events,
    recordings: &Recordings,
    ended: mpsc::UnboundedReceiver<Ended>,
    stop: &mut StopSignals,
) {
    let output = Output::new();
    let mut told = std::pin::pin!(tell(client, events, recordings, ended, &output));
    let is_heard = tokio::select! {
        () = &mut told => false,
        () = obey(client, recordings, &output) => true,
        () = stop.next() => true,
    };
    let leaving = super::leave(client, recordings);
    // What has happened until the end is told, unless nobody listens.
    let end = async {
        match is_heard {
            true => drop(tokio::join!(leaving, told)),
            false => leaving.await,
        }
    };
    tokio::select! {
        () = end => {}
        () = stop.next() => {}
    }
}

/// Writes every event, until the client is closed or nobody reads them.
async fn tell(
    client: &Client,
    mut events: Events,
    recordings: &Recordings,
    mut ended: mpsc::UnboundedReceiver<Ended>,
    output: &Output,
) {
    loop {
        let mut lines = String::new();
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { break };
                let mut next = Some(event);
                while let Some(event) = next {
                    lines += &output::event(&event);
                    recordings.handle(client, &event);
                    next = if lines.len() < BATCH { events.try_recv() } else { None };
                }
            }
            Some(ended) = ended.recv() => lines = end_of_recording(ended),
        }
        if output.write(&lines).await.is_err() {
            return;
        }
    }
    // Recordings end before the client does.
    while let Ok(ended) = ended.try_recv() {
        if output.write(&end_of_recording(ended)).await.is_err() {
            return;
        }
    }
}

fn end_of_recording(ended: Ended) -> String {
    match ended {
        Ended::Complete(complete) => output::recorded(&complete),
        Ended::Failed(message) => output::error(None, &Refusal::new("MEDIA", message)),
    }
}

/// Does what the lines of the input say, one after another; but what waits for a peer does not keep the rest waiting,
/// until there is no room for more of its kind.
async fn obey(client: &Client, recordings: &Recordings, output: &Output) {
    let mut lines = Lines::new(BufReader::new(tokio::io::stdin()), MAX_LINE);
    let mut waiting = Waiting::new(client, recordings);
    let mut held: Option<Call> = None;
    let mut is_open = true;
    loop {
        let answer = match held.take_if(|call| waiting.has_room(call)) {
            Some(call) => waiting.begin(call).await,
            None => tokio::select! {
                biased;
                Some(answer) = waiting.next() => Some(answer),
                line = lines.next(), if is_open && held.is_none() => match line {
                    Ok(Some(Line::Bytes(line))) => {
                        held = (!line.trim_ascii().is_empty()).then(|| Call::read(&line));
                        None
                    }
                    Ok(Some(Line::TooLong)) => {
                        let text = format!("a line must not be longer than {MAX_LINE} bytes");
                        Some(output::error(None, &Refusal::new("LINE_TOO_LONG", text)))
                    }
                    Ok(None) | Err(_) => {
                        is_open = false;
                        None
                    }
                },
                else => return,
            },
        };
        if let Some(answer) = answer
            && output.write(&answer).await.is_err()
        {
            return;
        }
    }
}
