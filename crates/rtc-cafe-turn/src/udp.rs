//! Clients and their peers on UDP: what has come is taken many datagrams at a time, and what comes of it goes out together.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
};

use tokio::time::sleep;

use crate::{
    client::Now,
    outbox::Outbox,
    server::{PAUSE, Server},
    session::Session,
    socket::{Datagram, Inbox, Socket},
};

/// How often is taken what has come, before others have their turn.
const ROUNDS: usize = 4;

thread_local! {
    /// One of each is enough for a thread: nobody waits while they are in use.
    static INBOX: RefCell<Inbox> = RefCell::new(Inbox::new());
    static OUTBOX: RefCell<Outbox> = RefCell::default();
}

/// Serves clients at one of our addresses.
pub(crate) async fn serve(server: Arc<Server>, socket: Arc<Socket>) {
    loop {
        let ready = socket.readable().await;
        let take = |datagrams: &mut dyn Iterator<Item = Datagram<'_>>, outbox: &mut Outbox, now| {
            server.handle_clients(&socket, datagrams, outbox, now);
        };
        rest(ready.and_then(|()| take_all(&socket, &server, take))).await;
    }
}

/// Takes what peers send to a relayed address, until it is closed.
pub(crate) async fn serve_peers(server: Weak<Server>, session: Arc<Session>, socket: Arc<Socket>, relay: SocketAddr) {
    loop {
        let ready = socket.readable().await;
        let Some(server) = server.upgrade() else { return };
        let take = |datagrams: &mut dyn Iterator<Item = Datagram<'_>>, outbox: &mut Outbox, now| {
            let datagrams = datagrams.map(|datagram| (datagram.from, datagram.data));
            session.handle_peers(relay, datagrams, &server, outbox, now);
        };
        let taken = ready.and_then(|()| take_all(&socket, &server, take));
        drop(server);
        rest(taken).await;
    }
}

/// Does something of which messages come, and sends them.
pub(crate) fn with_outbox<T>(server: &Server, handle: impl FnOnce(&mut Outbox, Now) -> T) -> T {
    OUTBOX.with_borrow_mut(|outbox| {
        let result = handle(outbox, Now::read());
        let lost = outbox.send();
        if lost > 0 {
            server.common.counters.unsent.add(lost as u64);
        }
        result
    })
}

/// Takes what is there, or as much of it as is fair.
fn take_all(
    socket: &Socket,
    server: &Server,
    handle: impl Fn(&mut dyn Iterator<Item = Datagram<'_>>, &mut Outbox, Now),
) -> io::Result<()> {
    INBOX.with_borrow_mut(|inbox| {
        for _ in 0..ROUNDS {
            match socket.receive(inbox) {
                Ok(()) => with_outbox(server, |outbox, now| handle(&mut inbox.datagrams(), outbox, now)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
}

/// Lets others have their turn. An error belongs to a datagram that was sent before, as a rule, but may last.
async fn rest(taken: io::Result<()>) {
    match taken {
        Ok(()) => tokio::task::yield_now().await,
        Err(_) => sleep(PAUSE).await,
    }
}
