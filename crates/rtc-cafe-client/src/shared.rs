//! What the handles of a client and its driver share: the core, behind a lock that is only ever held for a moment.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use rtc_cafe_core::{ApiVersion, Client as Core, Source, Time, TrackId};
use tokio::sync::{Notify, watch};

use crate::{
    builder::RtcConfig,
    track::{Feed, RemoteTrack},
};

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Something waits for the driver.
    pub(crate) work: Notify,
    /// There may be room for messages again, or a peer is gone.
    pub(crate) room: Notify,
    /// Whether the driver is at its end.
    pub(crate) ended: watch::Sender<bool>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) core: Core,
    start: Instant,
    /// The tracks of our own, by their ids.
    pub(crate) tracks: BTreeMap<TrackId, Local>,
    /// The tracks of peers that have arrived.
    pub(crate) remote: BTreeMap<Source, RemoteTrack>,
    pub(crate) api_version: ApiVersion,
    pub(crate) rtc_config: RtcConfig,
    /// Whether the application has named ICE servers, so that those of the signalling server do not count.
    pub(crate) own_ice_servers: bool,
    /// The application says that the network has changed.
    pub(crate) network_changed: bool,
    /// Since when the client is being closed.
    pub(crate) closing: Option<Instant>,
}

/// A track of our own.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) feed: Arc<Feed>,
    pub(crate) cached: bool,
}

impl Shared {
    pub(crate) fn new(core: Core, api_version: ApiVersion, rtc_config: RtcConfig) -> Self {
        let state = State {
            core,
            start: Instant::now(),
            tracks: BTreeMap::new(),
            remote: BTreeMap::new(),
            api_version,
            own_ice_servers: !rtc_config.ice_servers.is_empty() || !rtc_config.servers_of_signaller,
            rtc_config,
            network_changed: false,
            closing: None,
        };
        Self { state: Mutex::new(state), work: Notify::new(), room: Notify::new(), ended: watch::Sender::new(false) }
    }

    /// The core cannot panic, and nothing else is done under the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the core, and has the driver see to what comes of it.
    pub(crate) fn with<T>(&self, action: impl FnOnce(&mut State, Time) -> T) -> T {
        let mut state = self.lock();
        let now = state.time(Instant::now());
        let result = action(&mut state, now);
        let works = state.core.has_output();
        drop(state);
        if works {
            self.work.notify_one();
        }
        result
    }

    /// Closes the client, if it is not closed yet.
    pub(crate) fn close(&self) {
        self.lock().closing.get_or_insert_with(Instant::now);
        self.work.notify_one();
        self.room.notify_waiters();
    }
}

impl State {
    /// The core's time.
    pub(crate) fn time(&self, now: Instant) -> Time {
        let millis = now.saturating_duration_since(self.start).as_millis();
        Time::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// When a moment of the core's time is.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.start + std::time::Duration::from_millis(time.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use rtc_cafe_core::Config;

    use super::*;

    #[test]
    fn the_driver_is_woken_for_work_only() {
        let core = Core::new(Config::default(), [1; 32]);
        let shared = Shared::new(core, ApiVersion::LATEST, RtcConfig::default());
        assert!(shared.with(|state, _| state.core.has_room(10, &rtc_cafe_core::Recipients::All)).unwrap());
        assert!(shared.work.notified().now_or_never().is_none(), "looking is no work");
        shared.with(|state, now| state.core.handle_signaller_state(now, rtc_cafe_core::SignallerState::Connected));
        assert!(shared.work.notified().now_or_never().is_some());
    }

    #[test]
    fn debug_shows_no_messages() {
        let shared = Shared::new(Core::new(Config::default(), [7; 32]), ApiVersion::LATEST, RtcConfig::default());
        assert!(!format!("{shared:?}").contains("rng"));
    }
}
