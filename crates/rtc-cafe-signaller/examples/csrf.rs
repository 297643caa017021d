//! An application whose visitors have sessions, with rooms for them alone: a cookie says who it is, and a CSRF token in
//! every signal that it is the application's own page which speaks.
//!
//! `cargo xtask build`, then `cargo run -p rtc-cafe-signaller --example csrf`, and open <http://127.0.0.1:3000/> twice.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, header},
    response::{Html, IntoResponse},
    routing::get,
    serve::ListenerExt,
};
use rtc_cafe_signaller::{
    Signaller,
    admission::{Admission, Pass, Rejection, Request, Ruling, Visitor},
};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packages/rtc-cafe-client/dist/rtc-cafe-client.js");

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>Members only</title>
<p>Your CSRF token is in every signal. Open this page again, in another window: <b id="count">0</b> others are here.</p>
<script type="module">
  import { RTCCafeClient, RTCCafeSignallingClient } from '/client.js';
  const token = 'TOKEN';
  const signaller = new RTCCafeSignallingClient({ signalModifier: (_name, payload) => ({ ...payload, token }) });
  const client = new RTCCafeClient(undefined, { signaller });
  const show = () => { document.querySelector('#count').textContent = client.connectedPeers.length; };
  client.on('connectToPeer', show);
  client.on('disconnectFromPeer', show);
  client.on('error', (error) => console.error(error.message));
  client.joinRoom('members');
</script>"#;

/// The CSRF tokens of the sessions that there are.
#[derive(Clone, Default)]
struct Sessions(Arc<Mutex<HashMap<String, String>>>);

impl Sessions {
    /// The session of who has such a cookie, and its CSRF token.
    fn of(&self, headers: &HeaderMap) -> Option<(String, String)> {
        let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
        let session = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="))?;
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.get(session).map(|token| (session.to_owned(), token.clone()))
    }

    fn begin(&self) -> (String, String) {
        let (session, token) = (random(), random());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(session.clone(), token.clone());
        (session, token)
    }
}

impl Admission for Sessions {
    /// Whoever has a session may come in. It is in a cookie, which browsers send with the first request.
    fn connect(&self, visitor: &Visitor, _: &Request<'_>) -> Ruling {
        let Some((session, _)) = self.of(visitor.headers()) else {
            return Rejection::new("open the page first").into();
        };
        let mut pass = Pass::default();
        pass.identity = Some(session.into());
        Ruling::Admit(pass)
    }

    /// What it says must come from our page: a page of another site does not know the token.
    fn event(&self, visitor: &Visitor, request: &Request<'_>) -> Ruling {
        match (self.of(visitor.headers()), request.token()) {
            (Some((_, expected)), Some(token)) if token == expected => Ruling::Allow,
            _ => Rejection::new("the CSRF token is missing, or not that of your session; reload the page").into(),
        }
    }

    /// It is the same for every signal, whomever it is for.
    fn ready_handshakes(&self) -> bool {
        true
    }
}

async fn page(State(sessions): State<Sessions>, headers: HeaderMap) -> impl IntoResponse {
    let (session, token) = sessions.of(&headers).unwrap_or_else(|| sessions.begin());
    let cookie = format!("session={session}; HttpOnly; SameSite=Lax; Path=/");
    ([(header::SET_COOKIE, cookie)], Html(PAGE.replace("TOKEN", &token)))
}

async fn client() -> impl IntoResponse {
    let script = std::fs::read(CLIENT).unwrap_or_else(|_| b"throw new Error('run cargo xtask build first')".to_vec());
    ([(header::CONTENT_TYPE, "text/javascript")], script)
}

fn random() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes.map(|byte| format!("{byte:02x}")).concat()
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let sessions = Sessions::default();
    let signaller = Signaller::builder().admission(sessions.clone()).build();
    let app = Router::new()
        .route("/", get(page))
        .route("/client.js", get(client))
        .with_state(sessions)
        .merge(signaller.router())
        // So that the server knows addresses, for its limits.
        .into_make_service_with_connect_info::<SocketAddr>();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("open http://{}/", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await
}
