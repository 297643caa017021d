//! Clients on UDP.

use std::sync::Arc;

use tokio::{net::UdpSocket, time::sleep};

use crate::server::{MAX_DATAGRAM, PAUSE, Server};

/// Datagrams that are taken before others have their turn.
const BATCH: usize = 64;

pub(crate) async fn serve(server: Arc<Server>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        if socket.readable().await.is_err() {
            sleep(PAUSE).await;
        }
        for _ in 0..BATCH {
            let Ok((length, from)) = socket.try_recv_from(&mut buffer) else { break };
            server.handle_datagram(&socket, from, &buffer[..length]);
        }
        tokio::task::yield_now().await;
    }
}
