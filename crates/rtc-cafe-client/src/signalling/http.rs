//! Asks the server for something small by plain HTTP, to see whether it is there.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::rustls::ClientConfig;

use super::{
    config::Headers,
    dial::Dialler,
    problem::{SignallingProblem as Problem, excerpt},
    url::ServerUrl,
};

const PATIENCE: Duration = Duration::from_secs(10);
/// Of the answer, no more is looked at.
const MOST_BYTES: u64 = 16 * 1024;

/// What is of interest in an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// What calls itself the server.
    pub(crate) server: Option<String>,
}

/// Gets what is at a path below the server's URL.
pub(crate) async fn get(server: ServerUrl, path: &str, tls: Option<Arc<ClientConfig>>) -> Result<Answer, Problem> {
    let (target, host, shown) = (server.beside(path), server.authority(), server.to_string());
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let url = format!("{shown}{path}");
    let dialler = Dialler { url: url.clone(), server, headers: Headers::default(), tls };
    let exchange = async {
        let mut stream = dialler.stream().await?;
        let mut answer = Vec::new();
        let exchanged: io::Result<()> = async {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await?;
            stream.take(MOST_BYTES).read_to_end(&mut answer).await?;
            Ok(())
        }
        .await;
        // Some servers end TLS without a word; what has come counts.
        match (exchanged, read(&answer)) {
            (_, Some(read)) => Ok(read),
            (Err(error), None) => Err(dialler.unreachable(&error)),
            (Ok(()), None) => Err(Problem::Protocol(format!("{url} does not speak HTTP"))),
        }
    };
    let late = Problem::ConnectTimedOut { server: shown, after: PATIENCE };
    timeout(PATIENCE, Box::pin(exchange)).await.unwrap_or(Err(late))
}

fn read(answer: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(answer);
    let mut lines = text.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    let server = headers.filter(|(name, _)| name.eq_ignore_ascii_case("server")).map(|(_, value)| excerpt(value));
    Some(Answer { status, server: server.last() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nServer: rtc-cafe/1.2.3\r\n\r\nserver: no\n";
        assert_eq!(read(answer), Some(Answer { status: 200, server: Some("rtc-cafe/1.2.3".into()) }));
        assert_eq!(read(b"HTTP/1.0 404\r\n\r\n"), Some(Answer { status: 404, server: None }));
        for nonsense in [&b""[..], b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 x\r\n", &[0xff; 100]] {
            assert_eq!(read(nonsense), None);
        }
    }
}
