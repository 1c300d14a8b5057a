//! What a caller is told when something was not done, or when nobody can say: the same words and codes for all services.
//!
//! | code | says |
//! |---|---|
//! | FAILED_PRECONDITION | not done: another node, or this one a moment later, may do it |
//! | RESOURCE_EXHAUSTED | not done: there is no room now |
//! | ABORTED | not done, and decided |
//! | UNKNOWN | it may be done, or be done yet |

use raftdeck_raft::NodeId;
use raftdeck_shared::client::{LEADER_HEADER, MEMBERS_HEADER};
use tonic::{Code, Status, metadata::MetadataMap};

use crate::{handle::RequestError, replica::Refused, transport::AddressBook};

/// The status for a request that has no answer, from the node that says so.
pub(super) fn refused(book: &AddressBook, here: NodeId, error: &RequestError) -> Status {
    match error {
        RequestError::Refused(Refused::NotLeader { leader }) => not_leader(book, here, *leader),
        RequestError::Refused(Refused::NoMajority | Refused::Transferring { .. } | Refused::AskAgain(_)) => {
            Status::failed_precondition(error.to_string())
        }
        RequestError::Refused(Refused::Superseded | Refused::NotNow(_)) => Status::aborted(error.to_string()),
        RequestError::Refused(Refused::Overloaded { .. } | Refused::Full { .. }) | RequestError::QueueFull => {
            Status::resource_exhausted(error.to_string())
        }
        RequestError::Refused(Refused::Unknown) | RequestError::Stopping => Status::unknown(error.to_string()),
    }
}

fn not_leader(book: &AddressBook, here: NodeId, leader: Option<NodeId>) -> Status {
    let mut header = MetadataMap::new();
    let members: Vec<String> = book.members().into_iter().map(|member| member.api).collect();
    if let Ok(members) = members.join(",").parse() {
        header.insert(MEMBERS_HEADER, members);
    }
    let here = book.name_of(here);
    let message = match leader.and_then(|id| book.find(id)) {
        Some(leader) => {
            if let Ok(address) = leader.api.parse() {
                header.insert(LEADER_HEADER, address);
            }
            format!("{here} is not the leader, {} is", leader.name)
        }
        None => format!("{here} knows no leader"),
    };
    Status::with_metadata(Code::FailedPrecondition, message, header)
}
