//! Too slow: those who never read, and those who send a byte a second.

use std::{io, sync::atomic::Ordering, time::Duration};

use socket2::SockRef;
use tokio::{io::AsyncWriteExt, time::sleep};

use super::{super::dial::dial, Attacker, Next, raw};
use crate::client::{Client, join};

/// What is sent to those who do not read, in bytes.
const SIGNAL: usize = 16_000;
/// So many of them overflow every queue between, unless the reader is cut off.
const SIGNALS: usize = 1000;
const ROOM: &str = "busy";

/// Joins a room and reads nothing any more, while a friend signals to it until it is cut off.
pub(super) async fn never_read(attacker: Attacker) -> io::Result<Next> {
    let stream = dial(attacker.address).await?;
    SockRef::from(&stream).set_recv_buffer_size(4096)?;
    let mut reader = Client::signaller_on(stream, attacker.address).await.map_err(io::Error::other)?;
    let stream = dial(attacker.address).await?;
    let mut friend = Client::signaller_on(stream, attacker.address).await.map_err(io::Error::other)?;
    for client in [&mut reader, &mut friend] {
        client.send(&join(ROOM)).await.map_err(io::Error::other)?;
    }
    let payload = "x".repeat(SIGNAL);
    let signal = format!(r#"42/rtc-cafe,["candidate",{{"recipient":"{}","x":"{payload}"}}]"#, reader.sid).into();
    for _ in 0..SIGNALS {
        friend.send_all(&signal, 1).await.map_err(io::Error::other)?;
        attacker.count(1);
        while let Some(text) = friend.received() {
            // The reader is cut off, or the friend has said too much.
            text.map_err(io::Error::other)?;
        }
        // Others of this program want to run too.
        tokio::task::yield_now().await;
    }
    Ok(Next::Again)
}

/// Asks for pages, more than fit into anything between, and reads none.
pub(super) async fn never_read_pages(attacker: Attacker) -> io::Result<Next> {
    let mut stream = raw::connect(&attacker).await?;
    let page = b"GET /client/rtc-cafe-client.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    loop {
        stream.write_all(page).await?;
        attacker.count(1);
        // Others of this program want to run too.
        tokio::task::yield_now().await;
    }
}

/// Sends the beginning of something at once, and then a byte a second.
pub(super) async fn trickle(attacker: Attacker) -> io::Result<Next> {
    let post = "POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n";
    let (mut stream, begin) = match attacker.done.load(Ordering::Relaxed) % 4 {
        0 => (raw::connect(&attacker).await?, b"GET /sock".to_vec()),
        1 => (raw::connect(&attacker).await?, raw::HANDSHAKE.as_bytes()[..120].to_vec()),
        2 => (raw::connect(&attacker).await?, post.as_bytes().to_vec()),
        _ => (raw::websocket(&attacker).await?, raw::frame_head(0x80 | raw::TEXT, 900_000)),
    };
    stream.write_all(&begin).await?;
    loop {
        attacker.count(1);
        sleep(Duration::from_secs(1)).await;
        stream.write_all(b"4").await?;
    }
}
