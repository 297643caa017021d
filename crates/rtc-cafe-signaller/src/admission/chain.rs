//! Asks everybody who decides, one after the other; the first refusal counts.

use std::{future::Future, pin::Pin, sync::Arc};

use super::{Admission, Pass, Rejection, Request, Ruling, Visitor};

/// What they all say: the new pass of the client, if there is one.
pub(crate) type Verdict = Result<Option<Arc<Pass>>, Rejection>;

/// A verdict, or one that is to come.
pub(crate) enum Decided {
    Now(Verdict),
    Later(Pin<Box<dyn Future<Output = Verdict> + Send>>),
}

/// Those who are asked, in their order.
#[derive(Clone)]
pub(crate) struct Chain(Arc<[Box<dyn Admission>]>);

impl Chain {
    /// `None` where nobody is to be asked.
    pub(crate) fn new(all: Vec<Box<dyn Admission>>) -> Option<Self> {
        (!all.is_empty()).then(|| Self(all.into()))
    }

    /// Whether all of them let the server deal out handshakes.
    pub(crate) fn ready_handshakes(&self) -> bool {
        self.0.iter().all(|admission| admission.ready_handshakes())
    }

    /// Asks them; each sees what those before it have said.
    pub(crate) fn ask(&self, visitor: &Visitor, request: &Request<'_>) -> Decided {
        let mut changed: Option<Visitor> = None;
        for (at, admission) in self.0.iter().enumerate() {
            match put(request, &**admission, changed.as_ref().unwrap_or(visitor)) {
                Ruling::Allow => {}
                Ruling::Admit(pass) => changed.get_or_insert_with(|| visitor.clone()).renew(pass.into()),
                Ruling::Reject(rejection) => return Decided::Now(Err(rejection)),
                Ruling::Later(decision) => {
                    let renewed = changed.is_some();
                    let visitor = changed.unwrap_or_else(|| visitor.clone());
                    let rest = self.clone().go_on(at + 1, decision, visitor, renewed, request.clone().into_owned());
                    return Decided::Later(Box::pin(rest));
                }
            }
        }
        Decided::Now(Ok(changed.and_then(|visitor| visitor.pass)))
    }

    async fn go_on(
        self,
        next: usize,
        decision: Pin<Box<dyn Future<Output = Result<Option<Pass>, Rejection>> + Send>>,
        mut visitor: Visitor,
        mut renewed: bool,
        request: Request<'static>,
    ) -> Verdict {
        let mut pass = decision.await?;
        for admission in &self.0[next..] {
            if let Some(pass) = pass.take() {
                visitor.renew(pass.into());
                renewed = true;
            }
            pass = match put(&request, &**admission, &visitor) {
                Ruling::Allow => None,
                Ruling::Admit(pass) => Some(pass),
                Ruling::Reject(rejection) => return Err(rejection),
                Ruling::Later(decision) => decision.await?,
            };
        }
        Ok(pass.map(Arc::new).or_else(|| visitor.pass.filter(|_| renewed)))
    }
}

fn put(request: &Request<'_>, admission: &dyn Admission, visitor: &Visitor) -> Ruling {
    if request.is_entry() { admission.connect(visitor, request) } else { admission.event(visitor, request) }
}
