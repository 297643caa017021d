//! `rtc-cafe send` and `rtc-cafe receive`: a file for whoever waits in the room.

pub(crate) mod files;
pub(crate) mod progress;
pub(crate) mod protocol;
pub(crate) mod receive;
pub(crate) mod send;
mod sending;

use std::{process::ExitCode, time::Duration};

/// Seconds that the other side, once lost, may take to come back.
pub(crate) const DEFAULT_PATIENCE: u64 = 15;

/// How it ends when it does not end well; each has an exit code of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody came in time.
    #[error("nobody came within {0:?}")]
    Nobody(Duration),
    /// The other side went away, or could not go on.
    #[error("{0}")]
    Left(String),
    /// What arrived is not what was sent.
    #[error("{0}")]
    Mismatch(String),
    /// The other side, or the user, does not want it.
    #[error("the file was declined")]
    Declined,
    /// The user stopped it.
    #[error("stopped before the file was there")]
    Stopped,
}

impl Failure {
    /// What the program exits with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Nobody(_) => 3,
            Self::Left(_) => 4,
            Self::Mismatch(_) => 5,
            Self::Declined => 6,
            Self::Stopped => 130,
        })
    }
}
