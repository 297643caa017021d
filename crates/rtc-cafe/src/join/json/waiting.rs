//! The operations that wait for peers: while they do, others are done.

use std::{future::Future, pin::Pin};

use rtc_cafe_client::Client;
use tokio::task::JoinSet;

use super::{
    call::{Call, Operation},
    operations, output, report,
};
use crate::join::recordings::Recordings;

/// Tracks whose first packet is waited for at once.
const MAX_FORWARDS: usize = 16;

type Sending<'a> = Pin<Box<dyn Future<Output = String> + Send + 'a>>;

/// Does operations. Of those that wait there is a bounded number, so that they take bounded memory.
pub(crate) struct Waiting<'a> {
    client: &'a Client,
    recordings: &'a Recordings,
    /// Messages keep their order, so only one is on its way.
    sending: Option<Sending<'a>>,
    forwards: JoinSet<String>,
}

impl<'a> Waiting<'a> {
    /// Nothing waits yet.
    pub(crate) fn new(client: &'a Client, recordings: &'a Recordings) -> Self {
        Self { client, recordings, sending: None, forwards: JoinSet::new() }
    }

    /// Whether an operation can begin now; the others have to be waited for first.
    pub(crate) fn has_room(&self, call: &Call) -> bool {
        match &call.operation {
            Ok(Operation::SendMessage { .. }) => self.sending.is_none(),
            Ok(Operation::ForwardPeerTrack { .. }) => self.forwards.len() < MAX_FORWARDS,
            _ => true,
        }
    }

    /// Begins an operation for which there is room. Returns its answer, unless it has to wait.
    pub(crate) async fn begin(&mut self, Call { call, operation }: Call) -> Option<String> {
        match operation {
            Ok(Operation::SendMessage { message, sids }) => {
                let client = self.client;
                let sending = self.sending.insert(Box::pin(async move {
                    let sent = operations::send(client, &message, sids).await;
                    output::answer(call.as_deref(), sent)
                }));
                // What is sent at once is sent before what comes next.
                tokio::select! {
                    biased;
                    answer = sending => {
                        self.sending = None;
                        Some(answer)
                    }
                    () = std::future::ready(()) => None,
                }
            }
            Ok(Operation::ForwardPeerTrack { sid, id, description }) => {
                let client = self.client.clone();
                self.forwards.spawn(async move {
                    let forwarded = operations::forward(&client, &sid, &id, &description).await;
                    output::answer(call.as_deref(), forwarded)
                });
                None
            }
            Ok(Operation::GetConnectionReport { sid }) => {
                let value = report::report(self.client, sid).await;
                Some(output::answer(call.as_deref(), Ok(value)))
            }
            Ok(operation) => {
                let done = operations::perform(self.client, self.recordings, operation);
                Some(output::answer(call.as_deref(), done))
            }
            Err(refusal) => Some(output::error(call.as_deref(), &refusal)),
        }
    }

    /// The answer of the next one that is done; `None` if none waits. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let Self { sending, forwards, .. } = self;
        let sent = async {
            match sending.as_mut() {
                Some(sending) => Some(sending.await),
                None => None,
            }
        };
        let answer = tokio::select! {
            Some(answer) = sent => answer,
            Some(answer) = forwards.join_next() => {
                return Some(answer.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
            }
            else => return None,
        };
        *sending = None;
        Some(answer)
    }
}
