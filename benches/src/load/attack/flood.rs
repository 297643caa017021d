//! Too many: connections, websockets without a namespace, polling sessions.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Attacker, Next, raw};

/// Polling sessions that are opened on one connection.
const SESSIONS: usize = 50;

/// Opens a connection and closes it, sometimes after half a request.
pub(super) async fn open_and_close(attacker: Attacker) -> io::Result<Next> {
    for half in [0, 20, raw::HANDSHAKE.len()] {
        let mut stream = raw::connect(&attacker).await?;
        stream.write_all(&raw::HANDSHAKE.as_bytes()[..half]).await?;
        attacker.count(1);
    }
    Ok(Next::Again)
}

/// Opens a websocket and never says a word, until it is cut off.
pub(super) async fn say_nothing(attacker: Attacker) -> io::Result<Next> {
    let mut stream = raw::websocket(&attacker).await?;
    attacker.count(1);
    raw::drain(&mut stream).await?;
    Ok(Next::Again)
}

/// Opens polling sessions; some join a room, some break the rules, all are left behind.
pub(super) async fn poll(attacker: Attacker) -> io::Result<Next> {
    let mut stream = raw::connect(&attacker).await?;
    for number in 0..SESSIONS {
        let opened = request(&mut stream, "GET", "", "").await?;
        let sid = opened.split_once(r#""sid":""#).and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default();
        attacker.count(1);
        let sid = format!("&sid={sid}");
        match number % 4 {
            0 => {
                let joined = "40/rtc-cafe,\x1e42/rtc-cafe,[\"join\",{\"room\":\"polled\"}]";
                request(&mut stream, "POST", &sid, joined).await?;
            }
            1 => drop(request(&mut stream, "POST", &sid, "b!\x1e\x1e\x1e9\x1e451-[").await?),
            2 => drop(request(&mut stream, "GET", "&sid=none", "").await?),
            _ => {}
        }
    }
    Ok(Next::Again)
}

/// The body of the answer to a request.
async fn request(stream: &mut TcpStream, method: &str, query: &str, body: &str) -> io::Result<String> {
    let length = body.len();
    let path = format!("/socket.io/?EIO=4&transport=polling{query}");
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).await?;
    let head = raw::head(stream).await?.to_ascii_lowercase();
    let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}
