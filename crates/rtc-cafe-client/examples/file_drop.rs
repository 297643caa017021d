//! A drop box: takes every file that somebody in the room sends, from several at once, until it is stopped:
//! `cargo run --example file_drop -- ROOM FOLDER [SERVER]`, and elsewhere `rtc-cafe send ROOM FILE`.
//!
//! It is the receiving side of `docs/file-transfer.md` at its simplest: it does not fetch the rest after an interruption.

use std::{
    collections::HashMap,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rtc_cafe_client::{Client, Event, Sid};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What a sender says.
#[derive(Deserialize)]
#[serde(tag = "kind")]
enum Said {
    #[serde(rename = "file-offer")]
    Offer { id: String, name: String, size: u64, sha256: String },
    #[serde(rename = "file-part")]
    Part { id: String, offset: u64, data: String },
    #[serde(rename = "file-failed")]
    Failed { id: String },
}

/// Files that are taken at once.
const MAX_TRANSFERS: usize = 64;

type Error = Box<dyn std::error::Error>;

/// A file that comes in; it is removed again if it does not become whole.
struct Incoming {
    file: tempfile::NamedTempFile,
    name: String,
    hasher: Sha256,
    size: u64,
    sha256: String,
    written: u64,
}

impl Incoming {
    fn write(&mut self, offset: u64, data: &str) -> Result<(), Error> {
        let data = BASE64_STANDARD.decode(data)?;
        if offset != self.written || data.len() as u64 > self.size - self.written {
            return Err("this part is not the next one".into());
        }
        self.file.write_all(&data)?;
        self.hasher.update(&data);
        self.written += data.len() as u64;
        Ok(())
    }

    /// Gives it a name with its hash, if it is what was offered.
    fn finish(self, folder: &Path) -> Result<(), Error> {
        let hash: String = self.hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if hash != self.sha256 {
            return Err("what arrived is not what was offered".into());
        }
        let path = folder.join(format!("{}-{}", &hash[..12], self.name));
        match self.file.persist_noclobber(&path) {
            Err(failed) if failed.error.kind() != ErrorKind::AlreadyExists => return Err(failed.error.into()),
            // What is there under this name is the same file.
            _ => println!("{} ({} bytes)", path.display(), self.size),
        }
        Ok(())
    }
}

/// Files that come in, by the sid of the sender and the id of the transfer.
type Transfers = HashMap<(Sid, String), Incoming>;

/// Begins to take a file.
fn take(folder: &Path, name: &str, size: u64, sha256: String) -> Result<Incoming, Error> {
    // The name is a stranger's: it may be a path, or mean something to the system.
    let safe = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name = name.chars().take(60).map(safe).collect();
    let file = tempfile::NamedTempFile::new_in(folder)?;
    Ok(Incoming { file, name, hasher: Sha256::new(), size, sha256, written: 0 })
}

/// Does what a sender says, and returns what there is to answer.
fn handle(transfers: &mut Transfers, folder: &Path, key: &(Sid, String), said: Said) -> Result<Vec<Value>, Error> {
    let mut answers = Vec::new();
    match said {
        Said::Offer { name, size, sha256, .. } => {
            if transfers.len() >= MAX_TRANSFERS {
                return Err("too many files at once".into());
            }
            transfers.insert(key.clone(), take(folder, &name, size, sha256)?);
            answers.push(json!({ "kind": "file-wait", "id": key.1 }));
            answers.push(json!({ "kind": "file-accept", "id": key.1, "offset": 0 }));
        }
        Said::Part { offset, data, .. } => {
            let Some(incoming) = transfers.get_mut(key) else { return Ok(answers) };
            incoming.write(offset, &data)?;
            answers.push(json!({ "kind": "file-ack", "id": key.1, "offset": incoming.written }));
        }
        Said::Failed { .. } => drop(transfers.remove(key)),
    }
    if transfers.get(key).is_some_and(|incoming| incoming.written == incoming.size)
        && let Some(incoming) = transfers.remove(key)
    {
        incoming.finish(folder)?;
        answers.push(json!({ "kind": "file-done", "id": key.1 }));
    }
    Ok(answers)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(room), Some(folder)) = (arguments.next(), arguments.next().map(PathBuf::from)) else {
        return Err("usage: file_drop ROOM FOLDER [SERVER]".into());
    };
    let server = arguments.next().unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    std::fs::create_dir_all(&folder)?;

    let (client, mut events) = Client::builder(server).connect()?;
    client.join_room(room)?;
    let mut transfers = Transfers::new();
    while let Some(event) = events.recv().await {
        match event {
            Event::Message { sender, message } => {
                // Whatever else is said in the room is not for us.
                let Ok(said) = message.parse::<Said>() else { continue };
                let (Said::Offer { id, .. } | Said::Part { id, .. } | Said::Failed { id }) = &said;
                let key = (sender, id.clone());
                let answers = handle(&mut transfers, &folder, &key, said).unwrap_or_else(|error| {
                    eprintln!("{}: {error}", key.0);
                    transfers.remove(&key);
                    vec![json!({ "kind": "file-failed", "id": key.1, "reason": error.to_string() })]
                });
                for answer in answers {
                    // Who is gone by now is told by an event.
                    let _ = client.send_message_to([key.0.clone()], &answer).await;
                }
            }
            Event::ReassignPeerSid { old_sid, sid } => {
                let moved = |((of, id), incoming)| ((if of == old_sid { sid.clone() } else { of }, id), incoming);
                transfers = transfers.into_iter().map(moved).collect();
            }
            Event::DisconnectFromPeer { sid } => transfers.retain(|(of, _), _| *of != sid),
            _ => {}
        }
    }
    Ok(())
}
