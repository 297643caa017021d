//! The connection to the signalling server: its state, the session's id and the version that both sides speak.

use rtc_cafe_wire::{
    ApiVersion, Sid,
    signal::{ClientSignal, ServerSignal},
};

use crate::{event::SignallerState, queue::Queue};

/// What the driver of a [`Session`] has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOutput {
    /// Send this to the signalling server, before anything else on this connection.
    Signal(ClientSignal),
    /// The client may already say what it has to say to a new connection:
    /// [`Client::handle_signaller_opened`](crate::Client::handle_signaller_opened).
    Opened,
    /// Tell whoever listens.
    StateChanged(SignallerState),
}

/// The signalling connection as a state machine: `handle_*` in, `poll` out.
///
/// Its driver connects to the namespace of [`Session::offered_version`], and connects again after a loss.
#[derive(Debug)]
pub struct Session {
    offered: ApiVersion,
    agreed: Option<ApiVersion>,
    sid: Option<Sid>,
    state: SignallerState,
    /// The sid of this connection is asked for.
    asked: bool,
    outputs: Queue<SessionOutput>,
}

impl Session {
    /// A session that has not begun, for a client that speaks versions up to this one.
    pub fn new(api_version: ApiVersion) -> Self {
        let (state, outputs) = (SignallerState::Setup, Queue::default());
        Self { offered: api_version, agreed: None, sid: None, state, asked: false, outputs }
    }

    /// The transport has connected and asks for the namespace. Optional: what is to be sent first need then not wait for
    /// the answer, but goes right behind the question.
    pub fn handle_opened(&mut self) {
        if matches!(self.state, SignallerState::Setup | SignallerState::Reconnecting) {
            // What was asked on a connection that did not get as far is lost with it.
            self.asked = false;
            self.ask();
            self.outputs.push(SessionOutput::Opened);
        }
    }

    /// The transport has connected and is in the namespace.
    pub fn handle_connected(&mut self) {
        if !matches!(self.state, SignallerState::Setup | SignallerState::Reconnecting) {
            return;
        }
        self.ask();
        self.change(SignallerState::Connected);
    }

    /// The transport has lost its connection, or failed to make one, and is about to make another.
    pub fn handle_disconnected(&mut self) {
        self.asked = false;
        if self.state == SignallerState::Connected {
            self.change(SignallerState::Reconnecting);
        }
    }

    /// A signal has arrived; the session looks at `sid` only.
    pub fn handle_signal(&mut self, signal: &ServerSignal) {
        if let ServerSignal::Sid { sid, api_version, .. } = signal {
            self.sid = Some(sid.clone());
            // The original server names no version: it speaks 0.2 at most.
            let server = api_version.unwrap_or(ApiVersion::V0_2);
            self.agreed = Some(server.min(self.offered));
        }
    }

    /// The application disconnects for good.
    pub fn close(&mut self) {
        if self.state != SignallerState::Closed {
            self.change(SignallerState::Closed);
        }
    }

    /// What to do next; to be called until it returns `None`.
    pub fn poll(&mut self) -> Option<SessionOutput> {
        self.outputs.pop()
    }

    /// The state of the connection.
    pub const fn state(&self) -> SignallerState {
        self.state
    }

    /// The id of this session, or of the last one while there is no connection.
    pub const fn sid(&self) -> Option<&Sid> {
        self.sid.as_ref()
    }

    /// The version that the client asked for; it decides the namespace.
    pub const fn offered_version(&self) -> ApiVersion {
        self.offered
    }

    /// The version agreed on; until then the one asked for.
    pub fn api_version(&self) -> ApiVersion {
        self.agreed.unwrap_or(self.offered)
    }

    fn ask(&mut self) {
        if self.offered > ApiVersion::V0_0 && !self.asked {
            self.asked = true;
            self.outputs.push(SessionOutput::Signal(ClientSignal::RequestSid { api_version: self.offered }));
        }
    }

    fn change(&mut self, state: SignallerState) {
        self.state = state;
        self.outputs.push(SessionOutput::StateChanged(state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(session: &mut Session) -> Vec<SessionOutput> {
        std::iter::from_fn(|| session.poll()).collect()
    }

    fn sid(payload: &str) -> ServerSignal {
        ServerSignal::decode("sid", payload).unwrap()
    }

    #[test]
    fn asks_for_the_sid_on_every_connection() {
        let mut session = Session::new(ApiVersion::LATEST);
        for state in [SignallerState::Reconnecting, SignallerState::Closed] {
            session.handle_connected();
            let ask = SessionOutput::Signal(ClientSignal::RequestSid { api_version: ApiVersion::V1_0 });
            assert_eq!(outputs(&mut session), [ask, SessionOutput::StateChanged(SignallerState::Connected)]);
            if state == SignallerState::Closed {
                session.close()
            } else {
                session.handle_disconnected()
            }
            assert_eq!(outputs(&mut session), [SessionOutput::StateChanged(state)]);
        }
        session.handle_connected();
        session.handle_disconnected();
        assert_eq!(outputs(&mut session), [], "closed is for good");
    }

    #[test]
    fn asks_once_where_the_driver_is_ahead() {
        let mut session = Session::new(ApiVersion::LATEST);
        let ask = SessionOutput::Signal(ClientSignal::RequestSid { api_version: ApiVersion::V1_0 });
        for told in [true, false] {
            session.handle_opened();
            assert_eq!(outputs(&mut session), [ask.clone(), SessionOutput::Opened]);
            assert_eq!(session.state(), SignallerState::Setup);
            // Where the namespace is refused, not every driver hears of an end.
            if told {
                session.handle_disconnected();
            }
            assert_eq!(outputs(&mut session), []);
        }
        session.handle_opened();
        session.handle_connected();
        let connected = SessionOutput::StateChanged(SignallerState::Connected);
        assert_eq!(outputs(&mut session), [ask, SessionOutput::Opened, connected]);
    }

    #[test]
    fn falls_back_to_what_the_server_speaks() {
        let mut session = Session::new(ApiVersion::LATEST);
        session.handle_signal(&sid(r#"{"sid":"A"}"#));
        assert_eq!(session.api_version(), ApiVersion::V0_2);
        session.handle_signal(&sid(r#"{"sid":"B","apiVersion":"1.0"}"#));
        assert_eq!(session.api_version(), ApiVersion::V1_0);
        assert_eq!(session.sid().map(Sid::as_str), Some("B"));
    }

    #[test]
    fn an_old_client_is_given_its_sid_unasked() {
        let mut session = Session::new(ApiVersion::V0_0);
        session.handle_connected();
        assert_eq!(outputs(&mut session), [SessionOutput::StateChanged(SignallerState::Connected)]);
        session.handle_signal(&sid(r#"{"sid":"A"}"#));
        assert_eq!(session.api_version(), ApiVersion::V0_0);
    }
}
