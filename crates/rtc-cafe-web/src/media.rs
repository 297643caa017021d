//! Media tracks: the part of [`Core`] that is about them.

use rtc_cafe_core::{
    AddTrackError, ConnectionEvent, ConnectionId, RequestTrackError, Sid, TrackId, TrackKind,
    wire::{json::Value, peer},
};
use wasm_bindgen::prelude::*;

use crate::{Core, failure, recipient, time};

#[wasm_bindgen]
impl Core {
    /// Offers a track to all peers, with a description in JSON. Throws `[code, message]`.
    #[wasm_bindgen(js_name = addTrack)]
    pub fn add_track(&mut self, id: String, kind: &str, description: &str) -> Result<(), JsValue> {
        let (Some(id), Some(kind)) = (TrackId::new(id), TrackKind::parse(kind)) else {
            return Err(failure("INVALID_TRACK", "a track needs an id that is not very long, and a known kind"));
        };
        self.0.add_track(id, kind, description).map_err(|error| {
            let code = match error {
                AddTrackError::TooMany => "TOO_MANY_TRACKS",
                _ => "INVALID_DESCRIPTION",
            };
            failure(code, &error.message())
        })
    }

    /// Takes a track back from all peers; false if there is none with this id.
    #[wasm_bindgen(js_name = removeTrack)]
    pub fn remove_track(&mut self, id: String) -> bool {
        TrackId::new(id).is_some_and(|id| self.0.remove_track(&id))
    }

    /// Asks a peer for one of its tracks. Throws `[code, message]`.
    #[wasm_bindgen(js_name = requestPeerTrack)]
    pub fn request_peer_track(&mut self, sid: String, id: String) -> Result<(), JsValue> {
        let sid = recipient(sid)?;
        let id = TrackId::new(id).ok_or_else(|| failure("UNKNOWN_TRACK", "no track has such an id"))?;
        self.0.request_peer_track(&sid, &id).map_err(|error| {
            let code = match error {
                RequestTrackError::UnknownTrack(_) => "UNKNOWN_TRACK",
                _ => "NOT_CONNECTED",
            };
            failure(code, &error.message())
        })
    }

    /// Gives up a peer's track; false if it was not requested.
    #[wasm_bindgen(js_name = removePeerTrack)]
    pub fn remove_peer_track(&mut self, sid: String, id: String) -> bool {
        Sid::new(sid).zip(TrackId::new(id)).is_some_and(|(sid, id)| self.0.remove_peer_track(&sid, &id))
    }

    /// The connection to a peer.
    #[wasm_bindgen(js_name = connectionOf)]
    pub fn connection_of(&self, sid: String) -> Option<u32> {
        self.0.connection_of(&Sid::new(sid)?).map(|id| id.0)
    }

    /// The local description of a connection is this offer; which `mid` sends which track is an object in JSON.
    #[wasm_bindgen(js_name = handleOffer)]
    pub fn handle_offer(&mut self, now: f64, id: u32, sdp: String, mids: &str) {
        let mids = Value::parse(mids).ok().and_then(peer::mids).unwrap_or_default();
        self.0.handle_connection(time(now), ConnectionId(id), ConnectionEvent::OfferCreated { sdp, mids });
    }
}
