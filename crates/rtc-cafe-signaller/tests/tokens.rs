//! Who is let in by a signed token, and as far as it says.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{Client, Server};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rtc_cafe_signaller::{
    Signaller,
    admission::{KeyError, Tokens},
};
use serde_json::{Value, json};

const SECRET: &str = "a secret that is long enough to be one";
const OTHER: &str = "another secret, also of a good length";

fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

fn sign(header: &Header, secret: &str, claims: &Value) -> String {
    encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn token(claims: Value) -> String {
    sign(&Header::new(Algorithm::HS256), SECRET, &claims)
}

fn named(kid: &str, secret: &str) -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some(kid.into());
    sign(&header, secret, &json!({"exp": from_now(60)}))
}

/// A key pair: the private key, and the public one in PEM.
fn ed25519() -> (EncodingKey, String) {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let der = [&prefix[..], pair.public_key().as_ref()].concat();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
    (EncodingKey::from_ed_der(pkcs8.as_ref()), pem)
}

fn secret() -> Tokens {
    Tokens::new().secret(None, SECRET.as_bytes()).unwrap()
}

fn code(tokens: &Tokens, token: &str) -> &'static str {
    tokens.verify(token).map_or_else(|rejection| rejection.code().as_str(), |_| "ok")
}

async fn start() -> Server {
    Server::with(Signaller::builder().admission(secret()).build()).await
}

#[test]
fn what_is_valid_and_what_is_not() {
    let tokens = secret();
    let good = token(json!({"exp": from_now(60), "sub": "ana"}));
    assert_eq!(tokens.verify(&good).unwrap().identity, Some(json!("ana")));
    assert_eq!(code(&tokens, &token(json!({"exp": from_now(60), "nbf": from_now(-5)}))), "ok");
    // Clocks differ a little.
    assert_eq!(code(&tokens, &token(json!({"exp": from_now(-5)}))), "ok");
    assert_eq!(code(&tokens, &token(json!({"exp": 18_000_000_000_000_000_000_u64}))), "ok");
    assert_eq!(code(&tokens, &token(json!({"exp": from_now(-30)}))), "token-expired");
    for bad in [
        json!({"sub": "ana"}),
        json!({"exp": "tomorrow"}),
        json!({"exp": null}),
        json!({"exp": 1e300}),
        json!({"exp": -1e300}),
        json!({"exp": from_now(60), "nbf": from_now(40)}),
        json!({"exp": from_now(60), "aud": "somebody else"}),
        json!({"exp": from_now(60), "rooms": "lobby"}),
        json!({"exp": from_now(60), "rooms": [""]}),
        json!({"exp": from_now(60), "rooms": [null]}),
        json!({"exp": from_now(60), "send": "no"}),
        json!({"exp": from_now(60), "limits": {"rooms": -1}}),
    ] {
        assert_eq!(code(&tokens, &token(bad.clone())), "token-invalid", "{bad}");
    }
    let (head, signature) = good.rsplit_once('.').unwrap();
    for bad in [
        "",
        "a.b.c",
        head,
        &format!("{head}."),
        &format!("{head}.{}", signature.to_ascii_lowercase()),
        &sign(&Header::new(Algorithm::HS256), OTHER, &json!({"exp": from_now(60)})),
        &sign(&Header::new(Algorithm::HS512), SECRET, &json!({"exp": from_now(60)})),
        &"x".repeat(100_000),
    ] {
        assert_eq!(code(&tokens, bad), "token-invalid", "{bad}");
    }
}

#[test]
fn an_audience_must_be_the_right_one() {
    let tokens = secret().audience("cafe");
    assert_eq!(code(&tokens, &token(json!({"exp": from_now(60), "aud": "cafe"}))), "ok");
    assert_eq!(code(&tokens, &token(json!({"exp": from_now(60), "aud": ["shop", "cafe"]}))), "ok");
    assert_eq!(code(&tokens, &token(json!({"exp": from_now(60), "aud": "shop"}))), "token-invalid");
    assert_eq!(code(&tokens, &token(json!({"exp": from_now(60)}))), "token-invalid");
}

#[test]
fn algorithms_cannot_be_confused() {
    let (private, public) = ed25519();
    let tokens = Tokens::new().public_key(None, public.as_bytes()).unwrap();
    let claims = json!({"exp": from_now(60), "sub": "ana"});
    let signed = encode(&Header::new(Algorithm::EdDSA), &claims, &private).unwrap();
    assert_eq!(code(&tokens, &signed), "ok");
    // The public key is no secret.
    for secret in [public.as_str(), public.trim(), public.lines().nth(1).unwrap()] {
        assert_eq!(code(&tokens, &sign(&Header::new(Algorithm::HS256), secret, &claims)), "token-invalid");
    }
    let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"None","typ":"JWT"}"#, r#"{"typ":"JWT"}"#, r#"{"alg":"HS256"}"#] {
        let forged = [part(header), part(&claims.to_string()), String::new()].join(".");
        assert_eq!(code(&tokens, &forged), "token-invalid", "{header}");
        assert_eq!(code(&secret(), &forged), "token-invalid", "{header}");
    }
    // A header cannot bring its own key.
    let (other, _) = ed25519();
    assert_eq!(code(&tokens, &encode(&Header::new(Algorithm::EdDSA), &claims, &other).unwrap()), "token-invalid");
    let both = tokens.secret(None, SECRET.as_bytes()).unwrap();
    assert_eq!((code(&both, &signed), code(&both, &token(claims))), ("ok", "ok"));
}

#[test]
fn keys_are_changed_one_after_the_other() {
    let old = Tokens::new().secret(Some("1"), SECRET.as_bytes()).unwrap();
    let both = Tokens::new().secret(Some("1"), SECRET.as_bytes()).unwrap().secret(Some("2"), OTHER.as_bytes()).unwrap();
    let new = Tokens::new().secret(Some("2"), OTHER.as_bytes()).unwrap();
    let (first, second) = (named("1", SECRET), named("2", OTHER));
    let of = |tokens: &Tokens| (code(tokens, &first), code(tokens, &second));
    assert_eq!(of(&old), ("ok", "token-invalid"));
    assert_eq!(of(&both), ("ok", "ok"));
    assert_eq!(of(&new), ("token-invalid", "ok"));
    // A name is for one key; without a name all are tried.
    assert_eq!(code(&both, &named("1", OTHER)), "token-invalid");
    assert_eq!(code(&both, &sign(&Header::new(Algorithm::HS256), OTHER, &json!({"exp": from_now(60)}))), "ok");
    assert_eq!(code(&secret(), &named("any", SECRET)), "ok");
    assert_eq!(code(&Tokens::new(), &first), "token-invalid");
}

#[test]
fn keys_are_looked_at() {
    let pem = |pem: &str| Tokens::new().public_key(None, pem.as_bytes()).unwrap_err();
    assert_eq!(Tokens::new().secret(None, b"short").unwrap_err(), KeyError::ShortSecret);
    assert_eq!(pem(SECRET), KeyError::NotAPublicKey);
    let rsa = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode([0x30; 90]));
    assert_eq!(pem(&rsa), KeyError::NotEd25519);
}

#[tokio::test]
async fn a_token_lets_in_by_whatever_way_it_comes() {
    let server = start().await;
    let ana = token(json!({"exp": from_now(60), "sub": "ana"}));
    let mut by_auth = Client::open(&server).await;
    by_auth.enter(&json!({"token": ana})).await;
    let mut by_header = Client::with_headers(&server, &[("authorization", format!("Bearer {ana}"))]).await;
    by_header.enter(&json!({})).await;
    for client in [&mut by_auth, &mut by_header] {
        client.emit("join", json!({"room": "R"})).await;
        client.nothing().await;
    }
    by_auth.event("acquire-peers").await;
    let mut by_signal = Client::connect(&server).await;
    by_signal.emit("join", json!({"room": "R", "id": "s", "token": ana})).await;
    assert_eq!(by_auth.event("acquire-peers").await, json!({"id": "s", "sid": by_signal.sid, "prevSid": null}));
    // From then on it needs none.
    by_signal.emit("offer", json!({"recipient": by_auth.sid})).await;
    by_auth.event("offer").await;
}

#[tokio::test]
async fn without_a_token_nothing_happens() {
    let server = start().await;
    let mut a = Client::connect(&server).await;
    for (event, data) in [
        // The answer names TURN servers, with what they ask for.
        ("request-sid", json!({"apiVersion": "1.0"})),
        ("join", json!({"room": "R", "id": "a"})),
        ("join", json!({"room": "R", "id": "a", "token": 5})),
        ("hold", json!({"offer": {}, "connection": 1})),
        ("offer", json!({"recipient": a.sid})),
        ("nonsense", json!(null)),
    ] {
        a.emit(event, data).await;
        a.error("token-missing", event).await;
    }
    a.emit("join", json!({"room": "R", "id": "a", "token": "forged"})).await;
    a.error("token-invalid", "join").await;
    a.emit("join", json!({"room": "R", "id": "a", "token": token(json!({"exp": from_now(-100)}))})).await;
    a.error("token-expired", "join").await;
    assert_eq!(server.signaller.stats().rooms, 0);
}

#[tokio::test]
async fn a_bad_token_is_no_way_in() {
    let server = start().await;
    let mut a = Client::open(&server).await;
    let (code, message) = a.refused(&json!({"token": "forged"})).await;
    assert!(code == "token-invalid" && message.contains("no JWT"), "{code} {message}");
    assert_eq!(a.refused(&json!({"token": token(json!({"exp": from_now(-100)}))})).await.0, "token-expired");
    a.enter(&json!({"token": token(json!({"exp": from_now(60)}))})).await;
    let mut b = Client::with_headers(&server, &[("authorization", "Bearer forged".to_owned())]).await;
    assert_eq!(b.refused(&json!({})).await.0, "token-invalid");
    // What a proxy asks for is none of our business.
    let mut c = Client::with_headers(&server, &[("authorization", "Basic YTpi".to_owned())]).await;
    c.enter(&json!({})).await;
}

#[tokio::test]
async fn forging_is_slow() {
    let server = start().await;
    // At the door there are ten attempts.
    let mut a = Client::open(&server).await;
    for _ in 0..10 {
        assert_eq!(a.refused(&json!({"token": "forged"})).await.0, "token-invalid");
    }
    a.closed().await;
    // Behind it each costs.
    let mut a = Client::connect(&server).await;
    let mut codes = Vec::new();
    for _ in 0..600 {
        a.emit("join", json!({"room": "R", "token": "forged"})).await;
        codes.push(a.event("error").await["code"].clone());
    }
    // The first 5,000 events are free, at 21 for each; then it is the rate of 500 a second.
    let tried = codes.iter().filter(|code| *code == "token-invalid").count();
    assert!((230..500).contains(&tried) && codes.last().unwrap() == "rate-limited", "{tried}");
}

#[tokio::test]
async fn a_token_opens_rooms_and_sets_limits() {
    let server = start().await;
    let mut a = Client::open(&server).await;
    let rooms = json!(["lobby", "team-*", 5]);
    a.enter(&json!({"token": token(json!({"exp": from_now(60), "rooms": rooms, "limits": {"rooms": 3}}))})).await;
    for room in [json!("lobby"), json!("team-7"), json!(5)] {
        a.emit("join", json!({"room": room})).await;
    }
    a.nothing().await;
    a.emit("join", json!({"room": "5"})).await;
    a.error("not-permitted", "join").await;
    a.emit("join", json!({"room": "team-8"})).await;
    a.error("too-many-rooms", "join").await;
}

#[tokio::test]
async fn a_later_token_takes_the_place_of_the_one_before() {
    let server = start().await;
    let mut a = Client::open(&server).await;
    // It expires, with all patience for clocks, in less than a second.
    a.enter(&json!({"token": token(json!({"exp": from_now(-9), "sub": "ana", "rooms": ["R"]}))})).await;
    a.emit("join", json!({"room": "R", "id": "a"})).await;
    a.emit("join", json!({"room": "S", "id": "a"})).await;
    a.error("not-permitted", "join").await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    a.emit("join", json!({"room": "R", "id": "a"})).await;
    a.error("token-expired", "join").await;
    let theirs = token(json!({"exp": from_now(60), "sub": "eve"}));
    a.emit("join", json!({"room": "S", "id": "a", "token": theirs})).await;
    a.error("token-invalid", "join").await;
    let later = token(json!({"exp": from_now(60), "sub": "ana", "rooms": ["S"]}));
    a.emit("join", json!({"room": "S", "id": "a", "token": later})).await;
    a.nothing().await;
    assert_eq!(server.signaller.stats().rooms, 2);
}

#[tokio::test]
async fn handshakes_are_still_ready() {
    let server = start().await;
    let auth = json!({"token": token(json!({"exp": from_now(60)}))});
    let mut a = Client::open(&server).await;
    a.enter(&auth).await;
    a.emit("request-sid", json!({"apiVersion": "1.0"})).await;
    a.event("sid").await;
    a.emit("join", json!({"room": "R", "id": "a"})).await;
    let held = json!({"id": "a", "token": "mine", "offer": {}, "connection": 1});
    a.emit("hold", held).await;
    // It is no token, so the offer is not held.
    a.error("token-invalid", "hold").await;
    a.emit("hold", json!({"id": "a", "token": auth["token"], "offer": {}, "connection": 1})).await;
    a.emit("request-sid", json!({"apiVersion": "1.0"})).await;
    a.event("sid").await;
    let mut b = Client::open(&server).await;
    b.enter(&auth).await;
    b.emit("request-sid", json!({"apiVersion": "1.0"})).await;
    b.event("sid").await;
    b.emit("join", json!({"room": "R", "id": "b"})).await;
    assert_eq!(b.event("offer").await, json!({"id": "a", "sid": a.sid, "offer": {}, "connection": 1}));
}
