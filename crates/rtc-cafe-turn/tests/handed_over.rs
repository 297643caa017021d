//! Connections that somebody else has accepted.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::Served;
use rtc_cafe_turn::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const BINDING: &[u8] = b"\x00\x01\x00\x00\x21\x12\xa4\x42twelve bytes";

fn hand_over(served: &Served) -> DuplexStream {
    let (ours, theirs) = duplex(1000);
    served.server.serve_tls(theirs, "203.0.113.9:5000".parse().unwrap());
    ours
}

#[tokio::test]
async fn they_are_as_those_of_its_own() {
    let mut limits = Limits::default();
    limits.connections_per_address = 1;
    let served = Served::start(|builder| builder.limits(limits)).await;
    let mut client = hand_over(&served);
    client.write_all(BINDING).await.unwrap();
    let mut answer = [0; 40];
    client.read_exact(&mut answer).await.unwrap();
    assert!(answer[..2] == [1, 1] && answer[8..20] == BINDING[8..], "{answer:?}");
    assert_eq!(served.server.stats().connections.tls, 1);

    let mut second = hand_over(&served);
    assert_eq!(second.read(&mut [0]).await.unwrap(), 0, "beyond those of an address it is closed");

    drop(client);
    while served.server.stats().connections.tls > 0 {
        tokio::task::yield_now().await;
    }
    let mut last = hand_over(&served);
    drop(served);
    assert_eq!(last.read(&mut [0]).await.unwrap(), 0, "it ends with the server");
}
