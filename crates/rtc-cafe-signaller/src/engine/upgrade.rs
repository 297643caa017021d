//! The way from polling to a websocket: probe, wait for the poll to end, take over.

use std::{sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::{
    keepalive::Keepalive,
    outbox::Frame,
    polling::Polling,
    session::Session,
    shared::{Link, Open, Shared},
    websocket::{self, Socket},
};

/// How long a client may take to upgrade.
const PATIENCE: Duration = Duration::from_secs(10);

/// Upgrades a polling session, which goes on polling where that fails.
pub(super) async fn serve(mut socket: Socket, link: Arc<Link>, shared: Arc<Shared>) {
    let Some(polling) = &link.polling else { return };
    let taken = timeout(PATIENCE, probe(&mut socket, polling, &link)).await;
    match taken.ok().flatten() {
        Some((open, session)) => {
            tracing::debug!(connection = link.number, "upgraded to a websocket");
            let keepalive = Keepalive::new(shared.config.timing);
            websocket::run(socket, open, session, keepalive, &shared.counters).await;
        }
        None => {
            polling.end_probe();
            let _ = timeout(PATIENCE, socket.close(None)).await;
        }
    }
}

/// Shakes hands; `None` if the client does not, or the session has ended.
async fn probe(socket: &mut Socket, polling: &Polling, link: &Link) -> Option<(Open, Session)> {
    expect(socket, "2probe").await?;
    socket.send(Message::text("3probe")).await.ok()?;
    // The client waits for its poll to end before it goes on.
    link.outbox.noop();
    expect(socket, "5").await?;
    let taken = polling.take_over().await?;
    link.outbox.noop();
    Some(taken)
}

async fn expect(socket: &mut Socket, packet: &str) -> Option<()> {
    loop {
        match socket.next().await?.ok()? {
            Message::Text(text) => return (text == packet).then_some(()),
            Message::Ping(_) | Message::Pong(_) => {}
            _ => return None,
        }
    }
}

/// What a poll gets that has nothing to wait for.
pub(super) fn noop() -> Frame {
    Frame::text("6")
}
