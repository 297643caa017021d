//! A plain function that is asked about events.

use std::future::Future;

use serde_json::Value;

use super::{Admission, Rejection, Request, Ruling, Visitor};

/// Calls a function with sid, name and data.
pub(crate) struct Validation<F>(pub(crate) F);

impl<F, V> Admission for Validation<F>
where
    F: Fn(String, String, Value) -> V + Send + Sync + 'static,
    V: Future<Output = Result<(), Value>> + Send + 'static,
{
    fn event(&self, visitor: &Visitor, request: &Request<'_>) -> Ruling {
        let data = match request.data() {
            Ok(data) => data,
            Err(rejection) => return rejection.into(),
        };
        let sid = visitor.sid().unwrap_or_default();
        let decision = (self.0)(sid.to_owned(), request.name().to_owned(), data);
        Ruling::later(async move { decision.await.map(|()| None).map_err(Rejection::new) })
    }
}
