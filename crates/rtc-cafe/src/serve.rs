//! `rtc-cafe serve`: the signalling server with its pages.

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    time::Duration,
};

use anyhow::Context;
use rtc_cafe_signaller::{IceServer, Signaller, broker::RedisBroker};
use socket2::SockRef;
use tokio::{net::TcpListener, time::timeout};

use crate::{
    admin::Token,
    app::{self, App, Extras},
    duration,
    hidden::Hidden,
    ice,
    listed::{Listed, listed},
    listener::{Doors, Serving, Tls},
    process::raise_open_files,
    stop::{Hangups, Stop, StopSignals},
    tls::{Certificates, Files},
};

mod admission;
mod limits;
mod reach;
mod turn;

pub(crate) use turn::Turn;

const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
const DEFAULT_DRAIN: &str = "10s";
/// Connections that may wait to be accepted, if the system allows so many. Who comes when it is full tries again after a
/// second; the 128 of the library are full when everybody comes back after a restart.
const BACKLOG: i32 = 4096;
/// How long to wait for Redis before clients are let in without it.
const REDIS: Duration = Duration::from_secs(3);
/// How long open requests may take to end once the clients have been told to go.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// Serves signalling, the landing page with the samples, the client's files, and metrics, all on one port unless
/// `--operator-listen` gives operators another
///
/// When it is ready it prints one line with its URL. On SIGTERM it takes no new clients, sends those that are
/// there away over the time of `--drain`, and exits with 0. On SIGINT it does so at once. A second signal ends it on the
/// spot. Clients that use this server have its URL as their `host`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rtc-cafe serve
      On this machine only: http://127.0.0.1:8080/ has a chat to try.
  rtc-cafe serve --listen 0.0.0.0:8080 --ice-server stun:stun.example.org
      For others too. Browsers give camera and microphone to pages over HTTPS only; see below, or put a proxy that
      does TLS in front.
  rtc-cafe serve --listen 0.0.0.0:443 --tls-cert fullchain.pem --tls-key privkey.pem
      With HTTPS.
  rtc-cafe serve --listen 0.0.0.0:443 --tls-cert fullchain.pem --tls-key privkey.pem --operator-listen 127.0.0.1:9090
      The same, with the metrics for a Prometheus on this machine and for nobody else.
  rtc-cafe serve --allow-origin https://app.example.org
      For the pages of another site.
  rtc-cafe serve --redis redis://10.0.0.5
      One of several servers with the same rooms: start each with the same Redis, and a balancer in front.
  RTC_CAFE_JWT_SECRET=$(cat secret) rtc-cafe serve
      For those only to whom your application has given a token, signed with the secret.
  rtc-cafe serve --validate-url http://127.0.0.1:3000/may --trusted-proxy 127.0.0.1
      For those only whom your application lets in; it is asked each time. A proxy on this machine says where they are.")]
pub(crate) struct Options {
    /// Address and port to listen on; with port 0 the system chooses one
    #[arg(long, env = "RTC_CAFE_LISTEN", value_name = "ADDRESS:PORT", default_value = DEFAULT_LISTEN)]
    listen: String,

    /// Lets pages of this origin connect, `*` those of all; repeat it, or separate several by commas
    ///
    /// The pages of this server itself may always connect, and so may programs that are no web pages.
    #[arg(long, env = "RTC_CAFE_ALLOW_ORIGIN", value_name = "ORIGIN", value_delimiter = ',', value_parser = origin)]
    allow_origin: Vec<Listed<String>>,

    /// STUN or TURN server that clients are told to use; repeat it, or separate several by commas
    ///
    /// It is `stun:HOST[:PORT]` or `turn:USER:PASSWORD@HOST[:PORT][?transport=udp|tcp]`, or the same with `stuns:` or
    /// `turns:`. In user and password, commas are written as `%2C`, and `%` as `%25`. All clients get to know them.
    /// Without user and password each client gets credentials of its own, made with `--ice-secret`.
    #[arg(
        long,
        env = "RTC_CAFE_ICE_SERVER",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        value_parser = ice::parse_for_clients
    )]
    ice_server: Vec<Listed<ice::Server>>,

    /// Secret that the TURN servers of `--ice-server` share, coturn's `static-auth-secret`
    #[arg(long, env = "RTC_CAFE_ICE_SECRET", hide_env_values = true, value_name = "SECRET")]
    ice_secret: Option<Hidden>,

    /// Redis that connects several servers to one, `redis://[USER:PASSWORD@]HOST[:PORT]`, or `rediss://` for TLS;
    /// repeat it, or separate several by commas, to name nodes of a cluster
    ///
    /// Redis 6 or newer, or Valkey. While it is away, rooms end at each server; when it is back everybody meets again.
    /// Its database number does not keep different sites apart. In passwords, commas are written as `%2C`.
    #[arg(long, env = "RTC_CAFE_REDIS", hide_env_values = true, value_name = "URL", value_delimiter = ',')]
    redis: Vec<Hidden>,

    #[command(flatten)]
    admission: admission::AdmissionOptions,

    #[command(flatten)]
    limits: limits::LimitOptions,

    #[command(flatten)]
    turn: turn::TurnOptions,

    /// File with the certificate for HTTPS, and those between it and the authority, in PEM; it goes with `--tls-key`
    ///
    /// Both files are read again when they change, or at once on SIGHUP. Clients that are connected do not notice. Clients
    /// reach the relay by TLS at the same port, for networks that let 443 alone through.
    #[arg(long, env = "RTC_CAFE_TLS_CERT", help_heading = "Operation", value_name = "FILE")]
    tls_cert: Option<String>,

    /// File with the private key of the certificate, in PEM, not encrypted
    #[arg(long, env = "RTC_CAFE_TLS_KEY", help_heading = "Operation", value_name = "FILE")]
    tls_key: Option<String>,

    /// Address and port where `/metrics` and `/admin/` are, which are then not where clients come in; with port 0 the
    /// system chooses one
    ///
    /// Whoever reaches it sees the figures, by plain HTTP even with `--tls-cert`: let it be loopback, or an address of a
    /// private network. `/healthz` and `/readyz` are in both places. Without it everything is at `--listen`, and a proxy
    /// has to keep `/metrics` and `/admin/` from others.
    #[arg(long, env = "RTC_CAFE_OPERATOR_LISTEN", help_heading = "Operation", value_name = "ADDRESS:PORT")]
    operator_listen: Option<String>,

    /// Turns on the view of rooms and members at `/admin/`, for whoever has this token; give it by the environment
    ///
    /// It shows who is where and from which address, and can end sessions. Use it over HTTPS only.
    #[arg(
        long,
        env = "RTC_CAFE_ADMIN_TOKEN",
        help_heading = "Operation",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    admin_token: Option<Hidden>,

    /// Over how long clients are sent away on SIGTERM, such as `30s`; `0` for all at once
    ///
    /// They come back by themselves, to another server or to this one when it is there again, and had better not come all
    /// at the same time. The end takes up to 17 seconds longer than this.
    #[arg(long, env = "RTC_CAFE_DRAIN", help_heading = "Operation", value_name = "TIME", default_value = DEFAULT_DRAIN, value_parser = drain)]
    drain: Duration,
}

fn drain(text: &str) -> Result<Duration, String> {
    duration::parse(if text.trim().is_empty() { DEFAULT_DRAIN } else { text })
}

fn origin(text: &str) -> Result<Listed<String>, String> {
    listed(text, parse_origin)
}

fn parse_origin(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let is_origin = host.is_some_and(|host| !host.is_empty() && !host.trim_end_matches('/').contains(['/', '?', '#']));
    if text == "*" || is_origin {
        Ok(text.to_owned())
    } else {
        Err("an origin is `https://host` or `http://host:port` without a path, or `*`".to_owned())
    }
}

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let admin = Token::new(options.admin_token.as_deref()).map_err(anyhow::Error::msg)?;
    let files = Files::new(options.tls_cert.as_deref(), options.tls_key.as_deref())?;
    let certificates = files.map(Certificates::load).transpose()?;
    let listener = listen("--listen", given(&options.listen).unwrap_or(DEFAULT_LISTEN)).await?;
    let address = listener.local_addr()?;
    let for_operators = match options.operator_listen.as_deref().and_then(given) {
        Some(address) => Some(listen("--operator-listen", address).await?),
        None => None,
    };
    let (to_mint, ready): (Vec<_>, Vec<_>) =
        options.ice_server.into_iter().flatten().partition(ice::Server::wants_credentials);
    let lifetime = options.turn.lifetime();
    let elsewhere = turn::Elsewhere::new(to_mint, options.ice_secret.as_deref(), lifetime)?;
    let mut builder = Signaller::builder().ice_servers(ready.into_iter().map(IceServer::from));
    for origin in options.allow_origin.iter().flatten() {
        builder = builder.allow_origin(origin);
    }
    let redis: Vec<_> = options.redis.iter().filter_map(|url| given(url)).collect();
    if !redis.is_empty() {
        builder = builder.broker(RedisBroker::new(redis.iter().copied()).context("--redis")?);
    }
    builder = builder.limits(options.limits.limits()).trust_proxies(options.limits.trusted_proxies());
    let files = raise_open_files();
    let turn = options.turn.start(address, certificates.as_ref().map(Certificates::acceptor), files).await?;
    if turn.is_some() || elsewhere.is_some() {
        let turn = turn.clone();
        builder = builder.ice_servers_for_each(lifetime, move |client, came_by| {
            let ours = turn.iter().flat_map(|turn| turn.ice_servers(client, came_by));
            ours.chain(elsewhere.iter().flat_map(|elsewhere| elsewhere.ice_servers(client))).collect()
        });
    }
    let doors = || {
        let per_address = options.limits.limits().connections_per_address;
        Doors::new(per_address, options.limits.trusted_proxies().collect())
    };
    // Whoever takes all places of an address at one of them leaves those at the other.
    let (doors, operators_doors) = (doors(), doors());
    let signaller = options.admission.apply(builder)?.build();
    let relay = turn.clone();
    let extras = Extras { certificates: certificates.clone(), admin, turn, doors: Some(doors.clone()) };
    let App { public, operators, readiness } = app::app(&signaller, extras, for_operators.is_some());
    let mut stop = StopSignals::new()?;
    // Without a certificate it means nothing but that the terminal is gone, if there was one, and that ends the program.
    let hangups = (certificates.is_some() || !io::stdin().is_terminal()).then(Hangups::new).transpose()?;
    // If Redis is away, that is logged, and nothing waits for it.
    let _ = timeout(REDIS, signaller.broker_connected()).await;
    // Whoever started this may have stopped listening; that is no reason not to serve.
    let _ = writeln!(io::stdout(), "rtc-cafe is ready at {}", url(address, certificates.is_some()));
    let (nodes, tls) = (!redis.is_empty(), certificates.is_some());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), %address, tls, nodes, "serving");
    let tls = certificates.as_ref().map(|certificates| Tls { acceptor: certificates.acceptor(), relay });
    let serving = Serving::start(listener, public, tls, doors);
    // Operators see how it ends: this is kept until then.
    let _for_operators = match for_operators.zip(operators) {
        Some((listener, app)) => {
            tracing::info!(address = %listener.local_addr()?, "serving operators");
            Some(Serving::start(listener, app, None, operators_doors))
        }
        None => None,
    };
    match (certificates, hangups) {
        (Some(certificates), Some(hangups)) => drop(tokio::spawn(certificates.follow(hangups))),
        (None, Some(hangups)) => drop(tokio::spawn(ignore(hangups))),
        (_, None) => {}
    }
    let over = match stop.asked().await {
        Stop::Terminate => options.drain,
        Stop::Interrupt => Duration::ZERO,
    };
    readiness.end();
    tokio::select! {
        () = end(&signaller, serving, over) => Ok(()),
        () = stop.next() => anyhow::bail!("stopped at once by a second signal"),
    }
}

/// Sends the clients away over this time.
async fn end(signaller: &Signaller, serving: Serving, over: Duration) {
    let connections = signaller.stats().connections;
    tracing::info!(connections, ?over, "shutting down: the clients are sent away");
    signaller.drain(over).await;
    if timeout(LAST_REQUESTS, serving.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

/// Whoever has things read again means no end.
async fn ignore(mut hangups: Hangups) {
    loop {
        hangups.next().await;
        tracing::info!("SIGHUP is ignored: without --tls-cert there is nothing to read again");
    }
}

/// What an option says, if it is not empty.
fn given(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

/// Listens where this option says.
async fn listen(option: &str, address: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| match address.rsplit_once(':') {
        Some(_) => format!("cannot listen on {address}; choose another address with {option}"),
        None => format!("cannot listen on {address}, which has no port; write it as {option} {address}:PORT"),
    })?;
    if let Err(error) = SockRef::from(&listener).listen(BACKLOG) {
        tracing::debug!(%error, "cannot let more connections wait");
    }
    Ok(listener)
}

/// The URL at which a browser on this machine finds the server.
fn url(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    let host = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => "[::1]".to_owned(),
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    format!("{scheme}://{host}:{}/", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_and_ice_servers_are_checked() {
        for good in ["*", "https://a.example", "http://localhost:5173", "https://a.example/"] {
            assert!(origin(good).is_ok(), "{good}");
        }
        assert_eq!((origin(""), ice::parse_listed(" ")), (Ok(None), Ok(None)));
        for bad in ["a.example", "https://", "https://a.example/app", "ws://a.example"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
        assert!(ice::parse_listed("stun:stun.example.org:3478").is_ok());
        assert!(ice::parse_listed("stun.example.org").is_err());
        assert!(ice::parse_listed("turn:").is_err());
        assert!(ice::parse_listed("turn:turn.example.org").unwrap_err().contains("credentials"));
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn many_can_come_at_once() {
        let listener = listen("--listen", "127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let soon = Duration::from_millis(900);
        let connect = || std::net::TcpStream::connect_timeout(&address, soon);
        let waiting: Vec<_> = (0..400).map_while(|_| connect().ok()).collect();
        assert_eq!(waiting.len(), 400);
    }

    #[test]
    fn the_url_can_be_opened() {
        let of = |address: &str| url(address.parse().unwrap(), false);
        assert_eq!(of("0.0.0.0:80"), "http://127.0.0.1:80/");
        assert_eq!(of("[::1]:8080"), "http://[::1]:8080/");
        assert_eq!(url(([192, 0, 2, 1], 443).into(), true), "https://192.0.2.1:443/");
    }
}
