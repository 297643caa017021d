//! Whose question is asked next: so many at once, so many bytes that wait, and every address in its turn.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// What a question that waits costs besides its bytes.
const OVERHEAD: usize = 256;

/// Too much waits already, and most of it comes from this address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded;

/// A queue of questions in which nobody can push before others: addresses take turns, and when it is full those are
/// turned away of whose address most is waiting.
#[derive(Debug)]
pub(super) struct Turns {
    waiting: Mutex<Waiting>,
    most_bytes: usize,
}

/// The right to ask; it ends when this is dropped, and goes on to the next one.
#[derive(Debug)]
pub(super) struct Turn(Option<Arc<Turns>>);

#[derive(Debug)]
struct Waiting {
    /// Turns that nobody has.
    free: usize,
    /// What all that wait cost.
    bytes: usize,
    /// Names those who wait.
    number: u64,
    lanes: BTreeMap<Option<IpAddr>, Lane>,
    /// Addresses of which somebody waits, the next one first.
    order: VecDeque<Option<IpAddr>>,
}

#[derive(Debug, Default)]
struct Lane {
    bytes: usize,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    bytes: usize,
    sender: oneshot::Sender<Turn>,
}

impl Turns {
    /// So many turns at a time, while questions of at most so many bytes wait.
    pub(super) fn new(at_once: usize, most_bytes: usize) -> Arc<Self> {
        let (lanes, order) = (BTreeMap::new(), VecDeque::new());
        let waiting = Waiting { free: at_once, bytes: 0, number: 0, lanes, order };
        Arc::new(Self { waiting: Mutex::new(waiting), most_bytes })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is the turn of a question of so many bytes from this address. Cancel safe.
    pub(super) async fn turn(self: &Arc<Self>, address: Option<IpAddr>, bytes: usize) -> Result<Turn, Crowded> {
        let (place, turn) = {
            let mut waiting = self.waiting();
            if waiting.free > 0 {
                waiting.free -= 1;
                return Ok(Turn(Some(self.clone())));
            }
            let bytes = bytes + OVERHEAD;
            let (number, turn) = waiting.push(address, bytes);
            let turned_away = waiting.turn_away(self.most_bytes);
            drop(waiting);
            // Their senders are gone with them.
            drop(turned_away);
            (Place { turns: self, address, number }, turn)
        };
        let turn = turn.await.map_err(|_| Crowded);
        drop(place);
        turn
    }

    /// Hands a turn on to the next one who still waits for it.
    fn hand_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut waiting = self.waiting();
                let next = waiting.pop();
                waiting.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.sender.send(Turn(Some(self.clone()))) {
                Ok(()) => return,
                // It is still in our hands.
                Err(mut turn) => drop(turn.0.take()),
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.hand_on();
        }
    }
}

/// A place among those who wait, until it is left.
struct Place<'a> {
    turns: &'a Turns,
    address: Option<IpAddr>,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let left = self.turns.waiting().leave(self.address, self.number);
        // It may have a turn in it, which is handed on.
        drop(left);
    }
}

impl Waiting {
    fn push(&mut self, address: Option<IpAddr>, bytes: usize) -> (u64, oneshot::Receiver<Turn>) {
        let (sender, turn) = oneshot::channel();
        self.number += 1;
        let lane = self.lanes.entry(address).or_default();
        if lane.waiters.is_empty() {
            self.order.push_back(address);
        }
        lane.bytes += bytes;
        self.bytes += bytes;
        lane.waiters.push_back(Waiter { number: self.number, bytes, sender });
        (self.number, turn)
    }

    /// The next in its turn, whose address then is the last.
    fn pop(&mut self) -> Option<Waiter> {
        let address = self.order.pop_front()?;
        let lane = self.lanes.get_mut(&address)?;
        let waiter = lane.waiters.pop_front()?;
        lane.bytes -= waiter.bytes;
        self.bytes -= waiter.bytes;
        if lane.waiters.is_empty() {
            self.lanes.remove(&address);
        } else {
            self.order.push_back(address);
        }
        Some(waiter)
    }

    fn leave(&mut self, address: Option<IpAddr>, number: u64) -> Option<Waiter> {
        let lane = self.lanes.get_mut(&address)?;
        let at = lane.waiters.iter().position(|waiter| waiter.number == number)?;
        let waiter = lane.waiters.remove(at)?;
        lane.bytes -= waiter.bytes;
        self.bytes -= waiter.bytes;
        if lane.waiters.is_empty() {
            self.lanes.remove(&address);
            self.order.retain(|other| *other != address);
        }
        Some(waiter)
    }

    /// Takes out whoever came last of the address of which most is waiting, until the rest fits.
    fn turn_away(&mut self, most_bytes: usize) -> Vec<Waiter> {
        let mut turned_away = Vec::new();
        while self.bytes > most_bytes {
            let Some((&address, lane)) = self.lanes.iter().max_by_key(|(_, lane)| lane.bytes) else { break };
            let last = lane.waiters.back().map(|waiter| waiter.number);
            turned_away.extend(last.and_then(|last| self.leave(address, last)));
        }
        turned_away
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some([192, 0, 2, last].into())
    }

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Turns that nobody has, what those who wait cost, and how many addresses they are from.
    fn state(turns: &Turns) -> (usize, usize, usize) {
        let waiting = turns.waiting();
        (waiting.free, waiting.bytes, waiting.lanes.len())
    }

    fn take(turns: &Arc<Turns>, from: Option<IpAddr>) -> Turn {
        match poll(pin!(turns.turn(from, 0))) {
            Poll::Ready(Ok(turn)) => turn,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_take_turns() {
        let turns = Turns::new(1, 1 << 20);
        let mut turn = Some(take(&turns, address(9)));
        // Five of one, and one of another who comes last.
        let from = [1, 1, 1, 1, 1, 2];
        let mut waiting: Vec<_> = from.map(|from| (from, Box::pin(turns.turn(address(from), 10)))).into();
        assert!(waiting.iter_mut().all(|(_, waiter)| poll(waiter.as_mut()).is_pending()));
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(turn.take());
            let ready = waiting.iter_mut().enumerate().find_map(|(at, (from, waiter))| match poll(waiter.as_mut()) {
                Poll::Ready(it) => Some((at, *from, it.unwrap())),
                Poll::Pending => None,
            });
            let (at, from, next) = ready.expect("somebody's turn");
            turn = Some(next);
            order.push(from);
            drop(waiting.remove(at));
        }
        assert_eq!(order, [1, 2, 1, 1, 1, 1]);
        drop(turn);
        assert_eq!(state(&turns), (1, 0, 0));
    }

    #[test]
    fn who_fills_the_queue_is_turned_away_and_nobody_else() {
        let turns = Turns::new(1, 10 * OVERHEAD);
        let turn = take(&turns, address(9));
        let mut flood: Vec<_> = (0..10).map(|_| Box::pin(turns.turn(address(1), 0))).collect();
        assert!(flood.iter_mut().all(|waiter| poll(waiter.as_mut()).is_pending()));
        let mut other = Box::pin(turns.turn(address(2), 0));
        assert!(poll(other.as_mut()).is_pending());
        let turned_away: Vec<_> = flood.iter_mut().map(|waiter| poll(waiter.as_mut())).collect();
        let places = turned_away.iter().position(|it| matches!(it, Poll::Ready(Err(Crowded))));
        assert_eq!(places, Some(9), "the last of the flood");
        assert!(turned_away[..9].iter().all(Poll::is_pending));
        assert!(matches!(poll(pin!(turns.turn(address(1), 0))), Poll::Ready(Err(Crowded))));
        drop(turn);
        drop(flood);
        assert!(matches!(poll(other.as_mut()), Poll::Ready(Ok(_))));
    }

    #[test]
    fn who_goes_away_leaves_nothing_behind() {
        let turns = Turns::new(1, 1 << 20);
        let turn = take(&turns, None);
        let (mut gone, mut dropped) = (Box::pin(turns.turn(address(1), 5)), Box::pin(turns.turn(address(2), 5)));
        assert!(poll(gone.as_mut()).is_pending() && poll(dropped.as_mut()).is_pending());
        drop(gone);
        assert_eq!(state(&turns), (0, 5 + OVERHEAD, 1));
        // It has got the turn, and is dropped before it notices.
        drop(turn);
        drop(dropped);
        assert_eq!(state(&turns), (1, 0, 0));
        drop(take(&turns, None));
    }
}
