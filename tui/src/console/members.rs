//! Nodes that nobody told the console of at its start: they joined later, or came back at another address.
//!
//! Each node says which nodes it knows, and where they are. A number that is new becomes a row and a connection of its
//! own, at once. An address is changed only on the word of the leader, or on that of who follows in the newest term if it is
//! the leader that moved, and only for a node that is not reached where it was: so an old word of a node that was cut off
//! moves nobody.

use raftdeck_shared::ids::NodeId;

use super::{
    model::Model,
    msg::{Cmd, Slot},
    status::{Role, Status},
    theme::Tone,
    world::{Fact, NODES_MAX, Node},
};

/// Takes the members that a node named; the commands connect to those that are new.
pub(crate) fn learn(model: &mut Model, from: Slot, status: &Status) -> Vec<Cmd> {
    // A foreign node is shown and not believed.
    if !model.live.node(from).is_some_and(|n| n.live()) {
        return Vec::new();
    }
    let is_newest = model.live.nodes.iter().filter(|n| n.live()).filter_map(Node::word).all(|s| s.term <= status.term);
    let mut cmds = Vec::new();
    for known in status.known.iter().filter(|k| !k.api.is_empty() && k.id != NodeId(0)) {
        let place = model.live.slots().find(|(_, n)| n.id == Some(known.id));
        let place = place.map(|(slot, n)| (slot, n.api != known.api && n.failed && !n.live()));
        match place {
            Some((slot, true)) if status.role == Role::Leader || (is_newest && status.leader == Some(known.id)) => {
                model.tell(Fact::Moved { slot, api: known.api.clone() });
                cmds.push(Cmd::Reach { slot, api: known.api.clone() });
            }
            Some(_) => {}
            // The same address without a number: it will say its number itself.
            None if model.live.nodes.iter().any(|n| n.api == known.api) => {}
            None if model.live.nodes.len() >= NODES_MAX => {}
            None => {
                let slot = Slot(model.live.nodes.len());
                let (name, api) = (known.name.clone(), known.api.clone());
                model.tell(Fact::Own(Tone::Good, format!("console: {name} is a member now, at {api}")));
                model.tell(Fact::Member { id: Some(known.id), name, api: api.clone() });
                cmds.push(Cmd::Reach { slot, api });
            }
        }
    }
    cmds
}
