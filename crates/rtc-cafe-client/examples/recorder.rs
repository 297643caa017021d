//! Records every track of a room, each to a file of its own, until it is interrupted:
//! `cargo run --example recorder -- ROOM FOLDER [SERVER]`.

use std::{collections::HashMap, path::PathBuf};

use rtc_cafe_client::{Client, Event, Recorded, Recording, TrackKind};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let room = arguments.next().unwrap_or_else(|| "lobby".to_owned());
    let folder = PathBuf::from(arguments.next().unwrap_or_else(|| "recordings".to_owned()));
    let server = arguments.next().unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    std::fs::create_dir_all(&folder)?;

    let (client, mut events) = Client::builder(server).connect()?;
    client.join_room(room)?;
    let mut recordings = HashMap::new();
    let mut number = 0;
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = tokio::signal::ctrl_c() => None,
        };
        match event {
            Some(Event::PeerTrackDefined { sid, definition }) => {
                // Nothing flows until somebody asks for it. The peer may be gone by now.
                if let Err(error) = client.request_peer_track(&sid, &definition.id) {
                    eprintln!("{error}");
                }
            }
            Some(Event::PeerTrackIdentified { sid, id, track }) => {
                // A track that comes back is another file, and so is one of an earlier run.
                let extension = if track.kind() == TrackKind::Audio { "ogg" } else { "mkv" };
                let path = loop {
                    number += 1;
                    let path = folder.join(format!("{number}-{id}.{extension}"));
                    if !path.exists() {
                        break path;
                    }
                };
                println!("recording {}", path.display());
                if let Some(earlier) = recordings.insert((sid, id), track.record(path)) {
                    finish(earlier).await;
                }
            }
            // Its recording goes on under the new sid.
            Some(Event::ReassignPeerSid { old_sid, sid }) => {
                let moved = |((of, id), recording)| ((if of == old_sid { sid.clone() } else { of }, id), recording);
                recordings = recordings.into_iter().map(moved).collect();
            }
            Some(Event::PeerTrackRemoved { sid, id }) => {
                if let Some(recording) = recordings.remove(&(sid, id)) {
                    finish(recording).await;
                }
            }
            Some(_) => {}
            None => break,
        }
    }
    for recording in recordings.into_values() {
        finish(recording).await;
    }
    client.close().await;
    Ok(())
}

/// Completes a file. One that fails does not keep the others from being recorded.
async fn finish(recording: Recording) {
    match recording.finish().await {
        Ok(Recorded { path: Some(path), frames, duration, .. }) => {
            println!("{}: {frames} frames, {:.1} s", path.display(), duration.as_secs_f64());
        }
        Ok(_) => println!("nothing came"),
        Err(error) => eprintln!("{error}"),
    }
}
