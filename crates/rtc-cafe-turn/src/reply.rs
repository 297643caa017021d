//! Answers to requests.

use std::net::SocketAddr;

use turn_types::stun::{
    attribute::{ErrorCode, Nonce, Realm, Software, UnknownAttributes, XorMappedAddress},
    message::{Message, MessageWrite, MessageWriteExt, MessageWriteVec},
    prelude::AttributeWrite,
};

use crate::auth::Identity;

const SOFTWARE: &str = "rtc-cafe";

/// An answer that is being written. What does not fit is left out, which cannot be as long as names are short.
pub(crate) struct Reply(MessageWriteVec);

impl Reply {
    pub(crate) fn success(request: &Message<'_>) -> Self {
        Self(Message::builder_success(request, MessageWriteVec::new()))
    }

    pub(crate) fn error(request: &Message<'_>, code: u16) -> Self {
        let mut reply = Self(Message::builder_error(request, MessageWriteVec::new()));
        if let Ok(error) = ErrorCode::builder(code).build() {
            reply = reply.with(&error);
        }
        reply
    }

    /// 420, with what is not known.
    pub(crate) fn unknown(request: &Message<'_>, unknown: &[turn_types::stun::attribute::AttributeType]) -> Self {
        Self::error(request, ErrorCode::UNKNOWN_ATTRIBUTE).with(&UnknownAttributes::new(unknown))
    }

    pub(crate) fn with(mut self, attribute: &dyn AttributeWrite) -> Self {
        let _ = self.0.add_attribute(attribute);
        self
    }

    /// Where the request came from.
    pub(crate) fn with_mapped(self, request: &Message<'_>, client: SocketAddr) -> Self {
        self.with(&XorMappedAddress::new(client, request.transaction_id()))
    }

    /// Asks for credentials, or for a new nonce.
    pub(crate) fn with_challenge(mut self, realm: &str, nonce: &str) -> Self {
        if let (Ok(realm), Ok(nonce)) = (Realm::new(realm), Nonce::new(nonce)) {
            self = self.with(&realm).with(&nonce);
        }
        self
    }

    /// Ends it, signed if it is for somebody who is known.
    pub(crate) fn finish(self, identity: Option<&Identity>) -> Vec<u8> {
        let mut reply = self;
        // Whoever is not known may be somebody else, who did not ask: short answers amplify little.
        if let Some(identity) = identity {
            if let Ok(software) = Software::new(SOFTWARE) {
                reply = reply.with(&software);
            }
            let _ = reply.0.add_message_integrity(identity.credentials(), identity.algorithm);
        }
        let _ = reply.0.add_fingerprint();
        reply.0.finish()
    }
}
