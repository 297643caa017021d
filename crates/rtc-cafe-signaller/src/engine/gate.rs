//! Asks the application, with patience that has an end.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::timeout;

use super::keepalive::Timing;
use crate::{
    ErrorCode,
    admission::{
        Rejection, Request, Visitor,
        chain::{Chain, Decided, Verdict},
    },
};

/// How long the application may take to decide.
const DECISION: Duration = Duration::from_secs(10);

/// A verdict that is to come, at the latest when patience ends.
pub(super) type Pending = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// A verdict, or one that is to come.
pub(super) enum Judged {
    Now(Verdict),
    Later(Pending),
}

impl Judged {
    /// Of somebody about whom nobody can be asked: who is to be asked has not let it through.
    pub(super) fn nobody() -> Self {
        let rejection = Rejection::new("the server does not know about whom to decide");
        Self::Now(Err(rejection.with_code(ErrorCode::AdmissionFailed)))
    }
}

/// Asks whether a client may do something.
pub(super) fn judge(admission: &Chain, visitor: &Visitor, request: &Request<'_>, timing: Timing) -> Judged {
    let mut pending = match admission.ask(visitor, request) {
        Decided::Now(verdict) => return Judged::Now(verdict),
        Decided::Later(pending) => pending,
    };
    // Many decide at once, and need neither a timer nor a pause.
    if let Poll::Ready(verdict) = pending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        return Judged::Now(verdict);
    }
    let most = DECISION.min(timing.ping_timeout / 2);
    Judged::Later(Box::pin(async move { timeout(most, pending).await.unwrap_or_else(|_| Err(late())) }))
}

fn late() -> Rejection {
    Rejection::new("the server could not decide in time; try again").with_code(ErrorCode::AdmissionFailed)
}
