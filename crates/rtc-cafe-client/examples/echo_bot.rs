//! Says back whatever it is told: `cargo run --example echo_bot -- ROOM [SERVER]`, and open the chat sample in that room.

use rtc_cafe_client::{Client, Event};
use serde_json::value::RawValue;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let room = arguments.next().unwrap_or_else(|| "lobby".to_owned());
    let server = arguments.next().unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());

    let (client, mut events) = Client::builder(server).connect()?;
    client.join_room(room)?;
    while let Some(event) = events.recv().await {
        match event {
            Event::ConnectToPeer { sid } => println!("{sid} is here"),
            Event::DisconnectFromPeer { sid } => println!("{sid} is gone"),
            Event::Message { sender, message } => {
                println!("{sender}: {}", message.as_json());
                // What is no JSON, or comes from somebody who is gone by now, gets no echo.
                if let Ok(same) = message.parse::<Box<RawValue>>()
                    && let Err(error) = client.send_message_to([sender], &same).await
                {
                    eprintln!("{error}");
                }
            }
            Event::Error { code, message, .. } => eprintln!("{}: {message}", code.as_str()),
            _ => {}
        }
    }
    Ok(())
}
