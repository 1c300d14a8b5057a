//! Where the client sends: to the leader as last known, else to one node after the other.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tonic::{Status, transport::Channel};

use super::{ClientError, LEADER_HEADER, MEMBERS_HEADER, channel, lane::Lane};

/// Addresses that a client remembers.
const ADDRESSES_MAX: usize = 128;

/// A way to a node.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) address: Arc<str>,
    pub(super) channel: Channel,
    /// The stream of calls on it.
    pub(super) lane: Lane,
}

/// The nodes, the ways to them, and the one that is taken for the leader.
#[derive(Debug)]
pub(super) struct Routes(Mutex<Known>);

#[derive(Debug)]
struct Known {
    addresses: Vec<String>,
    open: BTreeMap<String, Route>,
    leader: Option<String>,
    turn: usize,
}

impl Routes {
    /// To the nodes at these addresses.
    pub(super) fn new(addresses: Vec<String>) -> Result<Routes, ClientError> {
        if addresses.is_empty() {
            return Err(ClientError::Unreachable("no address was given".into()));
        }
        Ok(Routes(Mutex::new(Known { addresses, open: BTreeMap::new(), leader: None, turn: 0 })))
    }

    /// Where to send now: the leader as last known, else the next node in turn.
    pub(super) fn next(&self) -> Result<Route, ClientError> {
        let mut known = self.0.lock().expect("no holder panics");
        let known = &mut *known;
        let address = known.leader.as_ref().unwrap_or(&known.addresses[known.turn % known.addresses.len()]);
        if let Some(route) = known.open.get(address) {
            return Ok(route.clone());
        }
        let channel = channel(address)?;
        let lane = Lane::new(channel.clone());
        let route = Route { address: address.as_str().into(), channel, lane };
        known.open.insert(address.clone(), route.clone());
        Ok(route)
    }

    /// Every node that is known.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.0.lock().expect("no holder panics").addresses.clone()
    }

    /// A node decided: it is the leader.
    pub(super) fn leads(&self, address: &str) {
        let mut known = self.0.lock().expect("no holder panics");
        if known.leader.as_deref() != Some(address) {
            known.leader = Some(address.to_owned());
        }
    }

    /// A node said that it is not the leader. True if it named another that is worth asking at once.
    pub(super) fn follow(&self, asked: &str, status: &Status) -> bool {
        let named = status.metadata().get(LEADER_HEADER).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let members = status.metadata().get(MEMBERS_HEADER).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let mut known = self.0.lock().expect("no holder panics");
        known.learn(members.split(',').chain(named.as_deref()));
        match named {
            Some(leader) if leader != asked => {
                known.leader = Some(leader);
                true
            }
            Some(_) | None => {
                known.leader = None;
                known.turn += 1;
                false
            }
        }
    }

    /// A node did not answer: ask another next time.
    pub(super) fn leave(&self, asked: &str) {
        let mut known = self.0.lock().expect("no holder panics");
        if known.leader.as_deref() == Some(asked) {
            known.leader = None;
        }
        known.turn += 1;
    }
}

impl Known {
    /// Members that joined later: when all that were known at first have left, the cluster is still found. Nothing is
    /// forgotten, for one that is no member today may be one tomorrow.
    fn learn<'a>(&mut self, addresses: impl Iterator<Item = &'a str>) {
        for address in addresses.filter(|a| !a.is_empty()) {
            if self.addresses.len() < ADDRESSES_MAX && !self.addresses.iter().any(|known| known == address) {
                self.addresses.push(address.to_owned());
            }
        }
    }
}
