//! What senders and receivers of files say to each other; `docs/file-transfer.md` is the specification.

use base64::{Engine, prelude::BASE64_STANDARD};
use indicatif::DecimalBytes;
use serde::{Deserialize, Serialize};

use crate::text::clean_line;

/// Bytes of a file in one part, so that a part fits into one frame of the data channel.
pub(crate) const PART: usize = 36_000;
/// Bytes that a sender may be ahead of what the receiver has acknowledged.
pub(crate) const WINDOW: u64 = 8 << 20;
/// Bytes after which a receiver acknowledges, at the latest.
pub(crate) const ACKNOWLEDGE: u64 = 512 << 10;
/// Longest name of a file that is shown, in characters.
const MAX_SHOWN: usize = 80;
/// Longest reason that is shown, in characters.
pub(crate) const MAX_REASON: usize = 200;
/// Longest id of a transfer, in bytes.
const MAX_ID: usize = 64;
/// Sizes are numbers of JavaScript.
const MAX_SIZE: u64 = (1 << 53) - 1;

/// A file that can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    /// Which transfer all other messages are about; chosen by the sender.
    pub(crate) id: String,
    /// The file's name, which the receiver has to make safe.
    pub(crate) name: String,
    /// Its length, in bytes.
    pub(crate) size: u64,
    /// Its SHA-256, in lower-case hexadecimal digits.
    pub(crate) sha256: String,
}

impl Offer {
    /// Whether it says what an offer must say.
    pub(crate) fn is_valid(&self) -> bool {
        let is_hash = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (1..=MAX_ID).contains(&self.id.len())
            && self.size <= MAX_SIZE
            && self.sha256.len() == 64
            && self.sha256.bytes().all(is_hash)
    }

    /// Name and size, safe to show.
    pub(crate) fn describe(&self) -> String {
        let name = clean_line(&self.name, MAX_SHOWN);
        format!("{} ({})", if name.is_empty() { "a file" } else { &name }, DecimalBytes(self.size))
    }
}

/// Everything that is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum FileMessage {
    /// Sender: a file can be had.
    #[serde(rename = "file-offer")]
    Offer(Offer),
    /// Receiver: wait, the user is being asked.
    #[serde(rename = "file-wait")]
    Wait {
        /// The transfer.
        id: String,
    },
    /// Receiver: send it, from here on.
    #[serde(rename = "file-accept")]
    Accept {
        /// The transfer.
        id: String,
        /// How much of the file there is already.
        offset: u64,
    },
    /// Receiver: no, thanks.
    #[serde(rename = "file-decline")]
    Decline {
        /// The transfer.
        id: String,
    },
    /// Sender: a part of the file. They come in order and without gaps.
    #[serde(rename = "file-part")]
    Part {
        /// The transfer.
        id: String,
        /// Where the part begins.
        offset: u64,
        /// The part, in base64.
        data: String,
    },
    /// Receiver: everything up to here is written.
    #[serde(rename = "file-ack")]
    Ack {
        /// The transfer.
        id: String,
        /// Where the next part begins.
        offset: u64,
    },
    /// Receiver: the file is there, and its hash is right.
    #[serde(rename = "file-done")]
    Done {
        /// The transfer.
        id: String,
    },
    /// Either: it cannot go on.
    #[serde(rename = "file-failed")]
    Failed {
        /// The transfer.
        id: String,
        /// Why, in a sentence.
        reason: String,
    },
}

impl FileMessage {
    /// A part of a file.
    pub(crate) fn part(id: &str, offset: u64, data: &[u8]) -> Self {
        Self::Part { id: id.to_owned(), offset, data: BASE64_STANDARD.encode(data) }
    }

    /// Reads what a peer sent; `None` if it is about something else.
    pub(crate) fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok().filter(|message| !matches!(message, Self::Offer(offer) if !offer.is_valid()))
    }
}

/// Reads the bytes of a part.
pub(crate) fn decode(data: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(data).ok()
}

#[cfg(test)]
mod tests {
    use rtc_cafe_wire::limits::MAX_PART;

    use super::*;

    fn offer() -> Offer {
        Offer { id: "1".into(), name: "a\u{1b}[2J.txt".into(), size: 1_500_000, sha256: "0a".repeat(32) }
    }

    #[test]
    fn messages_are_what_the_specification_says() {
        let offer = offer();
        let json = format!(
            r#"{{"kind":"file-offer","id":"1","name":"a\u001b[2J.txt","size":1500000,"sha256":"{}"}}"#,
            offer.sha256
        );
        assert_eq!(serde_json::to_string(&FileMessage::Offer(offer.clone())).unwrap(), json);
        assert_eq!(FileMessage::read(&json), Some(FileMessage::Offer(offer.clone())));
        assert_eq!(offer.describe(), "a[2J.txt (1.50 MB)");
        let accept = FileMessage::Accept { id: "1".into(), offset: 7 };
        assert_eq!(FileMessage::read(r#"{"kind":"file-accept","id":"1","offset":7}"#), Some(accept));
        assert_eq!(FileMessage::read(r#"{"kind":"chat","text":"hi"}"#), None);
        assert_eq!(FileMessage::read(r#"{"kind":"file-accept","id":"1","offset":-7}"#), None);
    }

    #[test]
    fn bad_offers_are_none() {
        let good = offer();
        for bad in [
            Offer { id: String::new(), ..good.clone() },
            Offer { size: 1 << 53, ..good.clone() },
            Offer { sha256: "0A".repeat(32), ..good.clone() },
            Offer { sha256: "0a".repeat(31), ..good.clone() },
        ] {
            assert!(!bad.is_valid(), "{bad:?}");
        }
        assert!(good.is_valid());
    }

    #[test]
    fn a_part_fits_into_one_frame() {
        let part = FileMessage::part(&"f".repeat(16), u64::MAX, &[0; PART]);
        assert!(serde_json::to_string(&part).unwrap().len() <= MAX_PART);
    }
}
