//! The relay: whatever clients and peers send, nobody reaches whom he may not, and nothing is left.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use rtc_cafe_turn::{
    Limits,
    fuzzing::{Draft, Sent, Server},
};

use crate::script;

const ALLOCATIONS: usize = 6;
const PER_ID: usize = 2;
const PERMISSIONS: usize = 3;
const ANSWERS: usize = 20;
/// Attributes that are written otherwise: the signature, and the peers.
const OWN: [u16; 4] = [0x0008, 0x0012, 0x001c, 0x8028];
/// RFC 8656 section 9.
const PERMISSION: u64 = 300;
/// An answer is at most so much longer than its request.
const MORE: usize = 200;
const CREATE_PERMISSION: u16 = 8;
const CHANNEL_BIND: u16 = 9;

/// Runs a script of `1!3 19=11000000` (the second client asks, with credentials, for method 3, with an attribute of type
/// 0x19), `1?1` (the same without credentials), `1-6 @8.8.8.8:5000 13=6869` (an indication; `@` is XOR-PEER-ADDRESS, and `@$0`
/// the first relayed address), `1:40000002` (these bytes), `1<8.8.8.8:5000 6869` (a peer sends bytes to the second relayed
/// address) and `~9` (nine seconds pass).
pub fn turn(data: &[u8]) {
    let script = String::from_utf8_lossy(data);
    let mut world = World::new();
    script::steps(&script).for_each(|step| world.step(step));
    world.end();
}

struct World {
    server: Server,
    now: u64,
    /// Until when data may pass between a client and a peer, kept apart from the server's own books.
    permitted: BTreeMap<(SocketAddr, IpAddr), u64>,
    /// Whose a relayed address is.
    owners: BTreeMap<SocketAddr, SocketAddr>,
    /// Answers for those who have not shown credentials.
    unsigned: BTreeMap<IpAddr, usize>,
}

impl World {
    fn new() -> Self {
        let mut limits = Limits::default();
        limits.allocations = ALLOCATIONS;
        limits.allocations_per_id = PER_ID;
        limits.permissions = PERMISSIONS;
        limits.answers_per_address = ANSWERS;
        let (permitted, owners, unsigned) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { server: Server::new(limits), now: 0, permitted, owners, unsigned }
    }

    fn step(&mut self, step: &str) {
        if let Some(rest) = step.strip_prefix('~') {
            self.pass(u64::from(script::number(rest).0 % 1000));
            return;
        }
        let (number, rest) = script::number(step);
        // Two ports of each of five addresses.
        let client = SocketAddr::from(([198, 51, 100, (number % 10 / 2) as u8], 4000 + number as u16 % 2));
        let (kind, rest) = script::first(rest);
        match kind {
            ':' => self.send(client, &bytes(rest), None),
            '!' | '?' | '-' => {
                let draft = self.draft(kind, number, rest);
                if let Some(data) = self.server.write(client, &draft) {
                    self.send(client, &data, Some(&draft));
                }
            }
            '<' => self.hear(number as usize, rest),
            _ => {}
        }
        self.check_books();
    }

    fn draft(&self, kind: char, number: u32, text: &str) -> Draft {
        let (method, rest) = script::word(text);
        let mut draft = Draft::default();
        draft.method = u16::from_str_radix(method, 16).unwrap_or(1);
        draft.is_indication = kind == '-';
        draft.signed_by = (kind == '!').then(|| format!("id{}", number % 3));
        for word in rest.split(' ') {
            match (word.strip_prefix('@'), word.split_once('=')) {
                (Some(peer), _) => draft.peers.extend(self.address(peer)),
                (_, Some((kind, value))) => {
                    let kind = u16::from_str_radix(kind, 16).unwrap_or_default();
                    if !OWN.contains(&kind) {
                        draft.attributes.push((kind, bytes(value)));
                    }
                }
                _ => {}
            }
        }
        draft
    }

    fn address(&self, text: &str) -> Option<SocketAddr> {
        match text.strip_prefix('$') {
            Some(number) => self.server.relays().get(script::number(number).0 as usize).copied(),
            None => text.parse().ok(),
        }
    }

    fn send(&mut self, client: SocketAddr, data: &[u8], draft: Option<&Draft>) {
        let before = self.server.relays().to_vec();
        match self.server.handle(client, data) {
            Some(Sent::Reply(reply)) => self.check_reply(client, data, &reply, draft),
            Some(Sent::ToPeer { relay, peer }) => {
                assert_eq!(self.owners.get(&relay), Some(&client), "{relay} is another's");
                assert!(self.may_pass(client, peer), "{peer} was not permitted");
            }
            Some(other) => panic!("{other:?} is of a kind that this target does not know"),
            None => {}
        }
        for relay in self.server.relays() {
            if !before.contains(relay) {
                assert!(draft.is_some_and(|draft| draft.signed_by.is_some()), "{relay} is for somebody unknown");
                self.owners.insert(*relay, client);
            }
        }
        self.forget();
    }

    fn check_reply(&mut self, client: SocketAddr, data: &[u8], reply: &[u8], draft: Option<&Draft>) {
        let class = |data: &[u8]| data[0] & 0xc1 | data[1] & 0x10;
        assert_eq!(class(data), 0, "{} is no request, and is answered", data.escape_ascii());
        assert_eq!((&reply[4..20], class(reply) & 1), (&data[4..20], 1), "an answer is one to its request");
        assert!(reply.len() <= data.len() + MORE, "{} bytes answer {}", reply.len(), data.len());
        let has_credentials = draft.is_some_and(|draft| draft.signed_by.is_some());
        if !has_credentials {
            let heard = self.unsigned.entry(client.ip()).or_default();
            *heard += 1;
            assert!(*heard <= ANSWERS * (self.now as usize + 1), "{client} is flooded with answers");
        }
        let Some(draft) = draft.filter(|_| class(reply) == 1 && has_credentials) else { return };
        if [CREATE_PERMISSION, CHANNEL_BIND].contains(&draft.method) {
            for peer in &draft.peers {
                self.permitted.insert((client, peer.ip()), self.now + PERMISSION);
            }
        }
    }

    /// A peer sends to a relayed address.
    fn hear(&mut self, number: usize, text: &str) {
        let (peer, data) = script::word(text);
        let (Some(relay), Some(peer)) = (self.server.relays().get(number).copied(), self.address(peer)) else { return };
        let data = bytes(data);
        for (client, length) in self.server.handle_peer(relay, peer, &data) {
            assert_eq!(self.owners.get(&relay), Some(&client), "{client} hears what is for another");
            assert!(self.permitted.get(&(client, peer.ip())).is_some_and(|end| self.now < *end), "{peer} is heard");
            assert!(length <= data.len() + 64);
        }
    }

    fn may_pass(&self, client: SocketAddr, peer: SocketAddr) -> bool {
        let is_permitted = self.permitted.get(&(client, peer.ip())).is_some_and(|end| self.now < *end);
        let is_refused = match peer.ip() {
            IpAddr::V4(ip) => {
                ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.octets()[0] == 0
            }
            IpAddr::V6(ip) => {
                ip.is_loopback() || ip.is_unique_local() || ip.to_ipv4_mapped().is_some() || ip.is_unspecified()
            }
        };
        let is_here = peer.ip().to_string().starts_with("9.9.9.");
        is_permitted && !is_refused && (!is_here || self.server.relays().contains(&peer))
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds;
        self.server.pass(seconds);
        self.forget();
        self.check_books();
    }

    /// Forgets relayed addresses that are closed, and what their clients might do.
    fn forget(&mut self) {
        let open = self.server.relays();
        self.owners.retain(|relay, _| open.contains(relay));
        let Self { owners, permitted, .. } = self;
        permitted.retain(|(client, _), _| owners.values().any(|owner| owner == client));
    }

    fn check_books(&self) {
        let (relays, stats) = (self.server.relays(), self.server.stats());
        let clients: std::collections::BTreeSet<_> = self.owners.values().collect();
        assert_eq!((stats.allocations.udp, stats.allocations.sum()), (clients.len(), clients.len()), "{stats:?}");
        assert_eq!(relays.len(), self.owners.len());
        assert!(clients.len() <= ALLOCATIONS && relays.len() <= 2 * clients.len());
    }

    fn end(mut self) {
        self.pass(4000);
        assert!(self.server.relays().is_empty(), "{:?} are still there", self.server.relays());
    }
}

/// Bytes written in hexadecimal, as far as they are.
fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map_while(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}
