//! What is to be sent, put together by the way it goes.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::socket::Socket;

/// Buffers that are kept for the next time.
const SPARE: usize = 64;

/// Datagrams that are to be sent. What goes the same way keeps its order.
#[derive(Default)]
pub(crate) struct Outbox {
    flows: Vec<Flow>,
    spare: Vec<Vec<u8>>,
}

/// Datagrams that go the same way, in one call of the system.
struct Flow {
    route: Route,
    datagrams: Vec<u8>,
    /// How long each is.
    length: usize,
    /// The last one was shorter.
    is_over: bool,
}

/// From where to where.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) socket: Arc<Socket>,
    /// Where the socket has several addresses.
    pub(crate) from: Option<IpAddr>,
    pub(crate) to: SocketAddr,
}

impl Route {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.socket, &other.socket) && self.to == other.to && self.from == other.from
    }
}

impl Outbox {
    /// A datagram that goes this way; the function appends as many bytes as were said.
    pub(crate) fn push(&mut self, route: &Route, length: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let last =
            self.flows.iter().rposition(|flow| flow.route.is(route)).filter(|last| self.flows[*last].takes(length));
        let at = last.unwrap_or_else(|| {
            let datagrams = self.spare.pop().unwrap_or_default();
            self.flows.push(Flow { route: route.clone(), datagrams, length, is_over: false });
            self.flows.len() - 1
        });
        let flow = &mut self.flows[at];
        flow.is_over = length < flow.length;
        write(&mut flow.datagrams);
    }

    /// Sends all of it; how many datagrams were lost, because a socket did not take them.
    pub(crate) fn send(&mut self) -> usize {
        let Self { flows, spare } = self;
        let sent = flows.drain(..).map(|Flow { route, mut datagrams, length, .. }| {
            let lost = route.socket.send(route.from, route.to, &datagrams, length);
            datagrams.clear();
            if spare.len() < SPARE {
                spare.push(datagrams);
            }
            lost
        });
        sent.sum()
    }
}

impl Flow {
    fn takes(&self, other: usize) -> bool {
        !self.is_over && self.route.socket.takes_another(self.datagrams.len(), self.length, other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Inbox;

    fn bind() -> Arc<Socket> {
        Arc::new(Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap())
    }

    /// What a socket gets, until it has so many.
    async fn received(socket: &Socket, count: usize) -> Vec<Vec<u8>> {
        let (mut inbox, mut all) = (Inbox::new(), Vec::new());
        while all.len() < count {
            socket.readable().await.unwrap();
            if socket.receive(&mut inbox).is_ok() {
                all.extend(inbox.datagrams().map(|datagram| datagram.data.to_vec()));
            }
        }
        all
    }

    #[tokio::test]
    async fn each_datagram_arrives_in_its_order() {
        let (socket, one, other) = (bind(), bind(), bind());
        let mut outbox = Outbox::default();
        let lengths = [100, 100, 40, 100, 0, 100, 1, 1400, 1400, 1232, 1232, 1200, 1200, 9000, 0, 7];
        for (number, length) in lengths.into_iter().enumerate() {
            for to in [&one, &other] {
                let route = Route { socket: socket.clone(), from: None, to: to.local() };
                outbox.push(&route, length, |out| out.extend(vec![number as u8; length]));
            }
        }
        assert!(outbox.flows.len() < 2 * lengths.len(), "some go together");
        assert_eq!(outbox.send(), 0);
        let all: Vec<_> = lengths.iter().enumerate().map(|(number, length)| vec![number as u8; *length]).collect();
        assert_eq!(received(&one, lengths.len()).await, all);
        assert_eq!(received(&other, lengths.len()).await, all);
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_counted_and_holds_nobody_up() {
        let (socket, one) = (bind(), bind());
        let mut outbox = Outbox::default();
        for to in ["127.0.0.1:0".parse().unwrap(), one.local(), "255.255.255.255:9".parse().unwrap()] {
            let route = Route { socket: socket.clone(), from: None, to };
            (0..3).for_each(|number| outbox.push(&route, 9, |out| out.extend([number; 9])));
        }
        assert_eq!(outbox.send(), 6);
        assert_eq!(received(&one, 3).await, [[0; 9], [1; 9], [2; 9]]);
        assert!(socket.takes_another(9, 9, 9), "they still go together");
    }
}
