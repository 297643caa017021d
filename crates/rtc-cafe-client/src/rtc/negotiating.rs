//! Offers and answers of one connection.

use std::time::Instant;

use rtc_cafe_core::{
    ConnectionEvent,
    wire::{
        limits::MAX_TRACKS,
        peer::{CHANNEL_ID, CHANNEL_LABEL},
    },
};
use str0m::{
    RtcError,
    change::{SdpAnswer, SdpOffer},
    channel::ChannelConfig,
};

use super::{Connection, Output, candidate};

/// The data channel, and the tracks that either side may have, now or before.
const MAX_M_LINES: usize = 1 + 4 * MAX_TRACKS;

impl Connection {
    pub(super) fn create_offer(&mut self, now: Instant) -> Result<(), RtcError> {
        self.take_back(now);
        let mut changes = self.rtc.sdp_api();
        if self.channel.is_none() {
            self.channel = Some(changes.add_channel_with_config(channel_config()));
        }
        self.restarting = std::mem::take(&mut self.restart);
        if self.restarting {
            changes.ice_restart(true);
        }
        self.sending.offer(&mut changes);
        if !changes.has_changes() {
            // What was to change has been taken back, but an offer was promised; this one changes nothing else.
            changes.ice_restart(true);
        }
        let Some((offer, pending)) = changes.apply() else {
            return Err(RtcError::RemoteSdp("there is nothing to offer".into()));
        };
        self.pending = Some(pending);
        let mids = self.sending.mids();
        self.report(ConnectionEvent::OfferCreated { sdp: offer.to_sdp_string(), mids });
        Ok(())
    }

    pub(super) fn accept_offer(&mut self, sdp: &str, now: Instant) -> Result<(), RtcError> {
        let offer = parse(sdp, SdpOffer::from_sdp_string)?;
        candidate::of(sdp).for_each(|candidate| self.moved.learn(candidate));
        self.take_back(now);
        let before = self.rtc.direct_api().local_ice_credentials();
        let answer = self.rtc.sdp_api().accept_offer(offer)?;
        // What the other side has restarted needs no restart of ours.
        self.restart &= self.rtc.direct_api().local_ice_credentials() == before;
        if self.channel.is_none() {
            let mut changes = self.rtc.sdp_api();
            self.channel = Some(changes.add_channel_with_config(channel_config()));
            // The offer has the m-line, so there is nothing to offer in return.
            changes.apply();
        }
        self.report(ConnectionEvent::AnswerCreated(answer.to_sdp_string()));
        Ok(())
    }

    /// Takes back an offer of ours that is not answered, if there is one: what it would have changed is offered again.
    fn take_back(&mut self, now: Instant) {
        if self.pending.take().is_none() {
            return;
        }
        self.sending.take_back();
        self.restart |= std::mem::take(&mut self.restarting);
        // A first offer has reserved the channel, which nothing but beginning anew sets free; nobody has seen anything of
        // the connection yet.
        if !self.open {
            self.rtc = self.settings.rtc(&self.candidates, now);
            self.channel = None;
            self.channel_up = false;
        }
    }

    pub(super) fn accept_answer(&mut self, sdp: &str) -> Result<(), RtcError> {
        let answer = parse(sdp, SdpAnswer::from_sdp_string)?;
        candidate::of(sdp).for_each(|candidate| self.moved.learn(candidate));
        if let Some(pending) = self.pending.take() {
            self.restarting = false;
            self.rtc.sdp_api().accept_answer(pending, answer)?;
            self.outputs.extend(self.sending.settle().into_iter().map(Output::Ready));
        }
        Ok(())
    }
}

fn channel_config() -> ChannelConfig {
    ChannelConfig { label: CHANNEL_LABEL.to_owned(), negotiated: Some(CHANNEL_ID), ..ChannelConfig::default() }
}

/// Reads a description, leaving out candidates that have no address of ours to read.
fn parse<T, E: ToString>(sdp: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, RtcError> {
    // An m-line costs time and stays, so there are only so many.
    if sdp.lines().filter(|line| line.starts_with("m=")).count() > MAX_M_LINES {
        return Err(RtcError::RemoteSdp(format!("more than {MAX_M_LINES} m-lines")));
    }
    parse(&candidate::strip(sdp)).map_err(|error| RtcError::RemoteSdp(error.to_string()))
}
