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

/// What the m-line is called in an answer that was foretold.
const FORETOLD_MID: &str = "0";
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
        let sdp = offer.to_sdp_string();
        if !self.open {
            self.mid = mid(&sdp).map(Into::into);
        }
        self.report(ConnectionEvent::OfferCreated { sdp, mids });
        Ok(())
    }

    /// Describes what the answer to an offer will have of its own, whatever is offered.
    pub(super) fn foretell_answer(&mut self) -> Result<(), RtcError> {
        let mut changes = self.rtc.sdp_api();
        // Not the channel of the connection: that cannot be taken back, and is added when there is an offer.
        changes.add_channel(String::new());
        let Some((offer, _)) = changes.apply() else {
            return Err(RtcError::RemoteSdp("there is nothing to foretell".into()));
        };
        let sdp = offer.to_sdp_string();
        let answer = rename(&sdp, mid(&sdp).unwrap_or_default(), FORETOLD_MID);
        let answer = answer.replace("a=setup:actpass", "a=setup:passive");
        self.report(ConnectionEvent::AnswerForetold(answer));
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
        // One that was foretold does not know how we call its m-line.
        let foretold =
            self.mid.as_deref().filter(|own| !self.open && mid(sdp) == Some(FORETOLD_MID) && *own != FORETOLD_MID);
        let renamed = foretold.map(|own| rename(sdp, FORETOLD_MID, own));
        let sdp = renamed.as_deref().unwrap_or(sdp);
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

/// The `mid` of the first m-line.
fn mid(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.trim_end().strip_prefix("a=mid:"))
}

/// A description of one m-line, with another `mid`.
fn rename(sdp: &str, from: &str, to: &str) -> String {
    let renamed = |line: &str| match line.trim_end() {
        mid if mid.strip_prefix("a=mid:") == Some(from) => format!("a=mid:{to}\r\n"),
        group if group.strip_prefix("a=group:BUNDLE ") == Some(from) => format!("a=group:BUNDLE {to}\r\n"),
        _ => line.to_owned(),
    };
    sdp.split_inclusive('\n').map(renamed).collect()
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
