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
