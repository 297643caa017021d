//! The sockets at which peers reach clients.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use tokio::task::AbortHandle;

use crate::{
    face::{Face, is_private},
    policy,
    server::lock,
    session::Session,
    socket::Socket,
};

/// Ports that are tried before there is none.
const ATTEMPTS: u32 = 1024;
/// After which an address is not expected back.
const FOR_GOOD: Duration = Duration::from_secs(10);

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
    gone: Mutex<Gone>,
}

/// Addresses of relays that are of the machine no longer, and since when.
#[derive(Debug, Default)]
struct Gone(HashMap<IpAddr, Instant>);

impl Gone {
    /// Those that do not come back. A link that was lost for a moment takes its addresses with it, too.
    fn for_good(&mut self, gone: &HashSet<IpAddr>, now: Instant) -> HashSet<IpAddr> {
        self.0.retain(|address, _| gone.contains(address));
        let old = gone.iter().filter(|address| now >= *self.0.entry(**address).or_insert(now) + FOR_GOOD);
        old.copied().collect()
    }
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
    /// With the addresses of the interfaces.
    pub(crate) fn new(faces: Vec<Face>, interfaces: HashSet<IpAddr>, ports: RangeInclusive<u16>) -> Self {
        faces.iter().for_each(|face| tell(None, face.public()));
        let addresses = RwLock::new(Addresses { faces, interfaces });
        Self { ports, open: RwLock::default(), addresses, gone: Mutex::default() }
    }

    /// Reads the addresses of the interfaces. If that fails, those of before count.
    pub(crate) fn look_around(&self) {
        let Some(interfaces) = interfaces() else { return };
        self.change(|addresses| {
            addresses.interfaces = interfaces;
            let Addresses { faces, interfaces } = addresses;
            faces.iter_mut().for_each(|face| face.look_again(interfaces));
        });
    }

    /// Takes what the machine's name leads to now.
    pub(crate) fn take_name(&self, found: &[IpAddr]) {
        self.change(|addresses| addresses.faces.iter_mut().for_each(|face| face.take_name(found)));
    }

    /// Whether only the machine's name could tell one of its public addresses.
    pub(crate) fn wants_name(&self) -> bool {
        self.addresses().faces.iter().any(Face::wants_name)
    }

    fn change(&self, change: impl FnOnce(&mut Addresses)) {
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        let before: Vec<_> = addresses.faces.iter().map(Face::public).collect();
        change(&mut addresses);
        for (face, before) in addresses.faces.iter().zip(before).filter(|(face, before)| face.public() != *before) {
            tell(before, face.public());
        }
    }

    fn addresses(&self) -> RwLockReadGuard<'_, Addresses> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an interface of this machine has the address.
    pub(crate) fn is_of_machine(&self, address: IpAddr) -> bool {
        self.addresses().interfaces.contains(&policy::reached(address))
    }

    /// The addresses of relays, as peers see them.
    fn public(&self) -> Vec<IpAddr> {
        self.addresses().faces.iter().filter_map(Face::public).collect()
    }

    /// Whether there is an address of a family.
    pub(crate) fn serves(&self, v4: bool) -> bool {
        self.face(v4).is_some()
    }

    /// What relays of a family listen on, and what peers know them by.
    fn face(&self, v4: bool) -> Option<(IpAddr, IpAddr)> {
        let addresses = self.addresses();
        let face = addresses.faces.iter().find(|face| face.is_v4() == v4)?;
        let public = face.public()?;
        // What peers get comes from the address that they know, if this machine has it.
        let is_here = face.local().is_unspecified() && addresses.interfaces.contains(&public);
        Some((if is_here { public } else { face.local() }, public))
    }

    /// Whose relayed addresses nobody reaches any more, because the machine has lost them.
    pub(crate) fn stranded(&self, now: Instant) -> Vec<Arc<Session>> {
        let public = self.public();
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let addresses: HashSet<_> = open.keys().map(SocketAddr::ip).collect();
        let is_here = |address: &IpAddr| public.contains(address) || self.is_of_machine(*address);
        let gone = addresses.into_iter().filter(|address| !is_here(address)).collect();
        let gone = lock(&self.gone).for_good(&gone, now);
        open.iter()
            .filter(|(address, _)| gone.contains(&address.ip()))
            .map(|(_, relay)| relay.session.clone())
            .collect()
    }

    /// Opens a socket at a free port, from a random one on; its address as peers see it.
    pub(crate) fn bind(&self, v4: bool, even: bool) -> Option<(SocketAddr, Socket)> {
        let (local, public) = self.face(v4)?;
        let count = u32::from(*self.ports.end()).checked_sub((*self.ports.start()).into())? + 1;
        let first = getrandom::u32().ok()? % count;
        let ports = (0..count.min(ATTEMPTS)).map(|n| *self.ports.start() + ((first + n) % count) as u16);
        for port in ports.filter(|port| !even || port % 2 == 0) {
            match Socket::bind(SocketAddr::new(local, port)) {
                Ok(socket) => return Some((SocketAddr::new(public, port), socket)),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    tracing::debug!(%local, %error, "cannot open a socket for a relayed address");
                    return None;
                }
            }
        }
        None
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
        self.addresses().faces.iter().any(|face| face.public() == Some(address) || face.local() == address)
    }
}

/// The addresses of this machine's interfaces, unless they cannot be read.
pub(crate) fn interfaces() -> Option<HashSet<IpAddr>> {
    if_addrs::get_if_addrs().ok().map(|interfaces| interfaces.iter().map(|interface| interface.ip()).collect())
}

/// Logs at which address peers reach clients.
fn tell(before: Option<IpAddr>, now: Option<IpAddr>) {
    let before = before.map(tracing::field::display);
    match now {
        Some(now) if is_private(now) => tracing::warn!(
            before,
            %now,
            "relayed addresses are of a private network, and peers in the internet do not reach them: if they are to, the \
             public address has to be given"
        ),
        Some(now) => tracing::info!(before, %now, "relayed addresses"),
        None => tracing::debug!(before, "there is no address for relays of a family"),
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

    fn relays(given: &[&str], ports: RangeInclusive<u16>) -> RelaySockets {
        let given: Vec<_> = given.iter().map(|given| given.parse().unwrap()).collect();
        let (mut face, interfaces) =
            (Face::new(true, &[Ipv4Addr::UNSPECIFIED.into()], &given).unwrap(), interfaces().unwrap());
        face.look_again(&interfaces);
        RelaySockets::new(vec![face], interfaces, ports)
    }

    #[test]
    fn the_addresses_of_the_machine_are_known() {
        let relays = relays(&[], 49152..=65535);
        relays.look_around();
        let knows = |address: &str| relays.is_of_machine(address.parse().unwrap());
        assert!(knows("127.0.0.1") && knows("::ffff:127.0.0.1"));
        assert!(!knows("8.8.8.8") && !knows("0.0.0.0"));
    }

    #[tokio::test]
    async fn peers_get_what_comes_from_the_address_that_they_know() {
        let bound = |public: &str| {
            let (address, socket) = relays(&[public], 49152..=65535).bind(true, false).unwrap();
            assert_eq!((address.ip().to_string(), address.port()), (public.to_owned(), socket.local().port()));
            socket.local().ip().to_string()
        };
        assert_eq!(bound("127.0.0.1"), "127.0.0.1");
        assert_eq!(bound("203.0.113.7"), "0.0.0.0", "that is the NAT's");
    }

    #[tokio::test]
    async fn the_last_free_port_is_found() {
        // An address of loopback that nobody else uses, and ports that the system gives to nobody.
        let relays = relays(&["127.83.11.7"], 20000..=20099);
        let taken = |even| std::iter::from_fn(|| relays.bind(true, even)).collect::<Vec<_>>();
        assert_eq!(taken(false).len(), 100);
        let even = taken(true);
        assert_eq!(even.len(), 50);
        assert!(even.iter().all(|(address, _)| address.port() % 2 == 0));
    }

    #[test]
    fn an_address_may_come_back_for_a_while() {
        let (mut gone, start) = (Gone::default(), Instant::now());
        let (one, other) = (IpAddr::from([5, 0, 0, 7]), IpAddr::from([5, 0, 0, 8]));
        let mut at = |seconds, all: &[IpAddr]| {
            let found = gone.for_good(&all.iter().copied().collect(), start + Duration::from_secs(seconds));
            found.into_iter().collect::<Vec<_>>()
        };
        assert!(at(0, &[one]).is_empty() && at(9, &[one, other]).is_empty());
        assert_eq!(at(10, &[one, other]), [one]);
        assert!(at(11, &[other]).is_empty() && at(12, &[one, other]).is_empty(), "it was back");
        assert_eq!(at(19, &[one, other]), [other]);
    }

    #[tokio::test]
    async fn without_a_public_address_it_is_one_of_the_machine() {
        let relays = relays(&[], 49152..=65535);
        let public = relays.public();
        assert!(public.len() == 1 && relays.is_of_machine(public[0]), "{public:?}");
        let (address, socket) = relays.bind(true, false).unwrap();
        assert_eq!(address, socket.local());
        assert!(relays.is_own(public[0]) && relays.serves(true) && !relays.serves(false));
    }
}
