//! Between a membership and the wire's, and what the transport knows of a member: where it is.
//!
//! The core carries an address as bytes it does not read. They are a [`wire::MemberAddress`] without its node.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use raftdeck_raft::{Learner, Membership, NodeId, StorageId};
use raftdeck_shared::wire;

/// An address as the core carries it.
#[must_use]
pub fn address_bytes(address: &wire::MemberAddress) -> Bytes {
    wire::MemberAddress { node: 0, ..address.clone() }.encode_to_vec().into()
}

/// The address of a member; none if these bytes are none.
#[must_use]
pub fn address(node: NodeId, bytes: &Bytes) -> Option<wire::MemberAddress> {
    let address = wire::MemberAddress::decode(bytes.clone()).ok()?;
    Some(wire::MemberAddress { node: node.0, ..address })
}

/// To the wire.
#[must_use]
pub fn to_wire(membership: &Membership) -> wire::Membership {
    let Membership { voters, outgoing, learners, storages, addresses } = membership;
    let learner = |(node, learner): (&NodeId, &Learner)| wire::Learner {
        node: node.0,
        promote: learner.promote,
        storage_id: learner.storage.map(|s| s.to_string()).unwrap_or_default(),
    };
    wire::Membership {
        voters: voters.iter().map(|n| n.0).collect(),
        outgoing: outgoing.iter().map(|n| n.0).collect(),
        learners: learners.iter().map(learner).collect(),
        bindings: storages.iter().map(|(n, s)| wire::Binding { node: n.0, storage_id: s.to_string() }).collect(),
        addresses: addresses.iter().filter_map(|(node, bytes)| address(*node, bytes)).collect(),
    }
}

/// From the wire.
///
/// # Errors
/// What makes no sense, in words.
pub fn from_wire(membership: &wire::Membership) -> Result<Membership, &'static str> {
    let wire::Membership { voters, outgoing, learners, bindings, addresses } = membership;
    if voters.is_empty() {
        return Err("a membership without voters");
    }
    let learner = |l: &wire::Learner| {
        let storage = if l.storage_id.is_empty() { None } else { Some(storage_id(&l.storage_id)?) };
        Ok::<_, &'static str>((NodeId(l.node), Learner { promote: l.promote, storage }))
    };
    let binding = |b: &wire::Binding| Ok::<_, &'static str>((NodeId(b.node), storage_id(&b.storage_id)?));
    Ok(Membership {
        voters: voters.iter().copied().map(NodeId).collect(),
        outgoing: outgoing.iter().copied().map(NodeId).collect(),
        learners: learners.iter().map(learner).collect::<Result<BTreeMap<_, _>, _>>()?,
        storages: bindings.iter().map(binding).collect::<Result<BTreeMap<_, _>, _>>()?,
        addresses: addresses.iter().map(|a| (NodeId(a.node), address_bytes(a))).collect(),
    })
}

/// A directory's name, as people and the wire have it.
///
/// # Errors
/// It is none.
pub fn storage_id(text: &str) -> Result<StorageId, &'static str> {
    u128::from_str_radix(text, 16).map(StorageId).map_err(|_| "a storage id that is not a hexadecimal number")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A membership with something in every part.
    pub(in crate::transport) fn some() -> Membership {
        let where_it_is = wire::MemberAddress {
            name: "four".into(),
            peer: "127.0.0.1:1".into(),
            api: "127.0.0.1:2".into(),
            ..Default::default()
        };
        Membership {
            outgoing: [1, 2].map(NodeId).into(),
            learners: [
                (NodeId(4), Learner { promote: true, storage: None }),
                (NodeId(5), Learner { promote: false, storage: Some(StorageId(5)) }),
            ]
            .into(),
            storages: [(NodeId(1), StorageId(u128::MAX))].into(),
            addresses: [(NodeId(4), address_bytes(&where_it_is))].into(),
            ..Membership::of([1, 2, 3].map(NodeId))
        }
    }

    #[test]
    fn a_membership_survives_the_wire() {
        assert_eq!(from_wire(&to_wire(&some())), Ok(some()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let bad = |change: fn(&mut wire::Membership)| {
            let mut membership = to_wire(&some());
            change(&mut membership);
            from_wire(&membership).is_err()
        };
        assert!(bad(|m| m.voters.clear()));
        assert!(bad(|m| m.bindings[0].storage_id = "no number".into()));
        assert!(bad(|m| m.learners[1].storage_id = "-1".into()));
    }
}
