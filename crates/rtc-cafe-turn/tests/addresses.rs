//! A host with several addresses: what a client gets comes from the one that it has reached.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{net::UdpSocket, process::Command, time::Duration};

use rtc_cafe_turn::{Secret, TurnServer};
use tokio::task::spawn_blocking;
use turn_types::stun::message::{BINDING, Message, MessageWrite, MessageWriteVec};

const SECRET: &str = "north";

/// On all addresses of the machine, of which 127.0.0.2 is one that the system would not choose.
async fn server() -> TurnServer {
    let builder = TurnServer::builder(Secret::new(SECRET).unwrap()).udp("0.0.0.0:0".parse().unwrap());
    builder.public_address("127.0.0.1".parse().unwrap()).bind().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_from_the_address_that_was_asked() {
    let server = server().await;
    let port = server.udp_addresses()[0].port();
    for address in ["127.0.0.1", "127.0.0.2"] {
        let from = spawn_blocking(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let request = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
            socket.send_to(&request, (address, port)).unwrap();
            socket.recv_from(&mut [0; 1500]).unwrap().1
        });
        assert_eq!(from.await.unwrap().to_string(), format!("{address}:{port}"));
    }
}

/// coturn's client hears nothing from elsewhere: its socket is connected.
#[tokio::test(flavor = "multi_thread")]
async fn data_comes_from_there_as_well() {
    let server = server().await;
    let port = server.udp_addresses()[0].port().to_string();
    let output = spawn_blocking(move || {
        let mut command = Command::new("turnutils_uclient");
        command.args(["-y", "-c", "-W", SECRET, "-u", "ana", "-n", "20", "-m", "4", "-L", "127.0.0.1", "-p"]);
        command.arg(port).arg("127.0.0.2").output().expect("turnutils_uclient is missing: install coturn")
    })
    .await
    .unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(text.contains("Total lost packets 0 (0.000000%)"), "{text}");
    assert!(server.stats().packets_from_peers >= 80, "{:?}", server.stats());
}
