//! ICE servers whose credentials are made for each client, and made anew before they end.

use std::{fmt, sync::Weak, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::shared::Shared;

/// In so many parts clients are told, one after the other, so that not all answer at once.
pub(super) const PARTS: usize = 64;

/// Shorter ones would be made all the time.
const SHORTEST: Duration = Duration::from_secs(1);

/// The client's sid, and the host by which it came; a JSON array of `RTCIceServer`.
type Make = dyn Fn(&str, Option<&str>) -> String + Send + Sync;

/// Makes ICE servers for clients.
pub(crate) struct Minted {
    make: Box<Make>,
    lifetime: Duration,
}

impl Minted {
    pub(crate) fn new(lifetime: Duration, make: impl Fn(&str, Option<&str>) -> String + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), lifetime: lifetime.max(SHORTEST) }
    }

    pub(super) const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(super) fn for_client(&self, sid: &str, host: Option<&str>) -> String {
        (self.make)(sid, host)
    }
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// Tells every client new ones when half of their time is over.
pub(super) async fn renew(shared: Weak<Shared>, lifetime: Duration) {
    let mut ticks = interval(lifetime / (2 * PARTS as u32));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for part in 0.. {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let Some(minted) = &shared.config.minted else { return };
        let (mut core, now) = shared.core();
        core.renew_ice_servers(now, part, minted);
        core.deliver(now, &shared.counters);
    }
}
