//! Calls in a session: done once, then answered from memory.

use super::Machine;
use crate::{
    LastCall, LeaseToken, Op, Reply, SessionCall, SessionId, codec,
    sessions::{CallStanding, Kept},
    transition::At,
};

impl Machine {
    pub(super) fn open_session(&mut self, at: At) -> SessionId {
        let session = SessionId(at.index);
        self.sessions.forget_idle(at.now_ms, &self.bounds);
        self.sessions.open(session, at.now_ms);
        self.sessions.forget_surplus(&self.bounds);
        session
    }

    pub(super) fn execute_once(&mut self, call: SessionCall, op: &Op, at: At) -> Reply {
        self.sessions.forget_idle(at.now_ms, &self.bounds);
        let request_digest = codec::digest(op);
        let (reply, done) = match self.sessions.standing(call, request_digest) {
            Err(refusal) => return Reply::SessionRefused(refusal),
            Ok(CallStanding::Done(last)) => {
                let reply = Box::new(match last.kept() {
                    Kept::Claim(ids) => Reply::Claimed(self.claimed_before(&ids, LeaseToken(last.index))),
                    Kept::Whole(reply) => reply,
                });
                (Reply::Repeated { index: last.index, reply }, None)
            }
            Ok(CallStanding::New) => {
                let reply = self.execute(op, at);
                let done = Kept::of(&reply).map(|kept| LastCall {
                    seq: call.seq,
                    request_digest,
                    index: at.index,
                    reply: codec::encode(&kept, 32).into(),
                });
                (reply, done)
            }
        };
        self.sessions.touch(call.session, at.now_ms, done);
        self.sessions.forget_surplus(&self.bounds);
        reply
    }

    /// Whether this call would be done, were it applied now: its session is known, and knows neither this call nor a later
    /// one.
    pub fn is_new_call(&self, call: SessionCall) -> bool {
        self.sessions.is_new(call)
    }
}
