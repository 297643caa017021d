//! What the network has for the driver, kept apart from the endpoint that it came from.

use std::net::SocketAddr;

use crate::net::EndpointEvent;

/// What came from the network, once the endpoint may be used again.
pub(super) enum Found {
    /// A datagram, which lies in the driver's buffer.
    Datagram {
        local: SocketAddr,
        remote: SocketAddr,
    },
    Event(EndpointEvent<'static>),
}

impl Found {
    pub(super) fn of(event: EndpointEvent<'_>, buffer: &mut Vec<u8>) -> Self {
        Self::Event(match event {
            EndpointEvent::Datagram { local, remote, data } => {
                buffer.clear();
                buffer.extend_from_slice(data);
                return Self::Datagram { local, remote };
            }
            EndpointEvent::Candidate(candidate) => EndpointEvent::Candidate(candidate),
            EndpointEvent::CandidateLost(candidate) => EndpointEvent::CandidateLost(candidate),
            EndpointEvent::GatheringComplete => EndpointEvent::GatheringComplete,
            EndpointEvent::InterfacesChanged => EndpointEvent::InterfacesChanged,
            EndpointEvent::ServerFailed { url, reason } => EndpointEvent::ServerFailed { url, reason },
        })
    }
}
