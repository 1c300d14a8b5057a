//! Reads one command of the scenario language. Each command is one arm; what is no command is said in one line.

use raftdeck_raft::{Index, NodeId, Term};

use crate::{
    network::{Arrival, Traffic},
    scenario::{Act, Clockwork, Command, Expect, Fate, Place, Request, Sky, View},
};

/// Most nodes of a scenario.
const NODES_MAX: u64 = 50;

/// Requests of one `submit`.
const SUBMIT_MAX: u64 = 10_000;

/// Time that one command lets pass, or a lease lasts.
const TIME_US_MAX: u64 = 1_000 * 3_600_000_000;

/// The words of a line, which are at least one.
pub(crate) fn command(words: &[&str]) -> Result<Command, String> {
    Ok(match words {
        ["cluster", nodes] => Command::Cluster { nodes: cluster_size(nodes)?, batch: None },
        ["cluster", nodes, "batch", batch] => match batch.parse() {
            Ok(batch @ 1..=1024) => Command::Cluster { nodes: cluster_size(nodes)?, batch: Some(batch) },
            _ => return Err(format!("batch {batch}: 1 to 1024 entries")),
        },
        ["run", time] => Command::Run(duration_us(time)?),
        ["submit", name] => Command::Ask(node(name)?, Request::Submit(1)),
        ["submit", name, count] => match number(count)? {
            count @ 1..=SUBMIT_MAX => Command::Ask(node(name)?, Request::Submit(count)),
            _ => return Err(format!("submit {count}: 1 to {SUBMIT_MAX} jobs")),
        },
        ["read", name] => Command::Ask(node(name)?, Request::Read),
        ["session", name, who] => Command::Ask(node(name)?, Request::Session(person(who)?)),
        ["call", name, who, "submit"] => Command::Ask(node(name)?, Request::Call(person(who)?)),
        ["again", name, who] => Command::Ask(node(name)?, Request::Again(person(who)?, None)),
        ["again", name, who, seq] => Command::Ask(node(name)?, Request::Again(person(who)?, Some(number(seq)?))),
        ["claim", name, who, lease] => {
            Command::Ask(node(name)?, Request::Claim(person(who)?, duration_us(lease)? / 1000))
        }
        ["ack", name, who] => Command::Ask(node(name)?, Request::Ack(person(who)?)),
        ["transfer", from, "->", to] => Command::Ask(node(from)?, Request::Transfer(node(to)?)),
        ["add", name, new] => Command::Ask(node(name)?, Request::Add { node: node(new)?, learner: false }),
        ["add", name, new, "learner"] => Command::Ask(node(name)?, Request::Add { node: node(new)?, learner: true }),
        ["remove", name, old] => Command::Ask(node(name)?, Request::Remove(node(old)?)),
        ["voters", name, "=", voters @ ..] => Command::Ask(node(name)?, Request::Voters(nodes(voters)?)),
        ["compact", name] => Command::Ask(node(name)?, Request::Compact),
        ["cut", sides @ ..] => cut(sides)?,
        ["heal"] => Command::Heal,
        ["clog", from, "->", to] => Command::Clog(node(from)?, node(to)?, Traffic::All),
        ["clog", from, "->", to, kind] => Command::Clog(node(from)?, node(to)?, traffic(kind)?),
        ["unclog", from, "->", to] => Command::Unclog(node(from)?, node(to)?, Arrival::Once),
        ["unclog", from, "->", to, "twice"] => Command::Unclog(node(from)?, node(to)?, Arrival::Twice),
        ["unclog", from, "->", to, "backwards"] => Command::Unclog(node(from)?, node(to)?, Arrival::Backwards),
        ["unclog", from, "->", to, "lost"] => Command::Unclog(node(from)?, node(to)?, Arrival::Never),
        ["loss", part] => Command::Weather(Sky::Loss(percent(part)?)),
        ["duplicate", part] => Command::Weather(Sky::Duplicate(percent(part)?)),
        ["replay", part] => Command::Weather(Sky::Replay(percent(part)?)),
        ["delay", time] => delay(time)?,
        ["timeout", name] => Command::Do(Act::Timeout, node(name)?),
        ["crash", name] => Command::Do(Act::Crash, node(name)?),
        ["reset", name] => Command::Do(Act::Reset, node(name)?),
        ["start", name] => Command::Do(Act::Start, node(name)?),
        ["pause", name] => Command::Do(Act::Pause, node(name)?),
        ["resume", name] => Command::Do(Act::Resume, node(name)?),
        ["hold", name] => Command::Do(Act::Hold, node(name)?),
        ["release", name] => Command::Do(Act::Release, node(name)?),
        ["fail", name] => Command::Do(Act::Fail, node(name)?),
        ["tear", name] => Command::Do(Act::Tear, node(name)?),
        ["wipe", name] => Command::Do(Act::Wipe, node(name)?),
        ["lose", name] => Command::Do(Act::Lose, node(name)?),
        ["join", name] => Command::Do(Act::Join, node(name)?),
        ["age", name, index] => Command::Age(node(name)?, Index(number(index)?)),
        ["clock", name, "rate", rate] => match rate.strip_suffix('%').and_then(|n| n.parse().ok()) {
            Some(rate @ 10..=1000) => Command::Clock(node(name)?, Clockwork::Rate(rate)),
            Some(_) | None => return Err(format!("{rate:?} is no rate: 10% to 1000%")),
        },
        ["clock", name, ahead] => Command::Clock(node(name)?, Clockwork::Ahead(ahead_ms(ahead)?)),
        ["status"] => Command::Show(View::Status),
        ["log"] => Command::Show(View::Log),
        ["members"] => Command::Show(View::Members),
        ["followers", name] => Command::Show(View::Followers(node(name)?)),
        ["expect", what @ ..] => Command::Expect(expect(what)?),
        _ => return Err(format!("{:?} is no command", words.join(" "))),
    })
}

fn expect(words: &[&str]) -> Result<Expect, String> {
    Ok(match words {
        ["leader", name] => Expect::Leader(node(name)?),
        ["a", "leader"] => Expect::ALeader,
        ["no", "leader"] => Expect::NoLeader,
        ["equal", of @ ..] => Expect::Equal(nodes(of)?),
        ["jobs", count] => Expect::Jobs(number(count)?),
        ["term", name, term] => Expect::Term(node(name)?, Term(number(term)?)),
        ["last", name, index] => Expect::Place(Place::Last, node(name)?, Index(number(index)?)),
        ["durable", name, index] => Expect::Place(Place::Durable, node(name)?, Index(number(index)?)),
        ["commit", name, index] => Expect::Place(Place::Commit, node(name)?, Index(number(index)?)),
        ["applied", name, index] => Expect::Place(Place::Applied, node(name)?, Index(number(index)?)),
        ["members", name, of @ ..] => Expect::Members(node_and_colon(name)?, nodes(of)?),
        ["learners", name, of @ ..] => Expect::Learners(node_and_colon(name)?, nodes(of)?),
        ["joint", name] => Expect::Joint(node(name)?),
        ["client", client, "as", other] => Expect::SameAnswer(number(client)?, number(other)?),
        ["client", client, fate] => Expect::Client(
            number(client)?,
            match *fate {
                "done" => Fate::Done,
                "refused" => Fate::Refused,
                "unknown" => Fate::Unknown,
                "waiting" => Fate::Waiting,
                _ => return Err(format!("{fate:?} is no end of a request: done, refused, unknown, waiting")),
            },
        ),
        _ => return Err(format!("\"expect {}\" is nothing that can be expected", words.join(" "))),
    })
}

fn cluster_size(word: &str) -> Result<u64, String> {
    let size = word.parse().ok().filter(|nodes| (1..=NODES_MAX).contains(nodes));
    size.ok_or_else(|| format!("cluster {word}: 1 to {NODES_MAX} nodes"))
}

fn cut(words: &[&str]) -> Result<Command, String> {
    let middle = words.iter().position(|w| matches!(*w, "/" | "->")).ok_or("cut needs two sides: cut n1 / n2 n3")?;
    let (left, mut right) = (&words[..middle], &words[middle + 1..]);
    let mut what = Traffic::All;
    if let [sides @ .., last] = right
        && node(last).is_err()
    {
        (right, what) = (sides, traffic(last)?);
    }
    let (left, right) = (nodes(left)?, nodes(right)?);
    if left.is_empty() || right.is_empty() || left.iter().any(|n| right.contains(n)) {
        return Err("cut needs two sides that share no node".into());
    }
    Ok(Command::Cut { left, right, one_way: words[middle] == "->", traffic: what })
}

fn traffic(word: &str) -> Result<Traffic, String> {
    match word {
        "votes" => Ok(Traffic::Votes),
        "entries" => Ok(Traffic::Entries),
        "heartbeats" => Ok(Traffic::Heartbeats),
        "orders" => Ok(Traffic::Orders),
        _ => Err(format!("{word:?} is neither a node nor a kind of message: votes, entries, heartbeats, orders")),
    }
}

fn nodes(words: &[&str]) -> Result<Vec<NodeId>, String> {
    words.iter().map(|w| node(w)).collect()
}

fn node(word: &str) -> Result<NodeId, String> {
    let id = word.strip_prefix('n').and_then(|digits| digits.parse().ok()).filter(|id| (1..=99).contains(id));
    id.map(NodeId).ok_or_else(|| format!("{word:?} is no node: n1, n2, ..."))
}

fn node_and_colon(word: &str) -> Result<NodeId, String> {
    node(word.strip_suffix(':').ok_or_else(|| format!("a colon follows whose log says it: {word}:"))?)
}

fn person(word: &str) -> Result<String, String> {
    let is_name = word.len() <= 16 && word.chars().all(|c| c.is_ascii_lowercase());
    if is_name { Ok(word.into()) } else { Err(format!("{word:?} is no client: a, b, ...")) }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word:?} is no number"))
}

fn percent(word: &str) -> Result<u8, String> {
    let part = word.strip_suffix('%').and_then(|n| n.parse().ok()).filter(|part| *part <= 100);
    part.ok_or_else(|| format!("{word:?} is no part: 0% to 100%"))
}

fn delay(word: &str) -> Result<Command, String> {
    let (least, most) = word.split_once("..").unwrap_or((word, word));
    let (least, most) = (duration_us(least)?, duration_us(most)?);
    if least > most {
        return Err(format!("{word:?} ends before it begins"));
    }
    Ok(Command::Weather(Sky::Delay(least, most)))
}

fn ahead_ms(word: &str) -> Result<i64, String> {
    let no = || format!("{word:?} is no way to set a clock: +5s, -300ms, rate 120%");
    let (sign, time) = match word.split_at_checked(1) {
        Some(("+", time)) => (1, time),
        Some(("-", time)) => (-1, time),
        Some(_) | None => return Err(no()),
    };
    let ms = i64::try_from(duration_us(time)? / 1000).map_err(|_| no())?;
    Ok(sign * ms)
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
    let us = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(scale)).filter(|us| *us <= TIME_US_MAX);
    us.ok_or_else(|| format!("{word:?} is no time"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn every_command_is_read() {
        let text = "cluster 3\nrun 20ms # why\n  n1 was leader\n\ncut n1 / n2 n3\ncut n1 -> n2 votes\nexpect no leader\n\
            add n1 n4 learner\nclock n2 -5s\ndelay 5ms..50ms\nexpect members n1: n1 n2\nunclog n1 -> n2 twice\nage n1 3\n";
        let commands: Vec<Command> =
            Scenario::parse(text).unwrap().lines.into_iter().filter_map(|(_, command)| command).collect();
        let (n1, n2, n3) = (NodeId(1), NodeId(2), NodeId(3));
        assert_eq!(
            commands,
            [
                Command::Cluster { nodes: 3, batch: None },
                Command::Run(20_000),
                Command::Cut { left: vec![n1], right: vec![n2, n3], one_way: false, traffic: Traffic::All },
                Command::Cut { left: vec![n1], right: vec![n2], one_way: true, traffic: Traffic::Votes },
                Command::Expect(Expect::NoLeader),
                Command::Ask(n1, Request::Add { node: NodeId(4), learner: true }),
                Command::Clock(n2, Clockwork::Ahead(-5_000)),
                Command::Weather(Sky::Delay(5_000, 50_000)),
                Command::Expect(Expect::Members(n1, vec![n1, n2])),
                Command::Unclog(n1, n2, Arrival::Twice),
                Command::Age(n1, Index(3)),
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
            (
                "cluster 3\ncut n1 -> n2 mail",
                "line 2: \"mail\" is neither a node nor a kind of message: votes, entries, heartbeats, orders",
            ),
            ("cluster 3\nclock n1 5s", "line 2: \"5s\" is no way to set a clock: +5s, -300ms, rate 120%"),
            ("cluster 3\nloss 200%", "line 2: \"200%\" is no part: 0% to 100%"),
            ("cluster 3\nexpect luck", "line 2: \"expect luck\" is nothing that can be expected"),
            (
                "cluster 3\nexpect client 1 happy",
                "line 2: \"happy\" is no end of a request: done, refused, unknown, waiting",
            ),
            ("cluster 3\nexpect members n1 n1", "line 2: a colon follows whose log says it: n1:"),
            ("cluster 51", "line 1: cluster 51: 1 to 50 nodes"),
        ] {
            assert_eq!(Scenario::parse(text).unwrap_err().to_string(), error);
        }
    }
}
