//! Where nodes are: the one place in a node that knows names and addresses.
//!
//! Three sources, the first that knows a node counts: the cluster file (what the operator wrote is meant), the membership
//! in the log (nodes that joined later), and what a node said of itself when it dialled (a leader that is new here must
//! be answered before its log has come).
//!
//! Law: what strangers can make this node remember is bounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use raftdeck_raft::{Membership, NodeId};
use raftdeck_shared::{cluster::ClusterFile, wire::MemberAddress};

use super::member;

/// Nodes that are neither in the cluster file nor members, and have dialled.
const STRANGERS_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub struct AddressBook {
    file: BTreeMap<NodeId, MemberAddress>,
    learnt: Mutex<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    members: BTreeSet<NodeId>,
    from_log: BTreeMap<NodeId, MemberAddress>,
    from_hello: BTreeMap<NodeId, MemberAddress>,
}

/// Too many nodes that nobody knows have dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{STRANGERS_MAX} nodes that are no members have dialled, which is the limit")]
pub struct TooManyStrangers;

impl AddressBook {
    /// What the cluster file says.
    #[must_use]
    pub fn of(cluster: &ClusterFile) -> AddressBook {
        let address = |n: &raftdeck_shared::cluster::NodeEntry| MemberAddress {
            node: n.id.0,
            name: n.name.clone(),
            peer: n.peer.to_string(),
            api: n.api.to_string(),
        };
        AddressBook { file: cluster.nodes.iter().map(|n| (n.id, address(n))).collect(), learnt: Mutex::default() }
    }

    /// Another membership is in force.
    pub fn follow(&self, membership: &Membership) {
        let mut learnt = self.learnt.lock().expect("no holder panics");
        learnt.members = membership.members();
        let addresses = membership.addresses.iter();
        learnt.from_log = addresses.filter_map(|(n, bytes)| Some((*n, member::address(*n, bytes)?))).collect();
    }

    /// A node has dialled, and says where it is.
    ///
    /// # Errors
    /// There is no room for one more that nobody knows.
    pub fn heard(&self, node: NodeId, says: Option<&MemberAddress>) -> Result<(), TooManyStrangers> {
        let mut learnt = self.learnt.lock().expect("no holder panics");
        let is_stranger = |n: &NodeId| !self.file.contains_key(n) && !learnt.members.contains(n);
        let strangers = learnt.from_hello.keys().filter(|n| is_stranger(n)).count();
        if is_stranger(&node) && strangers >= STRANGERS_MAX && !learnt.from_hello.contains_key(&node) {
            return Err(TooManyStrangers);
        }
        let address = MemberAddress { node: node.0, ..says.cloned().unwrap_or_default() };
        learnt.from_hello.insert(node, address);
        Ok(())
    }

    /// Where a node is.
    #[must_use]
    pub fn find(&self, node: NodeId) -> Option<MemberAddress> {
        if let Some(address) = self.file.get(&node) {
            return Some(address.clone());
        }
        let learnt = self.learnt.lock().expect("no holder panics");
        let said = || learnt.from_hello.get(&node).filter(|says| !says.peer.is_empty());
        learnt.from_log.get(&node).or_else(said).cloned()
    }

    /// The name of a node, or its bare number if nobody has told it.
    #[must_use]
    pub fn name_of(&self, node: NodeId) -> String {
        self.find(node).map_or_else(|| node.to_string(), |address| address.name)
    }

    /// Everybody whose address is known.
    #[must_use]
    pub fn known(&self) -> Vec<MemberAddress> {
        let learnt = self.learnt.lock().expect("no holder panics");
        let mut known = learnt.from_hello.clone();
        known.retain(|_, says| !says.peer.is_empty());
        known.extend(learnt.from_log.clone());
        known.extend(self.file.clone());
        known.into_values().collect()
    }

    /// The members whose address is known; before there are any members, the cluster file's nodes.
    #[must_use]
    pub fn members(&self) -> Vec<MemberAddress> {
        let members = self.learnt.lock().expect("no holder panics").members.clone();
        let is_member = |node: u64| {
            let node = NodeId(node);
            if members.is_empty() { self.file.contains_key(&node) } else { members.contains(&node) }
        };
        self.known().into_iter().filter(|known| is_member(known.node)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> MemberAddress {
        MemberAddress { node: 0, name: format!("p{port}"), peer: format!("h:{port}"), api: format!("h:1{port}") }
    }

    fn file() -> ClusterFile {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        let text = "cluster_id = \"x\"\n[[nodes]]\nid = 1\napi = \"127.0.0.1:1\"\npeer = \"127.0.0.1:2\"\n";
        std::fs::write(&path, text).unwrap();
        ClusterFile::load(&path).unwrap()
    }

    #[test]
    fn the_file_is_before_the_log_and_the_log_before_hearsay() {
        let book = AddressBook::of(&file());
        let node = |id, name: &str| assert_eq!(book.name_of(NodeId(id)), name);
        let apis = || book.members().into_iter().map(|m| m.api).collect::<Vec<_>>();
        node(4, "n4");
        book.heard(NodeId(4), Some(&at(4))).unwrap();
        book.heard(NodeId(1), Some(&at(9))).unwrap();
        node(4, "p4");
        node(1, "n1");
        let mut membership = Membership::of([1, 4].map(NodeId));
        membership.addresses = [(NodeId(4), member::address_bytes(&at(5)))].into();
        book.follow(&membership);
        node(4, "p5");
        assert_eq!(apis(), ["127.0.0.1:1", "h:15"]);
        // Removed: it still may have to be told so.
        book.follow(&Membership::of([NodeId(1)]));
        node(4, "p4");
        assert_eq!(apis(), ["127.0.0.1:1"]);
    }

    #[test]
    fn strangers_are_bounded() {
        let book = AddressBook::of(&file());
        for id in 10..10 + STRANGERS_MAX as u64 {
            book.heard(NodeId(id), Some(&at(1))).unwrap();
        }
        assert_eq!(book.heard(NodeId(1000), Some(&at(1))), Err(TooManyStrangers));
        book.heard(NodeId(10), Some(&at(2))).unwrap();
        book.follow(&Membership::of([NodeId(10)]));
        book.heard(NodeId(1000), Some(&at(1))).unwrap();
    }
}
