//! The floor: a websocket server that does nothing but hand text from one half of a pair to the other.
//!
//! The first frame of a connection names its pair. Same library, same read buffer, same runtime as the signaller.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config,
    tungstenite::{Message, Utf8Bytes, protocol::WebSocketConfig},
};

type Way = UnboundedSender<Utf8Bytes>;

/// Who waits for the other half: how to send to it, and where to tell it how to send back.
type Waiting = Arc<Mutex<HashMap<Utf8Bytes, (Way, tokio::sync::oneshot::Sender<Way>)>>>;

/// Serves until it is ended.
pub(crate) fn run() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("the bare relay is ready at http://{}/", listener.local_addr()?);
        let waiting = Waiting::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let waiting = waiting.clone();
            // A connection that fails is missed by the load generator, which says so.
            tokio::spawn(async move { serve(stream, waiting).await });
        }
    })
}

async fn serve(stream: TcpStream, waiting: Waiting) -> Option<()> {
    let config = WebSocketConfig::default().read_buffer_size(4 * 1024);
    let mut socket = accept_async_with_config(stream, Some(config)).await.ok()?;
    let Message::Text(pair) = socket.next().await?.ok()? else { return None };
    let (own, inbox) = unbounded_channel();
    let first = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&pair);
    let partner = match first {
        Some((partner, tell)) => {
            tell.send(own).ok()?;
            partner
        }
        None => {
            let (tell, told) = tokio::sync::oneshot::channel();
            waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(pair, (own, tell));
            told.await.ok()?
        }
    };
    forward(socket, partner, inbox).await
}

async fn forward(
    mut socket: WebSocketStream<TcpStream>,
    partner: Way,
    mut inbox: UnboundedReceiver<Utf8Bytes>,
) -> Option<()> {
    loop {
        tokio::select! {
            biased;
            text = inbox.recv() => {
                socket.feed(Message::Text(text?)).await.ok()?;
                while let Ok(text) = inbox.try_recv() {
                    socket.feed(Message::Text(text)).await.ok()?;
                }
                socket.flush().await.ok()?;
            }
            message = socket.next() => match message?.ok()? {
                Message::Text(text) => partner.send(text).ok()?,
                _ => return None,
            },
        }
    }
}
