//! Questions to whoever leads.
//!
//! One node after the other is asked; one that does not lead names the one that does, and who the members are. So a
//! leader is found that was not known before, also when all nodes that were known have left since.
//!
//! Law: what may have been done is never sent again by itself. The answer is then [`SteerError::Unknown`], and the members
//! say what became of it.

use std::{
    collections::VecDeque,
    future::Future,
    time::{Duration, Instant},
};

use raftdeck_shared::{
    client::{LEADER_HEADER, MEMBERS_HEADER, never_sent},
    wire::{self, admin_client::AdminClient},
};
use thiserror::Error;
use tonic::{Code, Request, Response, Status, transport::Channel};

use crate::ask::{STEER_WITHIN, ask, why};

/// Pause before another node is asked, or the same one again.
const PAUSE: Duration = Duration::from_millis(40);

/// Why the leader did not do it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SteerError {
    /// It was decided against: nothing was done.
    #[error("{0}")]
    Refused(String),
    /// No leader was found in time, or it was never the moment: nothing was done.
    #[error("{0}")]
    NotDone(String),
    /// It may have been done, or be done yet.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
}

/// Whether a request whose outcome is not known may be sent once more.
#[derive(Clone, Copy, Debug)]
enum Again {
    /// It only asks.
    May,
    /// It does something.
    MustNot,
}

/// Finds the leader.
#[derive(Clone, Debug)]
pub struct Steer {
    /// Whom to ask, the first first.
    addresses: VecDeque<String>,
    within: Duration,
}

impl Steer {
    /// Asks at these api addresses, and gives up after so long.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = String>, within: Duration) -> Steer {
        Steer { addresses: addresses.into_iter().collect(), within }
    }

    /// Who belongs to the group now.
    ///
    /// # Errors
    /// See [`SteerError`].
    pub async fn members(&mut self) -> Result<wire::MembersReply, SteerError> {
        let request = wire::MembersRequest {};
        let found = self.call(Again::May, request, |mut c, r| async move { c.members(r).await }).await?;
        self.learn(found.members.iter().map(|m| m.api.clone()));
        Ok(found)
    }

    /// Begins to take a node in.
    ///
    /// # Errors
    /// See [`SteerError`].
    pub async fn add(&mut self, request: wire::AddMemberRequest) -> Result<wire::ChangeReply, SteerError> {
        self.call(Again::MustNot, request, |mut c, r| async move { c.add_member(r).await }).await
    }

    /// Begins to let a node go.
    ///
    /// # Errors
    /// See [`SteerError`].
    pub async fn remove(&mut self, node: u64) -> Result<wire::ChangeReply, SteerError> {
        let request = wire::RemoveMemberRequest { node };
        self.call(Again::MustNot, request, |mut c, r| async move { c.remove_member(r).await }).await
    }

    /// Has another node lead.
    ///
    /// # Errors
    /// See [`SteerError`].
    pub async fn transfer(&mut self, node: u64) -> Result<wire::TransferLeadershipReply, SteerError> {
        let request = wire::TransferLeadershipRequest { node };
        self.call(Again::MustNot, request, |mut c, r| async move { c.transfer_leadership(r).await }).await
    }

    async fn call<Req, Rep, Fut>(
        &mut self,
        again: Again,
        request: Req,
        rpc: impl Fn(AdminClient<Channel>, Request<Req>) -> Fut,
    ) -> Result<Rep, SteerError>
    where
        Req: Clone,
        Fut: Future<Output = Result<Response<Rep>, Status>>,
    {
        let start = Instant::now();
        // Nodes in a row that took no connection.
        let mut refused_by = 0;
        let mut last = String::from("no address was given");
        while let Some(address) = self.addresses.front().cloned() {
            let Some(left) = self.within.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else { break };
            let status = match ask(&address, left.min(STEER_WITHIN), request.clone(), &rpc).await {
                Ok(reply) => return Ok(reply),
                Err(status) => status,
            };
            last = format!("{address}: {}", why(&status));
            refused_by = if never_sent(&status) { refused_by + 1 } else { 0 };
            if refused_by >= self.addresses.len() {
                self.addresses.rotate_left(1);
                let all: Vec<&str> = self.addresses.iter().map(String::as_str).collect();
                return Err(SteerError::NotDone(format!("no node reachable: tried {}", all.join(", "))));
            }
            match status.code() {
                Code::FailedPrecondition if self.follow(&address, &status) => continue,
                // Nobody leads here yet, or the leader has something else to end first.
                Code::FailedPrecondition | Code::ResourceExhausted => {}
                Code::Unavailable if never_sent(&status) => {}
                Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled | Code::Internal => {
                    match again {
                        Again::May => {}
                        Again::MustNot => {
                            self.addresses.rotate_left(1);
                            return Err(SteerError::Unknown(last));
                        }
                    }
                }
                Code::Ok
                | Code::Aborted
                | Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::DataLoss
                | Code::Unauthenticated => return Err(SteerError::Refused(why(&status))),
            }
            self.addresses.rotate_left(1);
            tokio::time::sleep(PAUSE.min(self.within.saturating_sub(start.elapsed()))).await;
        }
        Err(SteerError::NotDone(format!("gave up after {} ms; last answer from {last}", self.within.as_millis())))
    }

    /// A node said that it does not lead. True if it named another.
    fn follow(&mut self, asked: &str, status: &Status) -> bool {
        let header = |name| status.metadata().get(name).and_then(|v| v.to_str().ok());
        self.learn(header(MEMBERS_HEADER).unwrap_or_default().split(',').map(str::to_owned));
        let Some(leader) = header(LEADER_HEADER).filter(|leader| *leader != asked) else { return false };
        self.addresses.retain(|address| address != leader);
        self.addresses.push_front(leader.to_owned());
        true
    }

    fn learn(&mut self, addresses: impl Iterator<Item = String>) {
        for address in addresses.filter(|a| !a.is_empty()) {
            if !self.addresses.contains(&address) {
                self.addresses.push_back(address);
            }
        }
    }
}
