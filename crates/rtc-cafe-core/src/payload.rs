//! The text of a message, which is there once for all whom it is kept for.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The JSON of a message. A clone is the same text in the same place.
#[derive(Clone)]
pub struct Payload(Arc<Text>);

struct Text {
    text: String,
    kept: Option<Kept>,
}

/// Bytes of the messages that a client keeps, each counted once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Arc<AtomicUsize>);

impl Kept {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A message that counts for as long as somebody has it.
    pub(crate) fn payload(&self, text: &str) -> Payload {
        self.0.fetch_add(text.len(), Ordering::Relaxed);
        Payload(Arc::new(Text { text: text.to_owned(), kept: Some(self.clone()) }))
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        if let Some(Kept(bytes)) = &self.kept {
            bytes.fetch_sub(self.text.len(), Ordering::Relaxed);
        }
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self(Arc::new(Text { text, kept: None }))
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl Deref for Payload {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0.text
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
