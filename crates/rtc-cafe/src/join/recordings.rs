//! Records tracks of peers to files: those that were asked for one by one, or all of them.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use rtc_cafe_client::{Client, Event, Recording, RemoteTrack, Sid, TrackId, TrackKind};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::interval,
};

/// How often it is looked whether a recording has ended.
const LOOK: Duration = Duration::from_millis(250);

/// How a recording ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The file is complete.
    Complete(Complete),
    /// What went wrong.
    Failed(String),
}

/// A recording whose file is complete.
#[derive(Debug)]
pub(crate) struct Complete {
    /// Whose track it was, by the sid of now.
    pub(crate) sid: Sid,
    /// Which track it was.
    pub(crate) id: TrackId,
    /// The file.
    pub(crate) path: PathBuf,
    /// How many frames are in it.
    pub(crate) frames: u64,
    /// How long it plays.
    pub(crate) duration: Duration,
}

/// A recording under way.
#[derive(Debug)]
struct Tape {
    sid: Mutex<Sid>,
    id: TrackId,
    path: PathBuf,
}

impl Tape {
    fn sid(&self) -> MutexGuard<'_, Sid> {
        self.sid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The recordings of a client.
#[derive(Debug)]
pub(crate) struct Recordings {
    folder: Option<PathBuf>,
    state: Mutex<State>,
    stop: watch::Sender<bool>,
    ended: mpsc::UnboundedSender<Ended>,
}

#[derive(Debug, Default)]
struct State {
    /// Files for tracks that have not arrived yet.
    wanted: HashMap<(Sid, TrackId), PathBuf>,
    /// A file is made with the first frame, and must not be taken by two.
    tapes: Vec<Weak<Tape>>,
    running: JoinSet<()>,
}

impl State {
    /// Whether a file is another recording's, or is going to be.
    fn is_taken(&self, path: &Path) -> bool {
        let runs = |tape: &Weak<Tape>| tape.upgrade().is_some_and(|tape| tape.path == path);
        self.tapes.iter().any(runs) || self.wanted.values().any(|other| other == path)
    }
}

impl Recordings {
    /// With a folder, everything that peers offer is recorded into it; it is made if it is not there.
    pub(crate) fn new(folder: Option<PathBuf>) -> io::Result<(Self, mpsc::UnboundedReceiver<Ended>)> {
        if let Some(folder) = &folder {
            fs::create_dir_all(folder)?;
        }
        let (ended, told) = mpsc::unbounded_channel();
        Ok((Self { folder, state: Mutex::default(), stop: watch::Sender::new(false), ended }, told))
    }

    /// Records a track that was requested, once it arrives.
    pub(crate) fn want(&self, client: &Client, sid: Sid, id: TrackId, path: PathBuf) {
        let arrived = client.peer_tracks().get(&sid).and_then(|tracks| tracks.get(&id)).cloned();
        match arrived {
            Some(track) => self.start(&track, sid, id, path),
            None => {
                self.state().wanted.insert((sid, id), path);
            }
        }
    }

    /// A track is not wanted any more.
    pub(crate) fn forget(&self, sid: &Sid, id: &TrackId) {
        self.state().wanted.remove(&(sid.clone(), id.clone()));
    }

    /// Sees to what an event means for recordings.
    pub(crate) fn handle(&self, client: &Client, event: &Event) {
        match event {
            Event::PeerTrackDefined { sid, definition } if self.folder.is_some() => {
                // Should the peer be gone already, there is nothing to record.
                let _ = client.request_peer_track(sid, &definition.id);
            }
            Event::PeerTrackIdentified { sid, id, track } => {
                let wanted = self.state().wanted.remove(&(sid.clone(), id.clone()));
                let all = || Some(self.unused(self.folder.as_deref()?, sid, track.kind()));
                if let Some(path) = wanted.or_else(all) {
                    self.start(track, sid.clone(), id.clone(), path);
                }
            }
            Event::ReassignPeerSid { old_sid, sid } => self.reassign(old_sid, sid),
            Event::PeerTrackDefinitionRemoved { sid, definition } => self.forget(sid, &definition.id),
            Event::DisconnectFromPeer { sid } => self.state().wanted.retain(|(of, _), _| of != sid),
            _ => {}
        }
    }

    /// Ends all recordings, and waits until their files are complete.
    pub(crate) async fn finish(&self) {
        self.stop.send_replace(true);
        let mut running = std::mem::take(&mut self.state().running);
        while running.join_next().await.is_some() {}
    }

    /// A name for a recording that has no file yet and is no other recording's. Matroska holds every codec of video.
    pub(crate) fn unused(&self, folder: &Path, sid: &Sid, kind: TrackKind) -> PathBuf {
        let who: String = sid.as_str().chars().filter(char::is_ascii_alphanumeric).take(8).collect();
        let extension = if kind == TrackKind::Audio { "ogg" } else { "mkv" };
        let time = chrono::Local::now().format("%Y%m%d-%H%M%S");
        let end = format!("{}.{extension}", kind.as_str());
        let state = self.state();
        let mut paths = (1..).map(|number: u64| match number {
            1 => folder.join(format!("{time}-{who}-{end}")),
            _ => folder.join(format!("{time}-{who}-{number}-{end}")),
        });
        let is_free = |path: &PathBuf| !path.exists() && !state.is_taken(path);
        paths.find(is_free).expect("there are more numbers than files")
    }

    fn start(&self, track: &RemoteTrack, sid: Sid, id: TrackId, path: PathBuf) {
        let mut state = self.state();
        while state.running.try_join_next().is_some() {}
        state.tapes.retain(|tape| tape.strong_count() > 0);
        if state.is_taken(&path) {
            return self.tell(Ended::Failed(format!("{} is being recorded to already", path.display())));
        }
        let recording = track.record(&path);
        let tape = Arc::new(Tape { sid: Mutex::new(sid), id, path });
        state.tapes.push(Arc::downgrade(&tape));
        state.running.spawn(watch(recording, tape, self.stop.subscribe(), self.ended.clone()));
    }

    /// A peer has another sid.
    fn reassign(&self, old: &Sid, sid: &Sid) {
        let mut state = self.state();
        let moved = |(key, path): ((Sid, TrackId), PathBuf)| match key {
            (of, id) if of == *old => ((sid.clone(), id), path),
            other => (other, path),
        };
        state.wanted = std::mem::take(&mut state.wanted).into_iter().map(moved).collect();
        for tape in state.tapes.iter().filter_map(Weak::upgrade) {
            let mut of = tape.sid();
            if *of == *old {
                *of = sid.clone();
            }
        }
    }

    fn tell(&self, ended: Ended) {
        // Nobody has to listen.
        let _ = self.ended.send(ended);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a recording ends, or all have to.
async fn watch(
    recording: Recording,
    tape: Arc<Tape>,
    mut stop: watch::Receiver<bool>,
    ended: mpsc::UnboundedSender<Ended>,
) {
    let mut look = interval(LOOK);
    while !recording.is_finished() {
        tokio::select! {
            _ = look.tick() => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    let shown = tape.path.display();
    let told = match recording.finish().await {
        Ok(recorded) => match recorded.path {
            Some(path) => Ended::Complete(Complete {
                sid: tape.sid().clone(),
                id: tape.id.clone(),
                path,
                frames: recorded.frames,
                duration: recorded.duration,
            }),
            None => Ended::Failed(format!("nothing came that could be recorded to {shown}")),
        },
        Err(error) => Ended::Failed(format!("{shown}: {error}")),
    };
    // Whoever is told may record to the same file again.
    drop(tape);
    // Nobody has to listen.
    let _ = ended.send(told);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_before_there_are_files() {
        let (recordings, _ended) = Recordings::new(None).unwrap();
        let (folder, sid) = (Path::new("/nowhere"), Sid::new("a/b").unwrap());
        for number in 0..3 {
            let path = recordings.unused(folder, &sid, TrackKind::Video);
            assert!(path.to_str().is_some_and(|path| path.ends_with("-video.mkv")), "{}", path.display());
            let id = TrackId::new(number.to_string()).unwrap();
            assert_eq!(recordings.state().wanted.insert((sid.clone(), id), path.clone()), None);
            assert_ne!(recordings.unused(folder, &sid, TrackKind::Video), path);
        }
    }
}
