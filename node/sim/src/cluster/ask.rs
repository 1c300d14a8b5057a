//! What clients and operators ask of a node. Each question has a ticket; its answer is a happening, and so is that there
//! will be none because the node crashed.

use raftdeck_jobs::{Op, SessionCall};
use raftdeck_node::replica::{Input, Ticket};
use raftdeck_raft::NodeId;

use super::{Cluster, Happening, Node, Steer};
use crate::violation::Violation;

impl Cluster {
    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// A client asks a node; the answer is a happening.
    ///
    /// # Errors
    /// A law was broken.
    pub fn request(&mut self, node: NodeId, op: Op) -> Result<Ticket, Violation> {
        self.call(node, op, None)
    }

    /// As [`Cluster::request`]; as a call of a session, if it is given.
    ///
    /// # Errors
    /// A law was broken.
    pub fn call(&mut self, node: NodeId, op: Op, call: Option<SessionCall>) -> Result<Ticket, Violation> {
        self.ask(node, |ticket| Input::Request(ticket, op, call))
    }

    /// As [`Cluster::call`]; a claim waits so many ticks for a job.
    ///
    /// # Errors
    /// A law was broken.
    pub fn wait(&mut self, node: NodeId, op: Op, call: Option<SessionCall>, ticks: u64) -> Result<Ticket, Violation> {
        self.ask(node, |ticket| Input::Wait(ticket, op, call, ticks))
    }

    fn ask(&mut self, node: NodeId, input: impl FnOnce(Ticket) -> Input) -> Result<Ticket, Violation> {
        let ticket = self.next_ticket();
        match self.nodes.get_mut(&node).and_then(|n| n.up.as_mut()) {
            None => self.happened(Happening::Answered(ticket, None)),
            Some(up) => {
                up.tickets.insert(ticket);
                if self.options.round_us > 0 {
                    up.asked.push(input(ticket)); // Whatever it does next, it does this with it.
                } else {
                    self.handle(node, vec![input(ticket)])?;
                }
            }
        }
        Ok(ticket)
    }

    /// A client or an operator asks a node for something else; the answer is a happening.
    ///
    /// # Errors
    /// A law was broken.
    pub fn steer(&mut self, node: NodeId, steer: Steer) -> Result<Ticket, Violation> {
        let ticket = self.next_ticket();
        let input = match steer {
            Steer::Read => {
                self.checks.read_begins(ticket);
                Input::Read(ticket)
            }
            Steer::Transfer(target) => Input::Transfer(ticket, target),
            Steer::Change(change) => Input::Change(ticket, change),
            Steer::Compact => Input::Compact(ticket),
        };
        match self.nodes.get_mut(&node).and_then(|n| n.up.as_mut()) {
            None => self.happened(Happening::Steered(ticket, None)),
            Some(up) => {
                up.steering.insert(ticket);
                self.handle(node, vec![input])?;
            }
        }
        Ok(ticket)
    }

    /// Callers without an answer, on nodes that are up.
    ///
    /// # Errors
    /// There are some.
    pub fn all_answered(&self) -> Result<(), Violation> {
        let unanswered = |(node, n): (&NodeId, &Node)| {
            let up = n.up.as_ref()?;
            let count = up.replica.unanswered() + up.tickets.len() + up.steering.len();
            (count > 0).then_some(Violation::Unanswered { node: *node, count })
        };
        self.nodes.iter().find_map(unanswered).map_or(Ok(()), Err)
    }
}
