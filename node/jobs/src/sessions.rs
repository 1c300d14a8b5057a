//! Client sessions: a call that comes twice is done once.
//!
//! A client that did not hear the answer to its call sends it again, perhaps to another node, and perhaps the first one
//! was already done, or still is to be. So it opens a session, numbers its calls in it, and sends a call again under its
//! own number: the first of the log is done, the others get the answer of the first (Ongaro's thesis, section 6.3). The
//! table is part of the replicated state, so every leader has it, after every restart.
//!
//! A session has one call at a time: the next number says that the answers to all before it have been received or given
//! up. So one answer is all there is to keep, and no call waits for the answer to another one: a client with many calls
//! under way uses many sessions. (A window of calls in one session would be held open by its slowest: a claim that waits
//! half a minute for work would make the session keep, or forget, the answers to everything that was called since.)
//!
//! # Laws
//!
//! - Of all entries with the same session and number, at most one has an effect.
//! - The others are answered with its answer and its log index, or are refused.
//! - A session is forgotten by the log alone: idle for too long by the time of the log, or the one that has been idle for
//!   longest when there are too many, or their answers too large. Calls of a session that was forgotten are refused, and
//!   never done: only their client can know whether they were done before.
//! - A number below the last is refused: its client has moved on. A number that comes again with another request is a
//!   mistake of the client, and refused.
//! - A claim that got nothing did nothing, and is not kept: asked again, it may get something. So a claim that waits for
//!   work is one call.
//!
//! # CAVEATS
//!
//! Of a claim only the ids of its jobs are kept; they would bring payloads of megabytes into the table. Asked again, it
//! gives those that are still leased by it, with the deadlines that hold now. The others are nobody's loss: their token
//! would be refused.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    DecodeError, JobId, Reply, RestoreError, SessionId, codec,
    limits::Bounds,
    mutants::{self, Mutant},
};

/// Which call of which session a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCall {
    /// The session.
    pub session: SessionId,
    /// The number of the call; greater than those of all calls before it.
    pub seq: u64,
}

/// What is remembered of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEntry {
    /// When it was opened or last used, by the time of the log.
    pub active_ms: u64,
    /// Its last call; none if there was none yet.
    pub last: Option<LastCall>,
}

/// A call that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastCall {
    /// Its number.
    pub seq: u64,
    /// Digest of the request.
    pub request_digest: u64,
    /// The log index of the entry that did it.
    pub index: u64,
    /// The answer, encoded.
    pub reply: Bytes,
}

/// Why a call was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SessionRefusal {
    /// The session is not known, or not any more: whether the call was done before is not known either.
    #[error("session {session} has expired")]
    Expired {
        /// The session.
        session: SessionId,
    },
    /// The client has gone on to a later call.
    #[error("call {seq} of session {session} comes after its call {last}")]
    Overtaken {
        /// The session.
        session: SessionId,
        /// The number of the call.
        seq: u64,
        /// The greatest seen.
        last: u64,
    },
    /// The number was used for something else.
    #[error("call {seq} of session {session} was another request")]
    Reused {
        /// The session.
        session: SessionId,
        /// The number of the call.
        seq: u64,
    },
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
pub(crate) enum Kept {
    /// To a claim.
    Claim(Vec<JobId>),
    /// To anything else.
    Whole(Reply),
}

/// How a call stands.
pub(crate) enum CallStanding<'a> {
    /// To be done.
    New,
    /// It was done.
    Done(&'a LastCall),
}

/// A session, and its share in the sum of the digests.
#[derive(Clone, Debug)]
struct Held {
    entry: SessionEntry,
    /// None yet while the session is among those that changed.
    digest: u64,
}

/// The sessions that are remembered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    held: BTreeMap<SessionId, Held>,
    /// The sessions by the time of their last use; among those of one time, the one that was opened first goes first.
    by_age: BTreeSet<(u64, SessionId)>,
    /// Sum of the sizes of all kept answers.
    reply_bytes: usize,
    /// Sum of the digests of the sessions that did not change since the last look.
    digest: u64,
    changed: BTreeSet<SessionId>,
}

impl Kept {
    pub(crate) fn of(reply: &Reply) -> Option<Self> {
        match reply {
            Reply::Claimed(jobs) if jobs.is_empty() => None,
            Reply::Claimed(jobs) => Some(Self::Claim(jobs.iter().map(|job| job.id).collect())),
            Reply::Submitted(_)
            | Reply::Heartbeats(_)
            | Reply::Acked(_)
            | Reply::Failed(_)
            | Reply::Cancelled(_)
            | Reply::Retried(_)
            | Reply::QueuePaused(_)
            | Reply::Ticked { .. }
            | Reply::SessionOpened { .. }
            | Reply::Repeated { .. }
            | Reply::SessionRefused(_) => Some(Self::Whole(reply.clone())),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }
}

impl LastCall {
    pub(crate) fn kept(&self) -> Kept {
        Kept::decode(&self.reply).expect("written by this machine, or looked at when it was restored")
    }
}

impl Sessions {
    pub(crate) fn new(rows: Vec<(SessionId, SessionEntry)>) -> Result<Self, RestoreError> {
        let mut sessions = Self::default();
        for (session, entry) in rows.into_iter().filter(|_| !mutants::on(Mutant::RestoresNoSessions)) {
            if let Some(last) = &entry.last {
                Kept::decode(&last.reply).map_err(|error| RestoreError::Session { session, error })?;
            }
            sessions.put(session, entry);
        }
        drop(sessions.take_changed());
        Ok(sessions)
    }

    pub(crate) fn digest(&self) -> u64 {
        let changed = self.changed.iter().filter_map(|session| Some((session, &self.held.get(session)?.entry)));
        changed.map(|changed| codec::digest(&changed)).fold(self.digest, u64::wrapping_add)
    }

    pub(crate) fn open(&mut self, session: SessionId, now_ms: u64) {
        self.put(session, SessionEntry { active_ms: now_ms, last: None });
    }

    /// How a call with this request stands.
    pub(crate) fn standing(&self, call: SessionCall, request_digest: u64) -> Result<CallStanding<'_>, SessionRefusal> {
        let SessionCall { session, seq } = call;
        let Some(held) = self.held.get(&session) else {
            if mutants::on(Mutant::DoesExpiredCalls) {
                return Ok(CallStanding::New);
            }
            return Err(SessionRefusal::Expired { session });
        };
        match &held.entry.last {
            Some(last) if last.seq > seq => Err(SessionRefusal::Overtaken { session, seq, last: last.seq }),
            Some(last) if last.seq == seq && last.request_digest != request_digest => {
                Err(SessionRefusal::Reused { session, seq })
            }
            Some(last) if last.seq == seq && !mutants::on(Mutant::DoesCallsAgain) => Ok(CallStanding::Done(last)),
            Some(_) | None => Ok(CallStanding::New),
        }
    }

    /// Whether a call would be done, were it the next entry of the log and its session not too old by then.
    pub(crate) fn is_new(&self, call: SessionCall) -> bool {
        let held = self.held.get(&call.session);
        held.is_some_and(|held| held.entry.last.as_ref().is_none_or(|last| last.seq < call.seq))
    }

    /// A session is in use; a call that was done replaces the one before.
    pub(crate) fn touch(&mut self, session: SessionId, now_ms: u64, done: Option<LastCall>) {
        // An operation may have made the table forget the very session it was called in.
        let Some(held) = self.held.get_mut(&session) else { return };
        self.digest = self.digest.wrapping_sub(std::mem::take(&mut held.digest));
        self.changed.insert(session);
        let entry = &mut held.entry;
        if entry.active_ms != now_ms {
            self.by_age.remove(&(entry.active_ms, session));
            self.by_age.insert((now_ms, session));
            entry.active_ms = now_ms;
        }
        self.reply_bytes -= entry.reply_bytes();
        entry.last = done.or(entry.last.take());
        self.reply_bytes += entry.reply_bytes();
    }

    pub(crate) fn forget_idle(&mut self, now_ms: u64, bounds: &Bounds) {
        while let Some(&(active_ms, session)) = self.by_age.first()
            && active_ms.saturating_add(bounds.session_ttl_ms) <= now_ms
        {
            self.remove(session);
        }
    }

    pub(crate) fn forget_surplus(&mut self, bounds: &Bounds) {
        while self.held.len() > bounds.sessions_max || self.reply_bytes > bounds.session_bytes_max {
            let &(_, session) = self.by_age.first().expect("what is too much is not nothing");
            self.remove(session);
        }
    }

    fn put(&mut self, session: SessionId, entry: SessionEntry) {
        self.reply_bytes += entry.reply_bytes();
        self.by_age.insert((entry.active_ms, session));
        self.changed.insert(session);
        self.held.insert(session, Held { entry, digest: 0 });
    }

    fn remove(&mut self, session: SessionId) -> Option<SessionEntry> {
        let Held { entry, digest } = self.held.remove(&session)?;
        self.digest = self.digest.wrapping_sub(digest);
        self.reply_bytes -= entry.reply_bytes();
        self.by_age.remove(&(entry.active_ms, session));
        self.changed.insert(session);
        Some(entry)
    }

    /// What changed since the last look: the sessions that are to be remembered, and those that are not any more.
    pub(crate) fn take_changed(&mut self) -> (Vec<(SessionId, SessionEntry)>, Vec<SessionId>) {
        let (mut set, mut removed) = (Vec::new(), Vec::new());
        for session in std::mem::take(&mut self.changed) {
            match self.held.get_mut(&session) {
                Some(held) => {
                    held.digest = codec::digest(&(session, &held.entry));
                    self.digest = self.digest.wrapping_add(held.digest);
                    set.push((session, held.entry.clone()));
                }
                None => removed.push(session),
            }
        }
        (set, removed)
    }
}

impl SessionEntry {
    fn reply_bytes(&self) -> usize {
        self.last.as_ref().map_or(0, |last| last.reply.len())
    }
}
