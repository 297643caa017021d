//! The sockets at which peers reach clients.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::task::AbortHandle;

use crate::{policy, session::Session, socket::Socket};

/// Ports that are tried before there is none.
const ATTEMPTS: usize = 64;

/// An address of the server, as it is here and as peers see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Face {
    pub(crate) local: IpAddr,
    pub(crate) public: IpAddr,
}

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
    faces: Vec<Face>,
    ports: RangeInclusive<u16>,
    open: RwLock<HashMap<SocketAddr, Relay>>,
    /// The addresses of this machine's interfaces.
    machine: RwLock<HashSet<IpAddr>>,
}

impl RelaySockets {
    pub(crate) fn new(faces: Vec<Face>, ports: RangeInclusive<u16>) -> Self {
        let relays = Self { faces, ports, open: RwLock::default(), machine: RwLock::default() };
        if !relays.look_around() {
            tracing::warn!(
                "the addresses of this machine cannot be read: the relay may reach those that it does not use"
            );
        }
        relays
    }

    /// Reads the addresses of the interfaces, which come and go. If that fails, those of before count.
    pub(crate) fn look_around(&self) -> bool {
        let Ok(interfaces) = if_addrs::get_if_addrs() else { return false };
        let found = interfaces.iter().map(|interface| interface.ip()).collect();
        *self.machine.write().unwrap_or_else(PoisonError::into_inner) = found;
        true
    }

    /// Whether an interface of this machine has the address.
    pub(crate) fn is_of_machine(&self, address: IpAddr) -> bool {
        self.machine.read().unwrap_or_else(PoisonError::into_inner).contains(&policy::reached(address))
    }

    /// Whether there is an address of a family.
    pub(crate) fn serves(&self, v4: bool) -> bool {
        self.faces.iter().any(|face| face.public.is_ipv4() == v4)
    }

    /// Opens a socket at a random port that is free; its address as peers see it.
    pub(crate) fn bind(&self, v4: bool, even: bool) -> Option<(SocketAddr, Socket)> {
        let face = self.faces.iter().find(|face| face.public.is_ipv4() == v4)?;
        // What peers get comes from the address that they know, if this machine has it.
        let is_here = face.local.is_unspecified() && self.is_of_machine(face.public);
        let local = if is_here { face.public } else { face.local };
        let count = u32::from(*self.ports.end()).checked_sub((*self.ports.start()).into())? + 1;
        (0..ATTEMPTS).find_map(|_| {
            let port = *self.ports.start() + (getrandom::u32().ok()? % count) as u16;
            let port = if even { port.checked_add(port % 2).filter(|port| self.ports.contains(port))? } else { port };
            Some((SocketAddr::new(face.public, port), Socket::bind(SocketAddr::new(local, port)).ok()?))
        })
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

    pub(crate) fn socket(&self, address: SocketAddr) -> Option<Arc<Socket>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(&address).map(|relay| relay.socket.clone())
    }

    /// Whose a relayed address is.
    pub(crate) fn session(&self, address: SocketAddr) -> Option<Arc<Session>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(&address).map(|relay| relay.session.clone())
    }

    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        self.open.read().unwrap_or_else(PoisonError::into_inner).contains_key(&address)
    }

    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        let address = policy::reached(address);
        self.faces.iter().any(|face| face.public == address || face.local == address)
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

    #[tokio::test]
    async fn peers_get_what_comes_from_the_address_that_they_know() {
        let bound = |public: &str| {
            let face = Face { local: Ipv4Addr::UNSPECIFIED.into(), public: public.parse().unwrap() };
            let (address, socket) = RelaySockets::new(vec![face], 49152..=65535).bind(true, false).unwrap();
            assert_eq!((address.ip(), address.port()), (face.public, socket.local().port()));
            socket.local().ip().to_string()
        };
        assert_eq!(bound("127.0.0.1"), "127.0.0.1");
        assert_eq!(bound("203.0.113.7"), "0.0.0.0", "that is the NAT's");
    }
}
