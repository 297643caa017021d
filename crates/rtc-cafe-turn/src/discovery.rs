//! What a Binding request is answered, and from which socket: where there are several, clients find out by that how the NAT
//! in front of them behaves (RFC 5780).

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use turn_types::stun::{
    attribute::{AttributeType, ErrorCode, MappedSocketAddr},
    message::Message,
};

use crate::{
    client::{Common, Now, unknown},
    outbox::{Outbox, Route},
    policy::is_of_internet,
    reply::Reply,
    socket::Socket,
};

/// RFC 5780 section 7.
const CHANGE_REQUEST: AttributeType = AttributeType::new(0x0003);
const RESPONSE_ORIGIN: AttributeType = AttributeType::new(0x802B);
const OTHER_ADDRESS: AttributeType = AttributeType::new(0x802C);
/// RFC 8489 section 5: its class and its method.
const BINDING_REQUEST: [u8; 2] = [0, 1];
const CHANGE_ADDRESS: u8 = 4;
const CHANGE_PORT: u8 = 2;

/// An address that has another one beside it, of which both address and port are others, and the two that are left as well:
/// what this one is asked, each of the four can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Corner {
    here: SocketAddr,
    other: SocketAddr,
}

impl Corner {
    fn find(here: SocketAddr, all: &[SocketAddr]) -> Option<Self> {
        let has = |address: IpAddr, port: u16| all.contains(&SocketAddr::new(address, port));
        let is_opposite = |other: &&SocketAddr| {
            let is_other = other.ip() != here.ip() && other.port() != here.port() && other.is_ipv4() == here.is_ipv4();
            // Nobody is told of an address inside of a network that has not come from there.
            let is_alike = is_of_internet(other.ip()) == is_of_internet(here.ip());
            is_other && is_alike && has(here.ip(), other.port()) && has(other.ip(), here.port())
        };
        // What listens on every address answers from whichever the system takes.
        let is_one = |other: &&SocketAddr| !here.ip().is_unspecified() && !other.ip().is_unspecified();
        all.iter().filter(is_one).find(is_opposite).map(|other| Self { here, other: *other })
    }

    /// From where an answer goes out, if a request asks for a change of that.
    fn origin(self, change: u8) -> SocketAddr {
        let address = if change & CHANGE_ADDRESS == 0 { self.here.ip() } else { self.other.ip() };
        let port = if change & CHANGE_PORT == 0 { self.here.port() } else { self.other.port() };
        SocketAddr::new(address, port)
    }
}

/// The answer to a Binding request, and from where it goes out if not from where the request came in. Without other addresses
/// nothing can be asked of them, and whoever does is told (420).
pub(crate) fn bind(
    message: &Message<'_>,
    client: SocketAddr,
    corner: Option<Corner>,
    common: &Common,
) -> (Vec<u8>, Option<SocketAddr>) {
    common.counters.bindings.add(1);
    let mut unknown = unknown(message);
    unknown.retain(|kind| corner.is_none() || *kind != CHANGE_REQUEST);
    if !unknown.is_empty() {
        return (Reply::unknown(message, &unknown).finish(None), None);
    }
    let reply = || Reply::success(message).with_mapped(message, client);
    let Some(corner) = corner else { return (reply().finish(None), None) };
    let change = match message.raw_attribute(CHANGE_REQUEST).map(|raw| <[u8; 4]>::try_from(&*raw.value)) {
        None => 0,
        Some(Ok([.., change])) => change,
        Some(Err(_)) => return (Reply::error(message, ErrorCode::BAD_REQUEST).finish(None), None),
    };
    let origin = corner.origin(change);
    let reply = reply()
        .with(&MappedSocketAddr::new(origin).to_raw(RESPONSE_ORIGIN))
        .with(&MappedSocketAddr::new(corner.other).to_raw(OTHER_ADDRESS));
    (reply.finish(None), Some(origin))
}

/// The sockets that have others beside them.
#[derive(Debug)]
pub(crate) struct Discovery(HashMap<SocketAddr, (Corner, Arc<Socket>)>);

impl Discovery {
    /// Behind a NAT of our own only one address is known of those that clients see, so there is nothing to tell of others.
    pub(crate) fn new(sockets: &[Arc<Socket>], public: &[IpAddr]) -> Self {
        let sockets: Vec<_> = sockets.iter().map(|socket| (socket.local(), socket)).collect();
        let is_seen = |address: &SocketAddr| {
            let mut public = public.iter().filter(|public| public.is_ipv4() == address.is_ipv4());
            public.all(|public| sockets.iter().any(|(address, _)| address.ip() == *public))
        };
        let addresses: Vec<_> = sockets.iter().map(|(address, _)| *address).filter(is_seen).collect();
        let corner = |(here, socket): &(SocketAddr, &Arc<Socket>)| {
            Corner::find(*here, &addresses).map(|corner| (*here, (corner, (*socket).clone())))
        };
        Self(sockets.iter().filter_map(corner).collect())
    }

    /// Whether it is a Binding request to one of the sockets, which then is answered.
    pub(crate) fn handle(
        &self,
        reached: &Socket,
        client: SocketAddr,
        data: &[u8],
        common: &Common,
        outbox: &mut Outbox,
        now: Now,
    ) -> bool {
        // What relayed packets begin with is something else.
        if !data.starts_with(&BINDING_REQUEST) {
            return false;
        }
        let (Some((corner, socket)), Ok(message)) = (self.0.get(&reached.local()), Message::from_bytes(data)) else {
            return false;
        };
        if common.may_hear(client.ip(), now).is_some() {
            let (reply, origin) = bind(&message, client, Some(*corner), common);
            let socket = origin.and_then(|origin| self.0.get(&origin)).map_or(socket, |(_, socket)| socket);
            let route = Route { socket: socket.clone(), from: None, to: client };
            outbox.push(&route, reply.len(), |out| out.extend_from_slice(&reply));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn two_ports_at_two_addresses_are_wanted() {
        let found = |all: &[&str]| {
            let all = addresses(all);
            all.iter().map(|here| Corner::find(*here, &all).map(|corner| corner.other)).collect::<Vec<_>>()
        };
        let square = ["5.0.0.1:1", "5.0.0.2:1", "5.0.0.1:2", "5.0.0.2:2"];
        let opposite = addresses(&["5.0.0.2:2", "5.0.0.1:2", "5.0.0.2:1", "5.0.0.1:1"]);
        assert_eq!(found(&square), opposite.into_iter().map(Some).collect::<Vec<_>>());
        let third = [&square[..], &["5.0.0.3:1", "[2a05::1]:1", "[2a05::1]:2"]].concat();
        assert_eq!(
            found(&third)[4..],
            [None; 3],
            "an address without a second port, and ports without a second address"
        );
        for too_few in [
            &square[..3],
            &["5.0.0.1:1", "5.0.0.2:2"],
            &["0.0.0.0:1", "0.0.0.0:2", "5.0.0.2:1", "5.0.0.2:2"],
            &["10.0.0.5:1", "10.0.0.5:2", "5.0.0.2:1", "5.0.0.2:2"],
        ] {
            assert!(found(too_few).iter().all(Option::is_none), "{too_few:?}");
        }
    }

    #[test]
    fn what_is_asked_for_changes() {
        let [here, other] = addresses(&["5.0.0.1:1", "5.0.0.2:2"])[..] else { unreachable!() };
        let origins = [0, 2, 4, 6].map(|change| Corner { here, other }.origin(change));
        assert_eq!(origins[..], addresses(&["5.0.0.1:1", "5.0.0.1:2", "5.0.0.2:1", "5.0.0.2:2"]));
    }
}
