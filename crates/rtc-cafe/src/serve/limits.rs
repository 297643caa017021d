//! What one address, one client and one room may use up, as options.

use std::time::Duration;

use rtc_cafe_signaller::{IpNet, Limits};

use crate::listed::{Listed, listed, number};

/// Bounds on what clients may use up; what is refused is counted by code in /metrics.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitOptions {
    /// Connections from one address, or from one /64 network of IPv6; 0 for any number [default: 200]
    ///
    /// This machine's own addresses are not counted. Clients of a proxy have the proxy's address until `--trusted-proxy`
    /// names it: with a proxy on this machine they are not limited by address at all.
    #[arg(long, env = "RTC_CAFE_MAX_CONNECTIONS_PER_ADDRESS", value_name = "NUMBER", value_parser = number::<usize>)]
    max_connections_per_address: Option<Listed<usize>>,

    /// Events per second of one connection, in the long run [default: 500]
    #[arg(long, env = "RTC_CAFE_MAX_EVENTS_PER_SECOND", value_name = "NUMBER", value_parser = positive)]
    max_events_per_second: Option<Listed<u32>>,

    /// Events of one connection at once; joining a room takes about 16 for every member [default: 5000]
    #[arg(long, env = "RTC_CAFE_MAX_EVENTS_AT_ONCE", value_name = "NUMBER", value_parser = positive)]
    max_events_at_once: Option<Listed<u32>>,

    /// Bytes that wait for one connection; who reads too slowly for that is cut [default: 2097152]
    #[arg(long, env = "RTC_CAFE_MAX_QUEUED_BYTES", value_name = "BYTES", value_parser = size)]
    max_queued_bytes: Option<Listed<usize>>,

    /// Bytes of one message [default: 1000000]
    #[arg(long, env = "RTC_CAFE_MAX_MESSAGE_BYTES", value_name = "BYTES", value_parser = size)]
    max_message_bytes: Option<Listed<usize>>,

    /// Rooms that one connection may be in [default: 64]
    #[arg(long, env = "RTC_CAFE_MAX_ROOMS_PER_CONNECTION", value_name = "NUMBER", value_parser = number::<usize>)]
    max_rooms_per_connection: Option<Listed<usize>>,

    /// Members of one room [default: 1000]
    #[arg(long, env = "RTC_CAFE_MAX_MEMBERS_PER_ROOM", value_name = "NUMBER", value_parser = number::<usize>)]
    max_members_per_room: Option<Listed<usize>>,

    /// Seconds that a connection may take to ask for the namespace [default: 45]
    #[arg(long, env = "RTC_CAFE_CONNECT_TIMEOUT", value_name = "SECONDS", value_parser = positive)]
    connect_timeout: Option<Listed<u32>>,

    /// Proxy that is believed when it says in `X-Forwarded-For` for whom it speaks: an address, or a network such as
    /// `10.0.0.0/8`; repeat it, or separate several by commas
    ///
    /// The client is the right-most address there that is not one of theirs. Without this option the header is ignored:
    /// anybody can write it.
    #[arg(
        long,
        env = "RTC_CAFE_TRUSTED_PROXY",
        value_name = "ADDRESS|NETWORK",
        value_delimiter = ',',
        value_parser = proxy
    )]
    trusted_proxy: Vec<Listed<IpNet>>,
}

/// Smaller messages do not hold an offer.
const LEAST_BYTES: usize = 32 * 1024;

fn positive(text: &str) -> Result<Listed<u32>, String> {
    number::<u32>(text)
        .and_then(|number| if number == Some(0) { Err("it must be 1 or more".into()) } else { Ok(number) })
}

fn size(text: &str) -> Result<Listed<usize>, String> {
    match number::<usize>(text)? {
        Some(bytes) if bytes < LEAST_BYTES => Err(format!("it must be {LEAST_BYTES} or more, for an offer to fit")),
        bytes => Ok(bytes),
    }
}

fn proxy(text: &str) -> Result<Listed<IpNet>, String> {
    let parse =
        |text: &str| text.parse().or_else(|_| text.parse().map(|address: std::net::IpAddr| IpNet::from(address))).ok();
    listed(text, |text| parse(text).ok_or_else(|| "it is neither an address nor a network, such as 10.0.0.0/8".into()))
}

impl LimitOptions {
    /// The limits, with the defaults where nothing was said.
    pub(crate) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        let per_address = self.max_connections_per_address.flatten();
        set(&mut limits.connections_per_address, per_address.map(|most| if most == 0 { usize::MAX } else { most }));
        set(&mut limits.events_per_second, self.max_events_per_second.flatten());
        set(&mut limits.burst, self.max_events_at_once.flatten());
        set(&mut limits.queue, self.max_queued_bytes.flatten());
        set(&mut limits.max_payload, self.max_message_bytes.flatten());
        set(&mut limits.rooms_per_socket, self.max_rooms_per_connection.flatten());
        set(&mut limits.members_per_room, self.max_members_per_room.flatten());
        let timeout = self.connect_timeout.flatten();
        set(&mut limits.connect_timeout, timeout.map(|seconds| Duration::from_secs(seconds.into())));
        limits
    }

    pub(crate) fn trusted_proxies(&self) -> impl Iterator<Item = IpNet> {
        self.trusted_proxy.iter().flatten().copied()
    }
}

fn set<T>(limit: &mut T, chosen: Option<T>) {
    if let Some(chosen) = chosen {
        *limit = chosen;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_addresses_or_networks() {
        let of = |text: &str| proxy(text).unwrap().map(|net| net.to_string());
        assert_eq!(of("10.1.2.3").unwrap(), "10.1.2.3/32");
        assert_eq!(of("10.0.0.0/8").unwrap(), "10.0.0.0/8");
        assert_eq!(of("2001:db8::1").unwrap(), "2001:db8::1/128");
        assert_eq!(of(" "), None);
        for bad in ["10.0.0.0/33", "proxy.example", "10.0.0"] {
            assert!(proxy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_would_stop_everybody_is_refused() {
        assert!(positive("0").is_err() && positive("1").is_ok() && positive("").is_ok());
        assert!(size("1000").is_err() && size("32768").is_ok() && size("x").is_err());
    }
}
