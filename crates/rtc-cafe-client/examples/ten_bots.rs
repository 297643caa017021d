//! Ten clients in one process and one room; each greets everybody once: `cargo run --example ten_bots -- [SERVER]`.

use rtc_cafe_client::{Client, Event};
use tokio::task::JoinSet;

const BOTS: usize = 10;

#[tokio::main]
async fn main() {
    let server = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let mut bots = JoinSet::new();
    for number in 0..BOTS {
        let server = server.clone();
        bots.spawn(async move { greet_everybody(number, server).await.map_err(|error| error.to_string()) });
    }
    // Nobody leaves before everybody was greeted.
    let mut clients = Vec::new();
    while let Some(bot) = bots.join_next().await {
        match bot {
            Ok(Ok((client, line))) => {
                println!("{line}");
                clients.push(client);
            }
            Ok(Err(error)) => eprintln!("{error}"),
            Err(error) => eprintln!("{error}"),
        }
    }
    for client in clients {
        client.close().await;
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn greet_everybody(number: usize, server: String) -> Result<(Client, String), Error> {
    let (client, mut events) = Client::builder(server).connect()?;
    client.join_room("ten bots")?;
    let mut greetings = 0;
    while greetings < BOTS - 1 {
        match events.recv().await {
            Some(Event::ConnectToPeer { sid }) => {
                client.send_message_to([sid], &format!("hello from {number}")).await?;
            }
            Some(Event::Message { .. }) => greetings += 1,
            Some(_) => {}
            None => break,
        }
    }
    Ok((client, format!("bot {number} was greeted {greetings} times")))
}
