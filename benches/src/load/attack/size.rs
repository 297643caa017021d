//! Too large, or no text: frames, fragments, bodies and heads.

use std::{io, sync::atomic::Ordering, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use super::{Attacker, Next, raw};

const MIB: usize = 1024 * 1024;
/// How long an attacker waits to be answered or cut off.
const ANSWER: Duration = Duration::from_millis(200);

/// Sends one thing that is too large.
pub(super) async fn huge(attacker: Attacker) -> io::Result<Next> {
    let number = attacker.done.load(Ordering::Relaxed) % 6;
    attacker.count(1);
    let mut stream = if number < 4 { in_namespace(&attacker).await? } else { raw::connect(&attacker).await? };
    match number {
        // Only announced.
        0 => stream.write_all(&raw::frame_head(0x80 | raw::TEXT, u64::MAX >> 1)).await?,
        // More than is read.
        1 => {
            stream.write_all(&raw::frame_head(0x80 | raw::TEXT, 5 * MIB as u64)).await?;
            pour(&mut stream, 5 * MIB).await?;
        }
        // More than is taken, but read.
        2 => {
            stream.write_all(&raw::frame_head(0x80 | raw::TEXT, 3 * MIB as u64)).await?;
            pour(&mut stream, 3 * MIB).await?;
        }
        // The same in fragments without an end.
        3 => {
            stream.write_all(&raw::frame_head(raw::TEXT, 0)).await?;
            for _ in 0..80 {
                stream.write_all(&raw::frame_head(0, 65_536)).await?;
                pour(&mut stream, 65_536).await?;
            }
        }
        4 => {
            let head = "POST /socket.io/?EIO=4&transport=polling&sid=none HTTP/1.1\r\nHost: localhost\r\n";
            stream.write_all(format!("{head}Content-Length: 99999999\r\n\r\n").as_bytes()).await?;
            pour(&mut stream, 2 * MIB).await?;
        }
        // A head without an end.
        _ => {
            stream.write_all(b"GET / HTTP/1.1\r\n").await?;
            for _ in 0..40 {
                stream.write_all(b"X-Long: ").await?;
                pour(&mut stream, 16_384).await?;
                stream.write_all(b"\r\n").await?;
            }
        }
    }
    let _ = timeout(ANSWER, raw::drain(&mut stream)).await;
    Ok(Next::Again)
}

/// Sends one thing that is not UTF-8.
pub(super) async fn invalid_utf8(attacker: Attacker) -> io::Result<Next> {
    let number = attacker.done.load(Ordering::Relaxed) % 5;
    attacker.count(1);
    let mut stream = if number < 3 { in_namespace(&attacker).await? } else { raw::connect(&attacker).await? };
    let mut out = Vec::new();
    match number {
        0 => raw::add_frame(&mut out, raw::TEXT, b"42/rtc-cafe,[\"join\",{\"room\":\"\xff\xfe\"}]"),
        // A character that is cut in two, and the second half is another.
        1 => {
            out.extend(raw::frame_head(raw::TEXT, 1));
            out.extend(b"\xe2");
            out.extend(raw::frame_head(0x80, 1));
            out.extend(b"A");
        }
        // A reason to close that is no text.
        2 => raw::add_frame(&mut out, 8, b"\x03\xe8\xc0\x80"),
        3 => out
            .extend(b"GET /socket.io/?EIO=4&transport=\xff\xfe&sid=%ff HTTP/1.1\r\nHost: \xff\r\nOrigin: \xf0\r\n\r\n"),
        _ => {
            out.extend(b"POST /socket.io/?EIO=4&transport=polling&sid=\xc3 HTTP/1.1\r\nHost: localhost\r\n");
            out.extend(b"Content-Length: 4\r\n\r\n4\xff\xfe\xfd");
        }
    }
    stream.write_all(&out).await?;
    let _ = timeout(ANSWER, raw::drain(&mut stream)).await;
    Ok(Next::Again)
}

/// A websocket that is allowed to say something.
async fn in_namespace(attacker: &Attacker) -> io::Result<TcpStream> {
    let mut stream = raw::websocket(attacker).await?;
    let mut connect = Vec::new();
    raw::add_frame(&mut connect, raw::TEXT, b"40/rtc-cafe,");
    stream.write_all(&connect).await?;
    Ok(stream)
}

/// Sends so many bytes.
async fn pour(stream: &mut TcpStream, bytes: usize) -> io::Result<()> {
    let chunk = [b'4'; 16_384];
    for _ in 0..bytes / chunk.len() {
        stream.write_all(&chunk).await?;
    }
    Ok(())
}
