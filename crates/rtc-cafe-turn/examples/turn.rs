//! A TURN server alone: `cargo run -p rtc-cafe-turn --example turn -- 127.0.0.1:3478 SECRET`.

use std::{env, net::SocketAddr, time::Duration};

use rtc_cafe_turn::{Secret, TurnServer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let address: SocketAddr = arguments.next().ok_or("where to listen: ADDRESS:PORT")?.parse()?;
    let secret = Secret::new(arguments.next().ok_or("the secret that credentials are minted with")?)?;
    let mut builder = TurnServer::builder(secret).udp(address).tcp(address);
    if address.ip().is_loopback() {
        // To try it, peers on this machine have to be let in.
        builder = builder.allow_peers("127.0.0.0/8".parse()?);
    }
    let server = builder.bind().await?;
    println!("turn:{}", server.udp_addresses()[0]);
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        println!("{:?}", server.stats());
    }
}
