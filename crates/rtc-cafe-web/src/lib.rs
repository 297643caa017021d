//! The RTCCafe client core in WebAssembly: what goes in and out of it, as strings, numbers and small arrays.
//!
//! Nothing here calls into JavaScript except to make the values that it returns: TypeScript calls in, and then takes
//! what is to be done with `poll`. `packages/rtc-cafe-client/src/core.ts` gives the types of what `poll` returns.

mod media;
mod output;
mod report;

use rtc_cafe_core::{
    Client, Config, ConnectionEvent, ConnectionId, ConnectionState, JoinError, Recipients, RoomId, SendError, Session,
    Sid, SignallerState, Time,
    wire::{
        json::{self, Value},
        signal::{IceCandidate, ServerSignal, SignalError},
    },
};
use wasm_bindgen::prelude::*;

/// Two thirds smaller than the default one.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();

/// Bytes in a data channel above which no more is handed to it. Browsers give a UDP socket no larger buffer than the
/// system's default, on Linux 208 KiB, bursts overflow it, and Chromium takes seconds to recover what is lost.
const HIGH_WATER: usize = 256 << 10;
/// Bytes in a data channel below which it is filled again.
const LOW_WATER: usize = 64 << 10;

/// Answers that are made ready: there is one for everybody in a small room.
const READY: usize = 8;

/// The client: `rtc_cafe_core::Client`.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Core(Client);

#[wasm_bindgen]
impl Core {
    /// A client that has joined nothing. The seed is 32 unpredictable bytes; handshakes may go over peers, or not.
    #[wasm_bindgen(constructor)]
    pub fn new(seed: &[u8], handshake_over_peers: bool) -> Self {
        let mut bytes = [0; 32];
        for (byte, &given) in bytes.iter_mut().zip(seed) {
            *byte = given;
        }
        let mut config = Config::default();
        config.handshake_over_peers = handshake_over_peers;
        config.ready = READY;
        (config.limits.high_water, config.limits.low_water) = (HIGH_WATER, LOW_WATER);
        Self(Client::new(config, bytes))
    }

    /// Joins the room with this id in JSON. Throws `[code, message]`.
    #[wasm_bindgen(js_name = joinRoom)]
    pub fn join_room(&mut self, now: f64, room: &str) -> Result<(), JsValue> {
        self.0.join_room(time(now), room_id(room)?).map_err(|error| {
            let code = match error {
                JoinError::TooManyRooms(_) => "TOO_MANY_ROOMS",
                _ => "CLOSED",
            };
            failure(code, &error.message())
        })
    }

    /// Leaves the room with this id in JSON; false if it was not joined. Throws `[code, message]`.
    #[wasm_bindgen(js_name = leaveRoom)]
    pub fn leave_room(&mut self, now: f64, room: &str) -> Result<bool, JsValue> {
        Ok(self.0.leave_room(time(now), &room_id(room)?))
    }

    /// Sends a message in JSON to these peers, an array in JSON, or to all. Throws `[code, message]`.
    #[wasm_bindgen(js_name = sendMessage)]
    pub fn send_message(&mut self, now: f64, payload: &str, sids: Option<String>) -> Result<(), JsValue> {
        let recipients = match sids {
            None => Recipients::All,
            Some(sids) => {
                let mut recipients = Vec::new();
                for sid in json::array(&sids).unwrap_or_default() {
                    recipients.push(recipient(sid.as_string().unwrap_or_default().into_owned())?);
                }
                Recipients::Only(recipients)
            }
        };
        self.0.send_message(time(now), payload, recipients).map_err(|error| {
            let code = match error {
                SendError::TooLong { .. } => "MESSAGE_TOO_LONG",
                SendError::QueueFull(_) => "QUEUE_FULL",
                _ => "NOT_CONNECTED",
            };
            failure(code, &error.message())
        })
    }

    /// Closes every connection for good.
    pub fn close(&mut self, now: f64) {
        self.0.close(time(now));
    }

    /// The connection to the signalling server has this state.
    #[wasm_bindgen(js_name = handleSignallerState)]
    pub fn handle_signaller_state(&mut self, now: f64, state: &str) {
        self.0.handle_signaller_state(time(now), signaller_state(state));
    }

    /// There is a new connection to the signalling server, and what is said now goes with the question for the namespace.
    #[wasm_bindgen(js_name = handleSignallerOpened)]
    pub fn handle_signaller_opened(&mut self, now: f64) {
        self.0.handle_signaller_opened(time(now));
    }

    /// A signal has arrived, with its payload in JSON. Throws `[code, message]` if it is not what it should be.
    #[wasm_bindgen(js_name = handleSignal)]
    pub fn handle_signal(&mut self, now: f64, name: &str, payload: &str) -> Result<(), JsValue> {
        match ServerSignal::decode(name, payload) {
            Ok(signal) => self.0.handle_signal(time(now), signal),
            Err(SignalError::Unknown) => {}
            Err(error) => {
                return Err(failure("PROTOCOL", &json::concat(&["signal \"", name, "\": ", &error.message()])));
            }
        }
        Ok(())
    }

    /// Something happened to a peer connection; the detail is an answer, a candidate in JSON, a reason, a state,
    /// a `mid` or a frame.
    #[wasm_bindgen(js_name = handleConnection)]
    pub fn handle_connection(&mut self, now: f64, id: u32, event: &str, detail: Option<String>) {
        if let Some(event) = connection_event(event, detail) {
            self.0.handle_connection(time(now), ConnectionId(id), event);
        }
    }

    /// The data channel of a connection holds so many bytes.
    #[wasm_bindgen(js_name = handleBuffered)]
    pub fn handle_buffered(&mut self, now: f64, id: u32, bytes: u32) {
        self.0.handle_connection(time(now), ConnectionId(id), ConnectionEvent::ChannelBuffered(bytes as usize));
    }

    /// The network may be another one.
    #[wasm_bindgen(js_name = handleNetworkChange)]
    pub fn handle_network_change(&mut self, now: f64) {
        self.0.handle_network_change(time(now));
    }

    /// Connections are configured differently from now on.
    #[wasm_bindgen(js_name = handleConfigurationChange)]
    pub fn handle_configuration_change(&mut self, now: f64) {
        self.0.handle_configuration_change(time(now));
    }

    /// The page may have slept.
    #[wasm_bindgen(js_name = handleWake)]
    pub fn handle_wake(&mut self, now: f64) {
        self.0.handle_wake(time(now));
    }

    /// The time that `pollTimeout` named has come.
    #[wasm_bindgen(js_name = handleTimeout)]
    pub fn handle_timeout(&mut self, now: f64) {
        self.0.handle_timeout(time(now));
    }

    /// What to do next; to be called until there is nothing.
    pub fn poll(&mut self) -> Option<Vec<JsValue>> {
        self.0.poll().map(output::client)
    }

    /// When to call `handleTimeout`.
    #[wasm_bindgen(js_name = pollTimeout)]
    pub fn poll_timeout(&self) -> Option<f64> {
        self.0.poll_timeout().map(|time| time.as_millis() as f64)
    }

    /// The session's id.
    #[wasm_bindgen(getter)]
    pub fn sid(&self) -> Option<String> {
        self.0.sid().map(text)
    }

    /// The client's permanent id.
    #[wasm_bindgen(getter, js_name = permanentId)]
    pub fn permanent_id(&self) -> String {
        self.0.permanent_id().as_str().to_owned()
    }

    /// The peers that are connected.
    #[wasm_bindgen(js_name = connectedPeers)]
    pub fn connected_peers(&self) -> Vec<String> {
        self.0.connected_peers().map(text).collect()
    }

    /// The peers that are there.
    #[wasm_bindgen(js_name = discoveredPeers)]
    pub fn discovered_peers(&self) -> Vec<String> {
        self.0.discovered_peers().map(text).collect()
    }

    /// Below how many bytes in a data channel its connection reports `handleBuffered`.
    #[wasm_bindgen(js_name = lowWater)]
    pub fn low_water() -> u32 {
        LOW_WATER as u32
    }
}

/// The connection to the signalling server: `rtc_cafe_core::Session`.
#[wasm_bindgen(js_name = Session)]
#[derive(Debug)]
pub struct SignallerSession(Session);

#[wasm_bindgen(js_class = Session)]
impl SignallerSession {
    /// A session that has not begun. Throws `[code, message]` where there is no such version.
    #[wasm_bindgen(constructor)]
    pub fn new(api_version: &str) -> Result<Self, JsValue> {
        match api_version.parse() {
            Ok(version) => Ok(Self(Session::new(version))),
            Err(error) => Err(failure("UNKNOWN_API_VERSION", error.message())),
        }
    }

    /// The transport has connected, and is about to ask for the namespace.
    #[wasm_bindgen(js_name = handleOpened)]
    pub fn handle_opened(&mut self) {
        self.0.handle_opened();
    }

    /// The transport has connected, and is in the namespace.
    #[wasm_bindgen(js_name = handleConnected)]
    pub fn handle_connected(&mut self) {
        self.0.handle_connected();
    }

    /// The transport has lost its connection.
    #[wasm_bindgen(js_name = handleDisconnected)]
    pub fn handle_disconnected(&mut self) {
        self.0.handle_disconnected();
    }

    /// A signal has arrived, with its payload in JSON. One that cannot be read is passed over.
    #[wasm_bindgen(js_name = handleSignal)]
    pub fn handle_signal(&mut self, name: &str, payload: &str) {
        if let Ok(signal) = ServerSignal::decode(name, payload) {
            self.0.handle_signal(&signal);
        }
    }

    /// The application disconnects for good.
    pub fn close(&mut self) {
        self.0.close();
    }

    /// What to do next; to be called until there is nothing.
    pub fn poll(&mut self) -> Option<Vec<JsValue>> {
        self.0.poll().map(output::session)
    }

    /// The session's id.
    #[wasm_bindgen(getter)]
    pub fn sid(&self) -> Option<String> {
        self.0.sid().map(text)
    }

    /// The version agreed on; until then the one asked for.
    #[wasm_bindgen(getter, js_name = apiVersion)]
    pub fn api_version(&self) -> String {
        self.0.api_version().as_str().to_owned()
    }

    /// The namespace to connect to.
    #[wasm_bindgen(getter)]
    pub fn namespace(&self) -> String {
        self.0.offered_version().namespace().to_owned()
    }

    /// The state of the connection.
    #[wasm_bindgen(getter)]
    pub fn state(&self) -> String {
        self.0.state().as_str().to_owned()
    }
}

fn failure(code: &str, message: &str) -> JsValue {
    JsValue::from(vec![JsValue::from_str(code), JsValue::from_str(message)])
}

fn room_id(json: &str) -> Result<RoomId, JsValue> {
    let room = Value::parse(json).map_err(|error| failure("INVALID_ROOM", &error.message()))?;
    RoomId::from_json(room).map_err(|error| failure("INVALID_ROOM", &error.message()))
}

fn recipient(sid: String) -> Result<Sid, JsValue> {
    Sid::new(sid).ok_or_else(|| failure("NOT_CONNECTED", "a sid is a text that is neither empty nor very long"))
}

fn text(sid: &Sid) -> String {
    sid.as_str().to_owned()
}

/// Milliseconds, rounded down.
fn time(now: f64) -> Time {
    Time::from_millis(now as u64)
}

fn signaller_state(name: &str) -> SignallerState {
    match name {
        "connected" => SignallerState::Connected,
        "reconnecting" => SignallerState::Reconnecting,
        "closed" => SignallerState::Closed,
        _ => SignallerState::Setup,
    }
}

fn connection_event(event: &str, detail: Option<String>) -> Option<ConnectionEvent> {
    let candidate = |json: String| Value::parse(&json).ok().and_then(IceCandidate::from_json);
    Some(match (event, detail) {
        ("answerCreated", Some(sdp)) => ConnectionEvent::AnswerCreated(sdp),
        ("answerForetold", Some(sdp)) => ConnectionEvent::AnswerForetold(sdp),
        ("failed", Some(reason)) => ConnectionEvent::Failed(reason),
        ("candidateFound", Some(json)) => ConnectionEvent::CandidateFound(Some(candidate(json)?)),
        ("candidateFound", None) => ConnectionEvent::CandidateFound(None),
        ("stateChanged", Some(state)) => ConnectionEvent::StateChanged(match state.as_str() {
            "connecting" => ConnectionState::Connecting,
            "connected" => ConnectionState::Connected,
            "disconnected" => ConnectionState::Disconnected,
            "failed" => ConnectionState::Failed,
            "closed" => ConnectionState::Closed,
            _ => ConnectionState::New,
        }),
        ("trackAdded", Some(mid)) => ConnectionEvent::TrackAdded(mid),
        ("channelOpen", None) => ConnectionEvent::ChannelOpen,
        ("channelMessage", Some(frame)) => ConnectionEvent::ChannelMessage(frame),
        ("channelClosed", None) => ConnectionEvent::ChannelClosed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rtc_cafe_core::{ApiVersion, ErrorCode};

    const SIGNALLER: &str = include_str!("../../../packages/rtc-cafe-client/src/signaller.ts");
    const ERRORS: &str = include_str!("../../../packages/rtc-cafe-client/src/errors.ts");

    #[test]
    fn typescript_knows_the_versions() {
        let versions = ApiVersion::ALL.map(|version| format!("'{version}'")).join(" | ");
        assert!(SIGNALLER.contains(&format!("export type ApiVersion = {versions};")));
        assert!(SIGNALLER.contains(&format!("LATEST_API_VERSION = '{}'", ApiVersion::LATEST)));
    }

    #[test]
    fn typescript_knows_the_codes() {
        let events = [ErrorCode::Signal, ErrorCode::Protocol, ErrorCode::ConnectFailed];
        let thrown = concat!(include_str!("lib.rs"), include_str!("media.rs"))
            .split('"')
            .filter(|text| text.len() > 5 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
        for code in events.map(ErrorCode::as_str).into_iter().chain(thrown) {
            assert!(ERRORS.contains(&format!("| '{code}'")), "{code}");
        }
    }
}
