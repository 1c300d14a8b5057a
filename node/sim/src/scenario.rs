//! The scenario language: one command a line. `SCENARIOS.md` beside this crate lists them with examples; [`Command`] is the
//! same list as values, `parse` reads it, `play` runs it.
//!
//! ```text
//! # A candidate whose log is behind does not win.          a comment
//! cluster 3                  a fresh cluster of so many nodes, always the first command
//! timeout n1                 n1's election clock runs out now
//! run 500ms                  time passes (us, ms, s)
//! submit n1 3                a client hands n1 so many jobs, one request each (1 unless said)
//! cut n1 / n2 n3             nothing passes between the two sides
//! expect no leader           the scenario fails if it is otherwise
//! ```
//!
//! What a command made happen follows it, indented: a scenario file reads as a transcript, and a test compares it. The
//! indented lines are not part of the language; a runner ignores them or writes them.
//!
//! Every request (`submit`, `read`, `transfer`, `add`, ...) is a client of its own, numbered from 1 in the order of the
//! file: `expect client 3 done` speaks of the third.

use raftdeck_raft::{Index, NodeId, Term};
use thiserror::Error;

use crate::{
    network::{Arrival, Traffic},
    parse,
};

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A fresh cluster.
    Cluster {
        /// Of so many nodes.
        nodes: u64,
        /// Entries in an append.
        batch: Option<usize>,
    },
    /// So many microseconds pass.
    Run(u64),
    /// Something is asked of a node; the answer comes when it comes.
    Ask(NodeId, Request),
    /// Nothing passes between two sides, or only one way, or only not what is of a kind.
    Cut {
        /// From here ...
        left: Vec<NodeId>,
        /// ... to there ...
        right: Vec<NodeId>,
        /// ... but back.
        one_way: bool,
        /// What does not pass.
        traffic: Traffic,
    },
    /// Everything passes again that was cut.
    Heal,
    /// What goes from one node to another waits on the way.
    Clog(NodeId, NodeId, Traffic),
    /// It arrives, and what comes after it passes.
    Unclog(NodeId, NodeId, Arrival),
    /// How messages fare from now on.
    Weather(Sky),
    /// Something is done to a node.
    Do(Act, NodeId),
    /// A node's clock goes otherwise than the others from now on.
    Clock(NodeId, Clockwork),
    /// A node is gone, and one entry of its log is again what it was before it was replaced.
    Age(NodeId, Index),
    /// Something is shown.
    Show(View),
    /// It must be so.
    Expect(Expect),
}

/// What a client or an operator asks of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// So many jobs, a request for each.
    Submit(u64),
    /// What is true now.
    Read,
    /// A session, to be called so.
    Session(String),
    /// A job, as the session's next call.
    Call(String),
    /// A call of the session once more: the last, or that of this number.
    Again(String, Option<u64>),
    /// A worker takes a job, under a lease of so many milliseconds.
    Claim(String, u64),
    /// A worker says that the job it took last is done.
    Ack(String),
    /// Hand leadership over.
    Transfer(NodeId),
    /// A node that starts with this belongs to the group.
    Add {
        /// Which.
        node: NodeId,
        /// For good: it is not to become a voter.
        learner: bool,
    },
    /// A node does not belong to it any more.
    Remove(NodeId),
    /// These vote.
    Voters(Vec<NodeId>),
    /// Cut the log.
    Compact,
}

/// What is done to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Its election clock runs out.
    Timeout,
    /// It is gone, with all that its disk had not finished.
    Crash,
    /// The others' connections to it are reset.
    Reset,
    /// It comes back with what its disk has.
    Start,
    /// It stands still; what comes waits.
    Pause,
    /// It goes on.
    Resume,
    /// Its disk takes writes and finishes none.
    Hold,
    /// Its disk goes on.
    Release,
    /// It starts for the first time, and belongs to nobody.
    Join,
    /// The next sync of its disk fails.
    Fail,
    /// It is gone, and its log has lost what was not folded into its database.
    Tear,
    /// It is gone, and its directory is empty; that there was one is still known.
    Wipe,
    /// It is gone, and its disk is a new one.
    Lose,
}

/// One thing about the weather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sky {
    /// So many of a hundred messages are lost.
    Loss(u8),
    /// ... arrive twice.
    Duplicate(u8),
    /// ... come again later.
    Replay(u8),
    /// So many microseconds on the way, at least and at most.
    Delay(u64, u64),
}

/// One thing about a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clockwork {
    /// Its wall clock is ahead by so many milliseconds, or behind.
    Ahead(i64),
    /// It runs at so many percent of the others' speed.
    Rate(u64),
}

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A line for each node.
    Status,
    /// The log of each node, a term for each entry.
    Log,
    /// Who belongs to the group, as each node's log says.
    Members,
    /// What a leader knows of each follower.
    Followers(NodeId),
}

/// What must be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The leader of the highest term is this.
    Leader(NodeId),
    /// Somebody leads.
    ALeader,
    /// Nobody leads.
    NoLeader,
    /// These nodes, or all that are up, have the same log, commit index and state.
    Equal(Vec<NodeId>),
    /// Every node that is up has so many jobs.
    Jobs(u64),
    /// A node is in this term.
    Term(NodeId, Term),
    /// A place in a node's log.
    Place(Place, NodeId, Index),
    /// A node's log says that exactly these vote, and that no change is under way.
    Members(NodeId, Vec<NodeId>),
    /// ... that exactly these are learners.
    Learners(NodeId, Vec<NodeId>),
    /// ... that two sets of voters must agree.
    Joint(NodeId),
    /// How a client fared.
    Client(u64, Fate),
    /// Two clients have the same answer.
    SameAnswer(u64, u64),
}

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its end.
    Last,
    /// What its disk has.
    Durable,
    /// What is committed.
    Commit,
    /// What is applied.
    Applied,
}

/// How a client fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Done,
    /// It is certainly not done.
    Refused,
    /// Nobody can say.
    Unknown,
    /// No answer yet.
    Waiting,
}

/// A line that is not a command.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// A scenario as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Every line that is not indented, with its command if it has one.
    pub lines: Vec<(String, Option<Command>)>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// The line, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Scenario, ParseError> {
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.starts_with("  ") {
                continue;
            }
            let code = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = code.split_whitespace().collect();
            let command = if words.is_empty() { None } else { Some(parse::command(&words)) };
            let command = command.transpose().map_err(|message| ParseError { line: number + 1, message })?;
            lines.push((line.trim_end().to_owned(), command));
        }
        let first = lines.iter().position(|(_, command)| command.is_some());
        match first.and_then(|at| lines[at].1.as_ref()) {
            Some(Command::Cluster { .. }) => Ok(Scenario { lines }),
            _ => Err(ParseError {
                line: first.map_or(1, |at| at + 1),
                message: "a scenario begins with: cluster N".into(),
            }),
        }
    }
}
