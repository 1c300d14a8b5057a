//! The client's sessions: one for each call under way, used again by later calls.
//!
//! A session takes one call at a time, and the next number in it gives up the one before (see the node's
//! `node/jobs/src/sessions.rs`). So a call has a session to itself until it ends, however it ends: also a call whose
//! caller stopped waiting gives its session back, and an attempt of it that is still on its way is refused once the next
//! call was done.
//!
//! The session that was used last is used first: a client that had many calls at once and has few now leaves the others
//! to expire.

use std::sync::Mutex;

use crate::wire::{self, answer::Outcome, call};

/// Sessions kept for later calls; surplus ones are left to expire.
const FREE_MAX: usize = 256;

/// Requests that must not be done twice, and travel as calls of a stream.
pub(super) trait Once: Clone {
    /// What they are answered with.
    type Reply;

    /// Where the request says which call of which session it is.
    fn session(&mut self) -> &mut Option<wire::SessionCall>;

    /// As a call.
    fn into_call(self) -> call::Request;

    /// What is in an outcome; none if it answers another question.
    fn reply(outcome: Outcome) -> Option<Self::Reply>;
}

macro_rules! once {
    ($($request:ident as $kind:ident -> $reply:ident)*) => {
        $(impl Once for wire::$request {
            type Reply = wire::$reply;

            fn session(&mut self) -> &mut Option<wire::SessionCall> {
                &mut self.session
            }

            fn into_call(self) -> call::Request {
                call::Request::$kind(self)
            }

            fn reply(outcome: Outcome) -> Option<wire::$reply> {
                if let Outcome::$kind(reply) = outcome { Some(reply) } else { None }
            }
        })*
    };
}

once! {
    SubmitRequest as Submit -> SubmitReply
    SubmitBulkRequest as SubmitBulk -> SubmitBulkReply
    ClaimRequest as Claim -> ClaimReply
    HeartbeatLeasesRequest as Heartbeat -> HeartbeatLeasesReply
    AckRequest as Ack -> SettleReply
    FailRequest as Fail -> SettleReply
    CancelRequest as Cancel -> CancelReply
    RetryRequest as Retry -> RetryReply
    PauseQueueRequest as PauseQueue -> PauseQueueReply
}

/// The sessions that no call uses now, the one used last at the end.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    free: Mutex<Vec<wire::SessionCall>>,
}

/// A session that one call uses.
#[derive(Debug)]
pub(super) struct InUse<'a> {
    home: &'a Sessions,
    call: wire::SessionCall,
    /// It was opened for this call.
    fresh: bool,
    expired: bool,
}

impl Sessions {
    /// A session for a call, if one is free.
    pub(super) fn take(&self) -> Option<InUse<'_>> {
        let wire::SessionCall { id, seq } = self.free.lock().expect("no holder panics").pop()?;
        Some(InUse { home: self, call: wire::SessionCall { id, seq: seq + 1 }, fresh: false, expired: false })
    }

    /// A session that was just opened, for its first call.
    pub(super) fn opened(&self, id: u64) -> InUse<'_> {
        InUse { home: self, call: wire::SessionCall { id, seq: 1 }, fresh: true, expired: false }
    }
}

impl InUse<'_> {
    /// The call it is used for.
    pub(super) fn call(&self) -> wire::SessionCall {
        self.call
    }

    /// A node does not know it any more. Those that wait were idle for even longer: they go as well. True if it was opened
    /// for this call, so that opening another one at once is not likely to be better.
    pub(super) fn expired(mut self) -> bool {
        self.expired = true;
        self.home.free.lock().expect("no holder panics").clear();
        self.fresh
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        let mut free = self.home.free.lock().expect("no holder panics");
        if !self.expired && free.len() < FREE_MAX {
            free.push(self.call);
        }
    }
}
