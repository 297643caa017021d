//! Versions of the signalling API.

use std::{fmt, str::FromStr};

/// A version of the signalling API, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ApiVersion {
    /// `"0.0"`: root namespace; the server pushes the sid when a client connects.
    V0_0,
    /// `"0.1"`: namespace `/rtc-cafe`, the sid comes on `request-sid`.
    V0_1,
    /// `"0.2"`: adds the `error` signal.
    V0_2,
    /// `"1.0"`: version agreed on in `request-sid`, stamped senders, ICE servers from the server.
    V1_0,
}

impl ApiVersion {
    /// The newest version.
    pub const LATEST: Self = Self::V1_0;
    /// Every version, oldest first.
    pub const ALL: [Self; 4] = [Self::V0_0, Self::V0_1, Self::V0_2, Self::V1_0];

    /// The version as it is written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_0 => "0.0",
            Self::V0_1 => "0.1",
            Self::V0_2 => "0.2",
            Self::V1_0 => "1.0",
        }
    }

    /// The Socket.IO namespace in which this version is spoken.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::V0_0 => "/",
            _ => "/rtc-cafe",
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is none of the versions in [`ApiVersion::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct UnknownApiVersion;

impl UnknownApiVersion {
    /// What `Display` shows.
    pub const fn message(self) -> &'static str {
        "unknown API version; the versions are \"0.0\", \"0.1\", \"0.2\" and \"1.0\""
    }
}

impl FromStr for ApiVersion {
    type Err = UnknownApiVersion;

    fn from_str(text: &str) -> Result<Self, UnknownApiVersion> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or(UnknownApiVersion)
    }
}
