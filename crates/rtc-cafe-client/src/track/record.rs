//! Records a peer's track to a file.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{runtime::Handle, sync::oneshot};

use super::{Frames, RemoteTrack};
use crate::media::{Codec, RecordError, Recorder};

/// A recording under way, made by [`RemoteTrack::record`]. It ends by itself when the track does; dropping it ends it at
/// once, in the background. Either way the file is complete then.
#[derive(Debug)]
#[must_use = "dropping a recording ends it"]
pub struct Recording {
    stop: Option<oneshot::Sender<()>>,
    finished: Arc<AtomicBool>,
    result: oneshot::Receiver<Result<Recorded, RecordError>>,
}

/// What was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// The file; `None` if nothing came, and none was made.
    pub path: Option<PathBuf>,
    /// How many frames were written.
    pub frames: u64,
    /// How long the file plays.
    pub duration: Duration,
}

impl Recording {
    pub(super) fn start(track: RemoteTrack, path: PathBuf) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (done, result) = oneshot::channel();
        let finished = Arc::new(AtomicBool::new(false));
        let (frames, runtime, flag) = (track.frames(), Handle::current(), finished.clone());
        // Writing files blocks, so it has a thread of its own.
        let thread = thread::Builder::new().name("rtc-cafe-record".to_owned()).spawn(move || {
            let recorded = runtime.block_on(tape(frames, path, stopped));
            flag.store(true, Ordering::Relaxed);
            let _ = done.send(recorded);
        });
        if let Err(error) = thread {
            tracing::error!(%error, "no thread to record on");
            finished.store(true, Ordering::Relaxed);
        }
        Self { stop: Some(stop), finished, result }
    }

    /// Whether the track has ended, or the file cannot be written any more.
    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }

    /// Ends the recording and completes the file.
    ///
    /// Cancel safe: the file is completed all the same.
    ///
    /// # Errors
    /// When the file could not be made or written, or cannot hold what came.
    pub async fn finish(mut self) -> Result<Recorded, RecordError> {
        self.stop.take();
        self.wait().await
    }

    /// Waits until the track ends. Not cancel safe: when the future is dropped, the recording ends, and the file is complete.
    ///
    /// # Errors
    /// As [`Recording::finish`].
    pub async fn finished(mut self) -> Result<Recorded, RecordError> {
        let recorded = self.wait().await;
        self.stop.take();
        recorded
    }

    async fn wait(&mut self) -> Result<Recorded, RecordError> {
        let gone = |_| Err(std::io::Error::other("the recording's thread is gone").into());
        (&mut self.result).await.unwrap_or_else(gone)
    }
}

/// Writes frames until they end, or the recording is stopped. The file is made with the first one, because only that
/// tells what it has to hold.
async fn tape(mut frames: Frames, path: PathBuf, mut stopped: oneshot::Receiver<()>) -> Result<Recorded, RecordError> {
    let mut tape: Option<(Codec, Recorder)> = None;
    let mut stopping = false;
    loop {
        let frame = tokio::select! {
            biased;
            _ = &mut stopped, if !stopping => {
                stopping = true;
                frames.end();
                continue;
            }
            frame = frames.recv() => frame,
        };
        let Some((codec, frame)) = frame else { break };
        let (first, recorder) = match &mut tape {
            Some(tape) => tape,
            None => tape.insert((codec, Recorder::create(&path, codec)?)),
        };
        // A file holds one codec.
        if *first == codec {
            recorder.write(&frame)?;
        }
    }
    let Some((_, recorder)) = tape else {
        return Ok(Recorded { path: None, frames: 0, duration: Duration::ZERO });
    };
    let (frames, duration) = (recorder.frames(), recorder.duration());
    recorder.finish()?;
    Ok(Recorded { path: Some(path), frames, duration })
}
