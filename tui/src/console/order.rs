//! The order of the nodes on the screen: that of the cluster file, or by a column. Where there are more than a usual screen
//! shows, those in trouble and the leader come before the others of the cluster file.

use std::cmp::Reverse;

use super::{
    msg::Slot,
    picture::Picture,
    status::{Role, Status},
    text::natural,
    world::{Node, World},
};

/// As many rows as a screen of 120x40 has for nodes: with more, some would not be seen.
const SEEN_MAX: usize = 11;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum By {
    #[default]
    Listed,
    Name,
    Role,
    Term,
    Last,
    Lag,
    Fault,
}

impl By {
    const ALL: [By; 7] = [By::Listed, By::Name, By::Role, By::Term, By::Last, By::Lag, By::Fault];

    pub(crate) fn name(self) -> &'static str {
        match self {
            By::Listed => "listed",
            By::Name => "name",
            By::Role => "role",
            By::Term => "term",
            By::Last => "last",
            By::Lag => "lag",
            By::Fault => "fault",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) by: By,
    pub(crate) reversed: bool,
}

impl Order {
    /// By the next column.
    pub(crate) fn next(self) -> Order {
        let at = By::ALL.iter().position(|by| *by == self.by).unwrap_or_default();
        Order { by: By::ALL[(at + 1) % By::ALL.len()], reversed: false }
    }

    /// By the column of this name.
    ///
    /// # Errors
    /// In words that name the value.
    pub(crate) fn named(name: &str) -> Result<Order, String> {
        let by = By::ALL.into_iter().find(|by| by.name() == name);
        let names = || By::ALL.map(By::name).join(", ");
        let by = by.ok_or_else(|| format!("{name:?} is no order of nodes: {}", names()))?;
        Ok(Order { by, reversed: false })
    }

    /// The nodes as they are listed. Those that are equal in the column keep the order of the cluster file.
    pub(crate) fn of(self, world: &World, picture: &Picture) -> Vec<Slot> {
        let mut slots: Vec<(Slot, &Node)> = world.slots().collect();
        let least = |word: Option<&Status>, of: fn(&Status) -> u64| word.map_or(0, of);
        match self.by {
            By::Listed if slots.len() > SEEN_MAX => {
                slots.sort_by_key(|(slot, n)| (!troubled(world, n), picture.leader != Some(*slot)));
            }
            By::Listed => {}
            By::Name => slots.sort_by_key(|(_, n)| natural(&n.name)),
            By::Role => slots.sort_by_key(|(slot, n)| (picture.leader != Some(*slot), !n.live(), rank(n))),
            By::Term => slots.sort_by_key(|(_, n)| Reverse(least(n.word(), |s| s.term.0))),
            By::Last => slots.sort_by_key(|(_, n)| Reverse(least(n.word(), |s| s.last.0))),
            By::Lag => slots.sort_by_key(|(_, n)| least(n.word(), |s| s.last.0)),
            By::Fault => slots.sort_by_key(|(_, n)| (n.live(), n.word().is_none_or(|s| s.faults.is_empty()))),
        }
        if self.reversed {
            slots.reverse();
        }
        slots.into_iter().map(|(slot, _)| slot).collect()
    }
}

fn rank(node: &Node) -> u8 {
    match node.word().map(|s| s.role) {
        Some(Role::Leader) => 0,
        Some(Role::Candidate) => 1,
        Some(Role::PreCandidate) => 2,
        Some(Role::Follower) => 3,
        None => 4,
    }
}

/// Something is wrong with it: it is silent, or has a fault. One that left the cluster is only gone.
fn troubled(world: &World, node: &Node) -> bool {
    let faulty = node.live() && node.word().is_some_and(|s| !s.faults.is_empty());
    faulty || (!node.live() && !world.gone(node))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raftdeck_shared::{ids::NodeId, wire};

    use super::*;
    use crate::console::{msg::Time, world::Conn};

    /// Nodes of which number 9 leads and number 11 is silent, in a usual order: from 1.
    fn order(count: u64) -> Vec<u64> {
        let mut world = World::default();
        for id in 1..=count {
            let mut node = Node::new(Some(NodeId(id)), format!("n{id}"), String::new());
            node.conn = if id == 11 { Conn::Connecting } else { Conn::Live };
            let role = if id == 9 { wire::Role::Leader } else { wire::Role::Follower };
            let peers = (1..=count).filter(|peer| *peer != id && *peer != 11);
            let up = |node| wire::PeerStatus { node, link: wire::LinkState::Up.into(), ..Default::default() };
            let word = wire::NodeStatus {
                node: id,
                term: 7,
                role: role.into(),
                voters: (1..=count).collect(),
                peers: peers.map(up).collect(),
                ..Default::default()
            };
            node.status = Some((Arc::new(Status::from_wire(word)), Time::default()));
            world.nodes.push(node);
        }
        let slots = Order::default().of(&world, &Picture::of(&world));
        slots.into_iter().map(|slot| slot.0 as u64 + 1).collect()
    }

    #[test]
    fn of_more_than_fit_those_in_trouble_and_the_leader_come_first() {
        assert_eq!(order(11), (1..=11).collect::<Vec<_>>(), "all are seen");
        assert_eq!(order(50)[..5], [11, 9, 1, 2, 3]);
    }
}
