//! TLS, by a small proxy in front of a server that speaks none.

use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer},
};

use super::*;

/// A server behind TLS for the name `localhost`; the certificate is its own root.
async fn serve() -> (SignallingConfig, rcgen::CertifiedKey<rcgen::KeyPair>, JoinHandle<()>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = front.local_addr().unwrap().port();
    let back = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = back.local_addr().unwrap();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = front.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            assert_eq!(stream.get_ref().1.server_name(), Some("localhost"));
            let mut plain = TcpStream::connect(address).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut plain).await });
            let _welcomed = Raw::welcome(&back).await;
            std::future::pending::<()>().await;
        }
    });
    let url = format!("wss://localhost:{port}").parse().unwrap();
    (SignallingConfig { backoff: SOON, ..SignallingConfig::new(url) }, made, server)
}

#[tokio::test]
async fn a_trusted_server() {
    let (mut config, made, server) = serve().await;
    config.tls = Some(client_config(&certificates(made.cert.pem().as_bytes()).unwrap()).unwrap());
    let mut client = Client::new(config);
    assert_eq!(client.connected().await, "A");
    server.abort();
}

#[tokio::test]
async fn a_stranger_is_not_trusted() {
    let (config, _, server) = serve().await;
    let problem = Client::new(config).problem().await;
    assert!(matches!(problem, SignallingProblem::Tls { .. }), "{problem}");
    assert!(problem.to_string().ends_with("if the certificate is your own, give it as a root"), "{problem}");
    server.abort();
}

#[tokio::test]
async fn a_certificate_for_another_name() {
    let (mut config, made, server) = serve().await;
    config.tls = Some(client_config(&[made.cert.der().clone()]).unwrap());
    config.url = format!("https://127.0.0.1:{}", config.url.port()).parse().unwrap();
    let problem = Client::new(config).problem().await;
    assert!(problem.to_string().ends_with("use the name that the certificate is for"), "{problem}");
    server.abort();
}

#[tokio::test]
async fn a_server_that_speaks_no_tls() {
    let (listener, mut config) = listen().await;
    let (_, made, _) = serve().await;
    config.tls = Some(client_config(&[made.cert.der().clone()]).unwrap());
    config.url = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    let server = tokio::spawn(async move { accept_async(listener.accept().await.unwrap().0).await.is_err() });
    let problem = Client::new(config).problem().await;
    assert!(matches!(problem, SignallingProblem::Tls { .. } | SignallingProblem::Unreachable { .. }), "{problem}");
    assert!(in_time(server).await.unwrap());
}
