//! The scenario language: one command a line.
//!
//! ```text
//! # A candidate whose log is behind does not win.          a comment
//! cluster 3                  a fresh cluster of so many nodes, always the first command
//! run 500ms                  time passes (us, ms, s)
//! timeout n1                 n1's election clock runs out now
//! submit n1 3                a client hands n1 so many jobs, one request each (1 unless said)
//! cut n1 / n2 n3             nothing passes between the two sides
//! cut n1 -> n2 n3            nothing passes from left to right
//! heal                       everything passes again
//! crash n1                   gone at once, with all that its disk had not finished
//! start n1                   comes back with what its disk has
//! hold n1                    its disk takes writes and finishes none
//! release n1                 its disk goes on
//! status                     a line for each node
//! log                        the log of each node, a term for each entry
//! expect leader n1           or: expect no leader, expect equal, expect jobs 3
//! ```
//!
//! What a command made happen follows it, indented: a scenario file reads as a transcript, and a test compares it. The
//! indented lines are not part of the language; a runner ignores them or writes them.

use raftdeck_raft::NodeId;
use thiserror::Error;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A fresh cluster of so many nodes.
    Cluster(u64),
    /// So many microseconds pass.
    Run(u64),
    /// A node's election clock runs out.
    Timeout(NodeId),
    /// A client hands a node so many jobs.
    Submit(NodeId, u64),
    /// Nothing passes between two sides, or only one way.
    Cut {
        /// From here ...
        left: Vec<NodeId>,
        /// ... to there ...
        right: Vec<NodeId>,
        /// ... but back.
        one_way: bool,
    },
    /// Everything passes again.
    Heal,
    /// A node is gone.
    Crash(NodeId),
    /// A node comes back.
    Start(NodeId),
    /// A disk finishes nothing.
    Hold(NodeId),
    /// A disk goes on.
    Release(NodeId),
    /// A line for each node.
    Status,
    /// The log of each node.
    Log,
    /// The leader of the highest term is this, or there is none.
    ExpectLeader(Option<NodeId>),
    /// All nodes that are up have the same log, commit index and state.
    ExpectEqual,
    /// Every node that is up has so many jobs.
    ExpectJobs(u64),
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
            let command = if words.is_empty() { None } else { Some(command(&words)) };
            let command = command.transpose().map_err(|message| ParseError { line: number + 1, message })?;
            lines.push((line.trim_end().to_owned(), command));
        }
        let first = lines.iter().position(|(_, command)| command.is_some());
        match first.and_then(|at| lines[at].1.as_ref()) {
            Some(Command::Cluster(_)) => Ok(Scenario { lines }),
            _ => Err(ParseError {
                line: first.map_or(1, |at| at + 1),
                message: "a scenario begins with: cluster N".into(),
            }),
        }
    }
}

fn command(words: &[&str]) -> Result<Command, String> {
    match words {
        ["cluster", count] => match count.parse() {
            Ok(count @ 1..=9) => Ok(Command::Cluster(count)),
            _ => Err(format!("cluster {count}: 1 to 9 nodes")),
        },
        ["run", time] => duration_us(time).map(Command::Run),
        ["timeout", name] => node(name).map(Command::Timeout),
        ["submit", name] => Ok(Command::Submit(node(name)?, 1)),
        ["submit", name, count] => Ok(Command::Submit(node(name)?, number(count)?)),
        ["cut", sides @ ..] => cut(sides),
        ["heal"] => Ok(Command::Heal),
        ["crash", name] => node(name).map(Command::Crash),
        ["start", name] => node(name).map(Command::Start),
        ["hold", name] => node(name).map(Command::Hold),
        ["release", name] => node(name).map(Command::Release),
        ["status"] => Ok(Command::Status),
        ["log"] => Ok(Command::Log),
        ["expect", "leader", name] => Ok(Command::ExpectLeader(Some(node(name)?))),
        ["expect", "no", "leader"] => Ok(Command::ExpectLeader(None)),
        ["expect", "equal"] => Ok(Command::ExpectEqual),
        ["expect", "jobs", count] => number(count).map(Command::ExpectJobs),
        _ => Err(format!("{:?} is no command", words.join(" "))),
    }
}

fn cut(words: &[&str]) -> Result<Command, String> {
    let middle = words.iter().position(|w| matches!(*w, "/" | "->")).ok_or("cut needs two sides: cut n1 / n2 n3")?;
    let side = |words: &[&str]| words.iter().map(|w| node(w)).collect::<Result<Vec<_>, _>>();
    let (left, right) = (side(&words[..middle])?, side(&words[middle + 1..])?);
    if left.is_empty() || right.is_empty() || left.iter().any(|n| right.contains(n)) {
        return Err("cut needs two sides that share no node".into());
    }
    Ok(Command::Cut { left, right, one_way: words[middle] == "->" })
}

fn node(word: &str) -> Result<NodeId, String> {
    let id = word.strip_prefix('n').and_then(|digits| digits.parse().ok()).filter(|id| *id > 0);
    id.map(NodeId).ok_or_else(|| format!("{word:?} is no node: n1, n2, ..."))
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word:?} is no number"))
}

fn duration_us(word: &str) -> Result<u64, String> {
    let split = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let (digits, unit) = word.split_at(split);
    let scale = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        _ => return Err(format!("{word:?} is no time: 500us, 20ms, 3s")),
    };
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(scale)).ok_or_else(|| format!("{word:?} is no time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_read() {
        let text = "cluster 3\nrun 20ms # why\n  n1 was leader\n\ncut n1 / n2 n3\ncut n1 -> n2\nexpect no leader\n";
        let commands: Vec<Command> =
            Scenario::parse(text).unwrap().lines.into_iter().filter_map(|(_, command)| command).collect();
        let (n1, n2, n3) = (NodeId(1), NodeId(2), NodeId(3));
        assert_eq!(
            commands,
            [
                Command::Cluster(3),
                Command::Run(20_000),
                Command::Cut { left: vec![n1], right: vec![n2, n3], one_way: false },
                Command::Cut { left: vec![n1], right: vec![n2], one_way: true },
                Command::ExpectLeader(None),
            ]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, error) in [
            ("run 1s", "line 1: a scenario begins with: cluster N"),
            ("cluster 3\nfly n1", "line 2: \"fly n1\" is no command"),
            ("cluster 3\n\nrun 5", "line 3: \"5\" is no time: 500us, 20ms, 3s"),
            ("cluster 3\ncrash 1", "line 2: \"1\" is no node: n1, n2, ..."),
            ("cluster 3\ncut n1 / n1", "line 2: cut needs two sides that share no node"),
            ("cluster 30", "line 1: cluster 30: 1 to 9 nodes"),
        ] {
            assert_eq!(Scenario::parse(text).unwrap_err().to_string(), error);
        }
    }
}
