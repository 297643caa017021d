//! Looks up the addresses of a server.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::future::BoxFuture;
use tokio::time::timeout;

/// More addresses of one name are not tried.
const MOST_ADDRESSES: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);

/// The addresses of a name or of an address in text, at least one, those of IPv4 first.
pub(super) fn resolve(host: String, port: u16) -> BoxFuture<'static, Result<Vec<SocketAddr>, String>> {
    Box::pin(async move {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let found: io::Result<Vec<SocketAddr>> =
            match timeout(PATIENCE, tokio::net::lookup_host((host.as_str(), port))).await {
                Ok(found) => found.map(|addresses| addresses.take(MOST_ADDRESSES).collect()),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
        let mut found = found.map_err(|error| format!("its name cannot be resolved: {error}"))?;
        found.sort_by_key(SocketAddr::is_ipv6);
        if found.is_empty() {
            return Err("its name has no addresses".into());
        }
        Ok(found)
    })
}
