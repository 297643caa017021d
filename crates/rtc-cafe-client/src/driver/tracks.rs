//! Tracks in the driver: packets of our own to those who want them, those of peers to whoever reads them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use rtc_cafe_core::{ConnectionId, Sid, Source, TrackId};

use super::Driver;
use crate::{
    media::{Codec, RtpPacket},
    shared::Local,
    track::RemoteTrack,
};

/// Packets since the last keyframe that are kept for those who begin to receive a track.
const MAX_CACHED: usize = 4096;
/// How they are caught up with: so many bytes each time. All at once would be more than sockets hold.
const CATCH_UP_BYTES: usize = 32 << 10;
const CATCH_UP_EVERY: Duration = Duration::from_millis(5);

/// Who gets which of our tracks.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    receivers: BTreeMap<TrackId, BTreeSet<ConnectionId>>,
    /// What has come since the last keyframe, of tracks that cannot make one when it is asked for.
    cached: BTreeMap<TrackId, (u64, Vec<RtpPacket>)>,
    /// What somebody who has just begun to receive has yet to catch up with.
    behind: BTreeMap<(ConnectionId, TrackId), Behind>,
    /// When the next of it is sent.
    pub(super) catch_up: Option<Instant>,
}

#[derive(Debug)]
struct Behind {
    feed: (u64, Codec),
    packets: VecDeque<RtpPacket>,
}

impl Driver {
    /// A peer has asked for a track of ours.
    pub(super) fn start_sending(&mut self, id: ConnectionId, track: TrackId) {
        let Some(local) = self.shared.lock().tracks.get(&track).cloned() else { return };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.add_track(track, local.feed.codec);
        }
    }

    /// Both sides are ready for a track of ours.
    pub(super) fn begin_sending(&mut self, id: ConnectionId, track: TrackId) {
        let Some(local) = self.shared.lock().tracks.get(&track).cloned() else { return };
        let receivers = self.outgoing.receivers.entry(track).or_default();
        receivers.insert(id);
        local.feed.set_listeners(receivers.len());
    }

    /// A peer gets a track no longer.
    pub(super) fn stop_sending(&mut self, id: ConnectionId, track: &TrackId) {
        let Some(receivers) = self.outgoing.receivers.get_mut(track) else { return };
        receivers.remove(&id);
        self.outgoing.behind.remove(&(id, track.clone()));
        if let Some(local) = self.shared.lock().tracks.get(track) {
            local.feed.set_listeners(receivers.len());
        } else {
            self.outgoing.cached.remove(track);
        }
        if receivers.is_empty() {
            self.outgoing.receivers.remove(track);
        }
    }

    pub(super) fn stop_sending_all(&mut self, id: ConnectionId) {
        for track in self.outgoing.receivers.keys().cloned().collect::<Vec<_>>() {
            self.stop_sending(id, &track);
        }
    }

    /// A packet of one of our tracks goes to everybody who gets it. Who gets the first is given what came since the last
    /// keyframe, or the source is asked for one.
    pub(super) fn send_packet(&mut self, track: &TrackId, feed: u64, packet: RtpPacket, keyframe: bool, now: Instant) {
        let Some(local) = self.shared.lock().tracks.get(track).filter(|local| local.feed.id == feed).cloned() else {
            return;
        };
        self.outgoing.keep(track, feed, &local, &packet, keyframe);
        let Some(receivers) = self.outgoing.receivers.get(track) else { return };
        let feed = (feed, local.feed.codec);
        for id in receivers {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            let key = (*id, track.clone());
            if let Some(behind) = self.outgoing.behind.get_mut(&key).filter(|behind| behind.feed == feed) {
                behind.packets.push_back(packet.clone());
                continue;
            }
            if connection.begins(track, feed) {
                let cached = self.outgoing.cached.get(track).map_or(&[][..], |(_, packets)| packets);
                if !cached.is_empty() {
                    let behind = Behind { feed, packets: cached.iter().cloned().collect() };
                    self.outgoing.behind.insert(key, behind);
                    self.outgoing.catch_up.get_or_insert(now);
                    continue;
                }
                local.feed.want_keyframe();
            }
            connection.write(track, feed, &packet, now);
            self.dirty.insert(*id);
        }
    }

    /// Sends the next of what those have missed who began to receive in the middle.
    pub(super) fn catch_up(&mut self, now: Instant) {
        if self.outgoing.catch_up.is_none_or(|at| at > now) {
            return;
        }
        self.outgoing.behind.retain(|(id, track), behind| {
            let Some(connection) = self.connections.get_mut(id) else { return false };
            let mut bytes = 0;
            while bytes < CATCH_UP_BYTES {
                let Some(packet) = behind.packets.pop_front() else { break };
                bytes += packet.payload.len();
                connection.write(track, behind.feed, &packet, now);
            }
            self.dirty.insert(*id);
            !behind.packets.is_empty()
        });
        self.outgoing.catch_up = (!self.outgoing.behind.is_empty()).then(|| now + CATCH_UP_EVERY);
    }

    /// A peer's track has arrived.
    pub(super) fn receive(&mut self, sid: &Sid, id: &TrackId, source: Source) -> RemoteTrack {
        let mut state = self.shared.lock();
        let mut definitions = state.core.peer_track_definitions();
        let definition = definitions.find(|(peer, track, _)| (*peer, *track) == (sid, id));
        let kind = definition.map(|(_, _, definition)| definition.kind);
        drop(definitions);
        // It may be gone again, and then it does not matter.
        let kind = kind.unwrap_or(rtc_cafe_core::TrackKind::Video);
        let track = RemoteTrack::new(source.clone(), kind, self.input.clone());
        if let Some(old) = state.remote.insert(source, track.clone()) {
            old.end();
        }
        track
    }

    /// Ends the tracks of peers that the core does not know any more.
    pub(super) fn end_removed(&mut self) {
        let mut state = self.shared.lock();
        let live: BTreeSet<Source> = state.core.peer_tracks().map(|(_, _, source)| source).collect();
        state.remote.retain(|source, track| {
            let lives = live.contains(source);
            if !lives {
                track.end();
            }
            lives
        });
    }
}

impl Outgoing {
    /// Forgets what was kept of tracks that are gone.
    pub(super) fn forget_removed(&mut self, tracks: &BTreeMap<TrackId, Local>) {
        if !self.cached.is_empty() {
            self.cached.retain(|track, _| tracks.contains_key(track));
        }
    }

    fn keep(&mut self, track: &TrackId, feed: u64, local: &Local, packet: &RtpPacket, keyframe: bool) {
        if !local.cached {
            self.cached.remove(track);
            return;
        }
        let (kept_of, packets) = self.cached.entry(track.clone()).or_default();
        if keyframe || *kept_of != feed {
            packets.clear();
            *kept_of = feed;
        }
        if keyframe || (!packets.is_empty() && packets.len() < MAX_CACHED) {
            packets.push(packet.clone());
        } else {
            // A part of it would be of no use.
            packets.clear();
        }
    }
}
