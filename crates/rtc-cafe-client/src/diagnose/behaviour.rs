//! How the NAT behaves: a STUN server is asked from and at all of its addresses (RFC 5780). Where it has only one, a TURN
//! server of the same machine takes their place: what it relays comes from, and goes to, another port.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use stun_proto::types::{
    attribute::{AttributeType, MappedSocketAddr, RawAttribute, XorMappedAddress},
    message::{BINDING, Message, MessageClass, MessageWriteVec, TransactionId},
    prelude::{MessageWrite, MessageWriteExt},
};
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep, timeout},
};

use super::nat::{Filtering, FilteringReport};
use crate::net::{Endpoint, EndpointEvent, Mapping};

/// So long each request may take, before it is sent again or believed to be lost.
const WAITS: [Duration; 3] = [Duration::from_millis(300), Duration::from_millis(500), Duration::from_millis(700)];
/// So often something is sent through a relay, and so long waited for it: a permission may have to be asked for first.
const AGAIN: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_millis(1500);

const CHANGE_REQUEST: AttributeType = AttributeType::new(0x0003);
const OTHER_ADDRESS: AttributeType = AttributeType::new(0x802C);

/// From where a server is to answer.
#[derive(Debug, Clone, Copy)]
enum From {
    Asked,
    OtherPort,
    OtherAddress,
}

/// What one answer says.
struct Answer {
    mapped: SocketAddr,
    other: Option<SocketAddr>,
}

/// What was found out about the NAT in front of one address.
pub(super) struct Behaviour {
    /// How a socket is seen from several addresses and ports.
    pub(super) mappings: Vec<Mapping>,
    /// Who gets through.
    pub(super) filtering: FilteringReport,
}

/// Looks at the NAT between an address of this machine and a STUN server, with a relay if the server has one address only.
/// It takes some 6 seconds at the most.
pub(super) async fn examine(
    local: IpAddr,
    server: SocketAddr,
    relay: impl Future<Output = Option<Endpoint>>,
) -> Behaviour {
    let unknown = |reason| Behaviour { mappings: Vec::new(), filtering: FilteringReport::unknown(reason) };
    // Each on a socket that has not talked to anybody else: what was sent opens a NAT.
    let (Some(quiet), Some(talking)) = (bind(local).await, bind(local).await) else {
        return unknown("no socket could be bound");
    };
    let Some(answer) = ask(&quiet, server, From::Asked).await else { return unknown("no STUN server answers") };
    let other = answer.other.filter(|other| {
        other.ip() != server.ip()
            && other.is_ipv4() == server.is_ipv4()
            && other.port() != 0
            && !other.ip().is_multicast()
    });
    if let Some(other) = other {
        let filtering = filtering(&quiet, server).await;
        let mappings = mappings(&talking, [server, SocketAddr::new(other.ip(), server.port()), other]).await;
        // If nobody is there, its silence before said nothing.
        if mappings.iter().any(|mapping| mapping.server.ip() == other.ip()) {
            return Behaviour { mappings, filtering };
        }
    }
    match relay.await {
        Some(mut relay) => by_relay(&quiet, server, answer.mapped, &mut relay).await,
        None => unknown("it takes a second address of a STUN server, or a TURN server there, to tell"),
    }
}

async fn bind(local: IpAddr) -> Option<UdpSocket> {
    UdpSocket::bind(SocketAddr::new(local, 0)).await.ok()
}

/// Who gets through: nobody but the server has been sent anything from this socket.
async fn filtering(socket: &UdpSocket, server: SocketAddr) -> FilteringReport {
    FilteringReport::exact(if ask(socket, server, From::OtherAddress).await.is_some() {
        Filtering::EndpointIndependent
    } else if ask(socket, server, From::OtherPort).await.is_some() {
        Filtering::AddressDependent
    } else {
        Filtering::AddressAndPortDependent
    })
}

/// How these see the socket, as far as they answer.
async fn mappings(socket: &UdpSocket, servers: [SocketAddr; 3]) -> Vec<Mapping> {
    let mut mappings = Vec::new();
    for server in servers {
        if let Some(Answer { mapped, .. }) = ask(socket, server, From::Asked).await {
            mappings.extend(mapping(socket, server, mapped));
        }
    }
    mappings
}

fn mapping(socket: &UdpSocket, server: SocketAddr, mapped: SocketAddr) -> Option<Mapping> {
    Some(Mapping { url: String::new(), local: socket.local_addr().ok()?, server, mapped: Some(mapped) })
}

/// What a relayed address tells, as a port of the server to which nothing was sent yet.
async fn by_relay(socket: &UdpSocket, server: SocketAddr, mapped: SocketAddr, relay: &mut Endpoint) -> Behaviour {
    let mut mappings: Vec<_> = mapping(socket, server, mapped).into_iter().collect();
    let addresses = relay.candidates().iter().map(str0m::Candidate::addr);
    let unknown = FilteringReport::unknown;
    let Some(relayed) = addresses.into_iter().find(|relayed| relayed.is_ipv4() == server.is_ipv4()) else {
        return Behaviour { mappings, filtering: unknown("the TURN server has no address of this family") };
    };
    let unasked = exchange(socket, relay, relayed, mapped, Way::In).await.is_some();
    let Some(seen) = exchange(socket, relay, relayed, mapped, Way::Out).await else {
        return Behaviour { mappings, filtering: unknown("the TURN server does not pass on what is sent from here") };
    };
    mappings.extend(mapping(socket, relayed, seen));
    let asked = unasked || exchange(socket, relay, relayed, seen, Way::In).await.is_some();
    let filtering = match (unasked, relayed.ip() == server.ip()) {
        _ if !asked => unknown("the TURN server does not pass on what is sent to here"),
        (true, true) => FilteringReport::at_most(Filtering::AddressDependent),
        (true, false) => FilteringReport::exact(Filtering::EndpointIndependent),
        (false, true) => FilteringReport::exact(Filtering::AddressAndPortDependent),
        (false, false) => FilteringReport::at_most(Filtering::AddressAndPortDependent),
    };
    Behaviour { mappings, filtering }
}

/// Which way something goes: from the relay to the socket, or from there to the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// Sends something until it comes; returns from where, as it seems there.
async fn exchange(
    socket: &UdpSocket,
    relay: &mut Endpoint,
    relayed: SocketAddr,
    mapped: SocketAddr,
    way: Way,
) -> Option<SocketAddr> {
    let token = TransactionId::generate().to_string();
    let (end, mut buffer) = (Instant::now() + PATIENCE, [0; 256]);
    let mut again = tokio::time::interval(AGAIN);
    loop {
        tokio::select! {
            _ = again.tick() => match way {
                Way::In => relay.send(relayed, mapped, token.as_bytes()),
                Way::Out => drop(socket.send_to(token.as_bytes(), relayed).await),
            },
            event = relay.recv() => match event {
                EndpointEvent::Datagram { remote, data, .. } if data == token.as_bytes() => return Some(remote),
                _ => {}
            },
            received = socket.recv_from(&mut buffer) => match received {
                Ok((len, from)) if buffer[..len] == *token.as_bytes() => return Some(from),
                // An error of ICMP, or a late answer.
                _ => sleep(Duration::from_millis(1)).await,
            },
            () = tokio::time::sleep_until(end) => return None,
        }
    }
}

/// Sends something through a relay to itself; whether it comes back.
pub(super) async fn echo(relay: &mut Endpoint, relayed: SocketAddr) -> bool {
    let token = TransactionId::generate().to_string();
    let mut again = tokio::time::interval(AGAIN);
    let echoed = async {
        loop {
            tokio::select! {
                _ = again.tick() => relay.send(relayed, relayed, token.as_bytes()),
                event = relay.recv() => match event {
                    EndpointEvent::Datagram { data, .. } if data == token.as_bytes() => return,
                    _ => {}
                },
            }
        }
    };
    timeout(2 * PATIENCE, echoed).await.is_ok()
}

/// Asks a server how it sees the socket, and to answer from there.
async fn ask(socket: &UdpSocket, server: SocketAddr, from: From) -> Option<Answer> {
    let mut request = Message::builder_request(BINDING, MessageWriteVec::new());
    let id = request.transaction_id();
    // Change port: bit 1; change address: bit 2 (RFC 5780 section 7.2).
    let change = match from {
        From::Asked => None,
        From::OtherPort => Some([0, 0, 0, 2]),
        From::OtherAddress => Some([0, 0, 0, 6]),
    };
    if let Some(change) = &change {
        request.add_attribute(&RawAttribute::new(CHANGE_REQUEST, change)).ok()?;
    }
    let request = request.finish();
    for wait in WAITS {
        // Where there is no way, there may be one later.
        let _ = socket.send_to(&request, server).await;
        if let Ok(answer) = timeout(wait, answer_to(socket, id)).await {
            return answer;
        }
    }
    None
}

/// The answer to a request, from wherever it comes; `None` if it is a refusal.
async fn answer_to(socket: &UdpSocket, id: TransactionId) -> Option<Answer> {
    let mut buffer = [0; 1500];
    loop {
        let Ok((len, _)) = socket.recv_from(&mut buffer).await else {
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        let Ok(message) = Message::from_bytes(&buffer[..len]) else { continue };
        if message.transaction_id() != id || !message.is_response() {
            continue;
        }
        if !message.has_class(MessageClass::Success) {
            return None;
        }
        let mapped = message.attribute::<XorMappedAddress>().ok()?.addr(id);
        let other = message.raw_attribute(OTHER_ADDRESS);
        let other = other.and_then(|raw| MappedSocketAddr::from_raw(&raw).ok()).map(|other| other.addr());
        return Some(Answer { mapped, other });
    }
}
