//! Who receives a file, and how far each of them is. It does nothing itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rtc_cafe_wire::Sid;

use super::{
    Failure,
    protocol::{FileMessage, MAX_REASON, Offer, PART, WINDOW},
};
use crate::text::clean_line;

/// How long a receiver may say nothing while it is its turn to.
const SILENCE: Duration = Duration::from_secs(60);

/// How far a receiver is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has been told of the file.
    Offered,
    /// Its user is being asked.
    Asking,
    /// It gets the file.
    Receiving {
        /// What was sent.
        sent: u64,
        /// What has arrived.
        acknowledged: u64,
        /// When it said something last.
        heard: Instant,
    },
    /// It was lost on the way, and may come back.
    Lost {
        /// What had arrived.
        acknowledged: u64,
        /// When it was lost.
        since: Instant,
    },
    /// It has the file.
    Confirmed,
    /// It does not want it.
    Declined,
    /// It could not take it, and said why.
    Failed(String),
}

/// A part to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// To whom.
    pub(crate) sid: Sid,
    /// Where it begins.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) length: usize,
}

/// A file that is being sent to everybody who takes it.
#[derive(Debug)]
pub(crate) struct Sending {
    offer: Offer,
    wanted: usize,
    patience: Duration,
    receivers: BTreeMap<Sid, Stage>,
    /// When somebody declined or failed last.
    failed_at: Option<Instant>,
    /// Who got a part last, so that they take turns.
    last: Option<Sid>,
}

impl Sending {
    /// `wanted`: how many must confirm. `patience`: how long one who was lost may take to come back, or another to come.
    pub(crate) const fn new(offer: Offer, wanted: usize, patience: Duration) -> Self {
        Self { offer, wanted, patience, receivers: BTreeMap::new(), failed_at: None, last: None }
    }

    /// What is sent.
    pub(crate) const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Everybody, and how far they are.
    pub(crate) const fn receivers(&self) -> &BTreeMap<Sid, Stage> {
        &self.receivers
    }

    /// Whether somebody is at it.
    pub(crate) fn is_busy(&self) -> bool {
        let busy = |stage: &Stage| matches!(stage, Stage::Asking | Stage::Receiving { .. } | Stage::Lost { .. });
        self.receivers.values().any(busy)
    }

    /// A peer is there, and is to be told of the file.
    pub(crate) fn connected(&mut self, sid: &Sid) {
        let stage = self.receivers.entry(sid.clone()).or_insert(Stage::Offered);
        if matches!(stage, Stage::Declined | Stage::Failed(_)) {
            *stage = Stage::Offered;
        }
    }

    /// A peer is gone.
    pub(crate) fn disconnected(&mut self, sid: &Sid, now: Instant) {
        match self.receivers.get_mut(sid) {
            Some(stage @ Stage::Receiving { .. }) => {
                let Stage::Receiving { acknowledged, .. } = *stage else { return };
                *stage = Stage::Lost { acknowledged, since: now };
            }
            Some(Stage::Offered | Stage::Asking) => {
                self.receivers.remove(sid);
            }
            _ => {}
        }
    }

    /// A peer has another sid.
    pub(crate) fn reassigned(&mut self, old: &Sid, sid: &Sid) {
        if let Some(stage) = self.receivers.remove(old) {
            self.receivers.insert(sid.clone(), stage);
        }
    }

    /// A peer said something.
    pub(crate) fn received(&mut self, sid: &Sid, message: FileMessage, now: Instant) {
        let size = self.offer.size;
        let Some(stage) = self.receivers.get_mut(sid) else { return };
        match (message, &mut *stage) {
            (FileMessage::Wait { id }, Stage::Offered) if id == self.offer.id => *stage = Stage::Asking,
            (FileMessage::Accept { id, offset }, Stage::Offered | Stage::Asking | Stage::Lost { .. })
                if id == self.offer.id && offset <= size =>
            {
                *stage = Stage::Receiving { sent: offset, acknowledged: offset, heard: now };
                if offset > 0 {
                    self.forgive(sid);
                }
            }
            (FileMessage::Ack { id, offset }, Stage::Receiving { sent, acknowledged, heard })
                if id == self.offer.id && (*acknowledged..=*sent).contains(&offset) =>
            {
                *acknowledged = offset;
                *heard = now;
            }
            (FileMessage::Done { id }, Stage::Receiving { sent, .. }) if id == self.offer.id && *sent == size => {
                *stage = Stage::Confirmed;
            }
            (FileMessage::Decline { id }, Stage::Offered | Stage::Asking) if id == self.offer.id => {
                *stage = Stage::Declined;
                self.failed_at = Some(now);
            }
            (FileMessage::Failed { id, reason }, Stage::Asking | Stage::Receiving { .. }) if id == self.offer.id => {
                *stage = Stage::Failed(clean_line(&reason, MAX_REASON));
                self.failed_at = Some(now);
            }
            _ => {}
        }
    }

    /// Who comes with a part of the file is likely one who was lost, under another sid.
    fn forgive(&mut self, returned: &Sid) {
        let lost = |(sid, stage): &(&Sid, &Stage)| *sid != returned && matches!(stage, Stage::Lost { .. });
        if let Some(sid) = self.receivers.iter().find(lost).map(|(sid, _)| sid.clone()) {
            self.receivers.remove(&sid);
        }
    }

    /// The next part that somebody may get, in turns.
    pub(crate) fn next_part(&mut self) -> Option<Part> {
        let size = self.offer.size;
        let ready = |stage: &Stage| {
            let Stage::Receiving { sent, acknowledged, .. } = stage else { return false };
            *sent < size && *sent < acknowledged + WINDOW
        };
        let after = self.receivers.iter().filter(|(sid, _)| self.last.as_ref().is_none_or(|last| *sid > last));
        let sid = after.chain(self.receivers.iter()).find(|(_, stage)| ready(stage)).map(|(sid, _)| sid.clone())?;
        let Some(Stage::Receiving { sent, .. }) = self.receivers.get_mut(&sid) else { return None };
        let offset = *sent;
        let length = usize::try_from(size - offset).unwrap_or(PART).min(PART);
        *sent += length as u64;
        self.last = Some(sid.clone());
        Some(Part { sid, offset, length })
    }

    /// When [`Sending::tick`] has something to do next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadline = |stage: &Stage| match stage {
            Stage::Receiving { heard, .. } => Some(*heard + SILENCE),
            Stage::Lost { since, .. } => Some(*since + self.patience),
            _ => None,
        };
        self.receivers.values().filter_map(deadline).min()
    }

    /// Gives up on who is silent, or does not come back.
    pub(crate) fn tick(&mut self, now: Instant) {
        for stage in self.receivers.values_mut() {
            match stage {
                Stage::Receiving { heard, .. } if now >= *heard + SILENCE => {
                    *stage = Stage::Failed("it does not answer any more".to_owned());
                    self.failed_at = Some(now);
                }
                Stage::Lost { acknowledged, since } if now >= *since + self.patience => {
                    // Since then, another one may have come as well.
                    self.failed_at = self.failed_at.max(Some(*since));
                    let percent = *acknowledged * 100 / self.offer.size.max(1);
                    *stage = Stage::Failed(format!("it left when it had {percent} % of the file"));
                }
                _ => {}
            }
        }
    }

    /// How many have the file, once they are enough and nobody is at it any more. Whoever else failed does not matter.
    pub(crate) fn success(&self) -> Option<usize> {
        let confirmed = self.count(&Stage::Confirmed);
        (confirmed >= self.wanted && !self.is_busy()).then_some(confirmed)
    }

    /// When to end for want of receivers: some failed or declined, nobody who is there may still take it, and nobody came
    /// since. Any stranger can bring that about, so it is not for a sender that was told how long to wait.
    pub(crate) fn give_up_at(&self) -> Option<Instant> {
        let is_hopeless = !self.is_busy() && self.count(&Stage::Offered) == 0 && self.failure().is_some();
        self.failed_at.filter(|_| is_hopeless).map(|failed_at| failed_at + self.patience)
    }

    /// What went wrong so far, if too few have the file because of it.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let failed = self.receivers.values().find_map(|stage| match stage {
            Stage::Failed(reason) => Some(Failure::Left(format!("a receiver does not have the file: {reason}"))),
            _ => None,
        });
        let is_declined = self.count(&Stage::Declined) > 0 && self.count(&Stage::Confirmed) == 0;
        failed.or_else(|| is_declined.then_some(Failure::Declined))
    }

    fn count(&self, wanted: &Stage) -> usize {
        self.receivers.values().filter(|stage| *stage == wanted).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    fn sending(size: u64, wanted: usize) -> Sending {
        let offer = Offer { id: "1".into(), name: "a".into(), size, sha256: "0".repeat(64) };
        Sending::new(offer, wanted, PATIENCE)
    }

    fn sid(text: &str) -> Sid {
        Sid::new(text).unwrap()
    }

    fn accept(offset: u64) -> FileMessage {
        FileMessage::Accept { id: "1".into(), offset }
    }

    fn ack(offset: u64) -> FileMessage {
        FileMessage::Ack { id: "1".into(), offset }
    }

    fn done() -> FileMessage {
        FileMessage::Done { id: "1".into() }
    }

    fn wait() -> FileMessage {
        FileMessage::Wait { id: "1".into() }
    }

    #[test]
    fn no_more_is_sent_than_the_window_holds() {
        let (now, a) = (Instant::now(), sid("a"));
        let mut sending = sending(3 * WINDOW, 1);
        sending.connected(&a);
        assert_eq!(sending.next_part(), None);
        sending.received(&a, accept(0), now);
        let parts = std::iter::from_fn(|| sending.next_part()).count();
        assert_eq!(parts, (WINDOW as usize).div_ceil(PART));
        // What was not sent cannot be acknowledged, and neither can it be done.
        sending.received(&a, ack(2 * WINDOW), now);
        sending.received(&a, done(), now);
        assert_eq!(sending.next_part(), None);
        sending.received(&a, ack(PART as u64), now);
        assert_eq!(std::iter::from_fn(|| sending.next_part()).count(), 1);
    }

    #[test]
    fn receivers_take_turns() {
        let now = Instant::now();
        let mut sending = sending(10 * PART as u64 + 1, 2);
        for name in ["a", "b", "c"] {
            sending.connected(&sid(name));
            sending.received(&sid(name), accept(0), now);
        }
        let turns: Vec<_> = (0..6).map(|_| sending.next_part().unwrap().sid.as_str().to_owned()).collect();
        assert_eq!(turns, ["a", "b", "c", "a", "b", "c"]);
        let rest: Vec<_> = std::iter::from_fn(|| sending.next_part()).collect();
        assert_eq!(rest.last().unwrap().length, 1);
        for name in ["a", "b"] {
            sending.received(&sid(name), done(), now);
            assert_eq!(sending.success(), None);
        }
        sending.received(&sid("c"), done(), now);
        assert_eq!(sending.success(), Some(3));
    }

    #[test]
    fn who_is_lost_may_come_back() {
        let (now, a) = (Instant::now(), sid("a"));
        let mut sending = sending(100, 1);
        sending.connected(&a);
        sending.received(&a, accept(0), now);
        sending.next_part().unwrap();
        sending.received(&a, ack(50), now);
        sending.disconnected(&a, now);
        assert_eq!((sending.deadline(), sending.success()), (Some(now + PATIENCE), None));
        // Under another sid, with what it has.
        sending.connected(&sid("b"));
        sending.received(&sid("b"), accept(50), now);
        assert_eq!(sending.next_part(), Some(Part { sid: sid("b"), offset: 50, length: 50 }));
        sending.received(&sid("b"), done(), now);
        assert_eq!(sending.success(), Some(1));
    }

    #[test]
    fn who_does_not_come_back_is_told_of() {
        let (now, a) = (Instant::now(), sid("a"));
        let mut sending = sending(100, 1);
        sending.connected(&a);
        sending.received(&a, accept(0), now);
        sending.next_part().unwrap();
        sending.received(&a, ack(50), now);
        sending.disconnected(&a, now);
        sending.tick(now + PATIENCE);
        // Within that time nobody else came either.
        assert_eq!(sending.give_up_at(), Some(now + PATIENCE));
        let Some(Failure::Left(text)) = sending.failure() else { panic!() };
        assert!(text.contains("50 %"), "{text}");
    }

    #[test]
    fn nobody_has_to_want_it() {
        let (now, a) = (Instant::now(), sid("a"));
        let mut sending = sending(100, 1);
        sending.connected(&a);
        sending.connected(&sid("b"));
        assert_eq!(sending.failure(), None);
        sending.received(&sid("b"), wait(), now);
        sending.received(&a, FileMessage::Decline { id: "1".into() }, now);
        assert_eq!(sending.give_up_at(), None);
        sending.disconnected(&sid("b"), now);
        assert_eq!((sending.give_up_at(), sending.failure()), (Some(now + PATIENCE), Some(Failure::Declined)));
        // Who comes may take it.
        sending.connected(&sid("c"));
        assert_eq!((sending.give_up_at(), sending.success()), (None, None));
    }

    #[test]
    fn strangers_that_fail_do_not_matter() {
        let (now, a, b) = (Instant::now(), sid("a"), sid("b"));
        let mut sending = sending(0, 1);
        let failed = || FileMessage::Failed { id: "1".into(), reason: "no".into() };
        for sid in [&a, &b] {
            sending.connected(sid);
        }
        sending.received(&a, wait(), now);
        sending.received(&a, failed(), now);
        assert_eq!((sending.give_up_at(), sending.success()), (None, None));
        sending.received(&b, accept(0), now);
        sending.received(&b, done(), now);
        assert_eq!(sending.success(), Some(1));
        // Who failed may try again.
        sending.connected(&a);
        sending.received(&a, accept(0), now);
        assert_eq!(sending.success(), None);
        sending.received(&a, failed(), now);
        assert_eq!(sending.success(), Some(1));
    }

    #[test]
    fn an_empty_file_is_a_file() {
        let (now, a) = (Instant::now(), sid("a"));
        let mut sending = sending(0, 1);
        sending.connected(&a);
        sending.received(&a, accept(0), now);
        assert_eq!(sending.next_part(), None);
        sending.received(&a, done(), now);
        assert_eq!(sending.success(), Some(1));
    }
}
