//! The sockets at which peers reach clients.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use tokio::task::AbortHandle;

use crate::{face::Face, policy, session::Session, socket::Socket};

/// Ports that are tried before there is none.
const ATTEMPTS: u32 = 1024;

/// A relayed address.
#[derive(Debug)]
struct Relay {
    socket: Arc<Socket>,
    session: Arc<Session>,
    /// Ends the task that receives.
    receiver: AbortHandle,
}

/// All relayed addresses, as peers see them.
#[derive(Debug)]
pub(crate) struct RelaySockets {
    ports: RangeInclusive<u16>,
    open: RwLock<HashMap<SocketAddr, Relay>>,
    addresses: RwLock<Addresses>,
}

/// The addresses of this machine, which come and go.
#[derive(Debug)]
struct Addresses {
    faces: Vec<Face>,
    interfaces: HashSet<IpAddr>,
}

/// What a packet to a peer goes by.
#[derive(Debug)]
pub(crate) enum Hop {
    /// A client of this server, whose relayed address the peer is.
    Client(Arc<Session>),
    Socket(Arc<Socket>),
}

impl RelaySockets {
    pub(crate) fn new(faces: Vec<Face>, ports: RangeInclusive<u16>) -> Self {
        let addresses = RwLock::new(Addresses { faces, interfaces: HashSet::new() });
        let relays = Self { ports, open: RwLock::default(), addresses };
        if !relays.look_around() {
            tracing::warn!(
                "the addresses of this machine cannot be read: the relay may reach those that it does not use"
            );
        }
        relays
    }

    /// Reads the addresses of the interfaces. If that fails, those of before count.
    pub(crate) fn look_around(&self) -> bool {
        let Ok(interfaces) = if_addrs::get_if_addrs() else { return false };
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        let Addresses { faces, interfaces: known } = &mut *addresses;
        *known = interfaces.iter().map(|interface| interface.ip()).collect();
        for face in faces {
            let before = face.public;
            if face.look_again(known) {
                tracing::info!(%before, now = %face.public, "this machine has another address for relays");
            }
        }
        true
    }

    fn addresses(&self) -> RwLockReadGuard<'_, Addresses> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an interface of this machine has the address.
    pub(crate) fn is_of_machine(&self, address: IpAddr) -> bool {
        self.addresses().interfaces.contains(&policy::reached(address))
    }

    /// The addresses of relays, as peers see them.
    pub(crate) fn public(&self) -> Vec<IpAddr> {
        self.addresses().faces.iter().map(|face| face.public).collect()
    }

    /// Whether there is an address of a family.
    pub(crate) fn serves(&self, v4: bool) -> bool {
        self.addresses().faces.iter().any(|face| face.public.is_ipv4() == v4)
    }

    /// Opens a socket at a free port, from a random one on; its address as peers see it.
    pub(crate) fn bind(&self, v4: bool, even: bool) -> Option<(SocketAddr, Socket)> {
        let Face { local, public, .. } =
            self.addresses().faces.iter().find(|face| face.public.is_ipv4() == v4).copied()?;
        // What peers get comes from the address that they know, if this machine has it.
        let local = if local.is_unspecified() && self.is_of_machine(public) { public } else { local };
        let count = u32::from(*self.ports.end()).checked_sub((*self.ports.start()).into())? + 1;
        let first = getrandom::u32().ok()? % count;
        let ports = (0..count.min(ATTEMPTS)).map(|n| *self.ports.start() + ((first + n) % count) as u16);
        ports
            .filter(|port| !even || port % 2 == 0)
            .find_map(|port| Some((SocketAddr::new(public, port), Socket::bind(SocketAddr::new(local, port)).ok()?)))
    }

    pub(crate) fn insert(
        &self,
        address: SocketAddr,
        socket: Arc<Socket>,
        session: Arc<Session>,
        receiver: AbortHandle,
    ) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(address, Relay { socket, session, receiver });
    }

    pub(crate) fn remove(&self, address: SocketAddr) {
        let removed = self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&address);
        if let Some(relay) = removed {
            relay.receiver.abort();
        }
    }

    /// What leads from a relayed address to a peer. Between two clients of ours nothing leaves the process: our own NAT
    /// might not lead back.
    pub(crate) fn hop(&self, relay: SocketAddr, peer: SocketAddr) -> Option<Hop> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let client = open.get(&peer).map(|there| Hop::Client(there.session.clone()));
        client.or_else(|| open.get(&relay).map(|here| Hop::Socket(here.socket.clone())))
    }

    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        self.open.read().unwrap_or_else(PoisonError::into_inner).contains_key(&address)
    }

    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        let address = policy::reached(address);
        self.addresses().faces.iter().any(|face| face.public == address || face.local == address)
    }
}

impl Drop for RelaySockets {
    fn drop(&mut self) {
        for relay in self.open.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            relay.receiver.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_addresses_of_the_machine_are_known() {
        let relays = RelaySockets::new(Vec::new(), 49152..=65535);
        let knows = |address: &str| relays.is_of_machine(address.parse().unwrap());
        assert!(knows("127.0.0.1") && knows("::ffff:127.0.0.1"));
        assert!(!knows("8.8.8.8") && !knows("0.0.0.0"));
    }

    fn relays(public: &str, ports: RangeInclusive<u16>) -> RelaySockets {
        let public = public.parse().unwrap();
        RelaySockets::new(vec![Face { local: Ipv4Addr::UNSPECIFIED.into(), public, is_own: false }], ports)
    }

    #[tokio::test]
    async fn peers_get_what_comes_from_the_address_that_they_know() {
        let bound = |public: &str| {
            let (address, socket) = relays(public, 49152..=65535).bind(true, false).unwrap();
            assert_eq!((address.ip().to_string(), address.port()), (public.to_owned(), socket.local().port()));
            socket.local().ip().to_string()
        };
        assert_eq!(bound("127.0.0.1"), "127.0.0.1");
        assert_eq!(bound("203.0.113.7"), "0.0.0.0", "that is the NAT's");
    }

    #[tokio::test]
    async fn the_last_free_port_is_found() {
        // An address of loopback that nobody else uses, and ports that the system gives to nobody.
        let relays = relays("127.83.11.7", 20000..=20099);
        let taken = |even| std::iter::from_fn(|| relays.bind(true, even)).collect::<Vec<_>>();
        assert_eq!(taken(false).len(), 100);
        let even = taken(true);
        assert_eq!(even.len(), 50);
        assert!(even.iter().all(|(address, _)| address.port() % 2 == 0));
    }

    #[tokio::test]
    async fn an_address_that_is_gone_is_replaced() {
        let face = Face { local: Ipv4Addr::UNSPECIFIED.into(), public: [192, 0, 2, 77].into(), is_own: true };
        let relays = RelaySockets::new(vec![face], 49152..=65535);
        let public = relays.public();
        assert_ne!(public, [IpAddr::from([192, 0, 2, 77])]);
        assert!(relays.is_of_machine(public[0]), "{public:?}");
        let (address, socket) = relays.bind(true, false).unwrap();
        assert_eq!(address, socket.local());
        assert!(relays.is_own(public[0]) && !relays.is_own([192, 0, 2, 77].into()));
    }
}
