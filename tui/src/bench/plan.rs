//! What is to be measured: the command line, checked.

use std::{path::PathBuf, time::Duration};

use raftdeck_jobs::limits::BULK_BYTES_MAX;

use crate::cli::{
    args::{self, Workload},
    failure::Failure,
    values::count,
};

/// Clients of w1, unless told.
pub(super) const CLIENTS_DEFAULT: u16 = 64;

/// Clients of w2 and w4.
const CLIENTS_OF_BULKS_AND_KILLS: u16 = 16;

/// Producers of w3, and as many workers.
pub(super) const PRODUCERS: u16 = 64;

const BATCH_DEFAULT: u16 = 100;
pub(super) const DEPTH_DEFAULT: u32 = 64;
pub(super) const NODES_DEFAULT: u8 = 3;

/// The handler of the own cluster, and of a running one unless told.
pub(super) const HANDLER: &str = "bench";

/// The handler of jobs that wait beside the load: no worker has it.
pub(super) const WAITING: &str = "bench-waiting";

/// Everything that is measured, in turn.
#[derive(Debug)]
pub struct Plan {
    pub(super) place: Place,
    pub(super) cases: Vec<Case>,
    pub(super) payload_bytes: usize,
    pub(super) window: Duration,
    /// Open loop: requests a second.
    pub(super) rate: Option<u32>,
    pub(super) limits: bool,
    pub(super) beside: Beside,
}

/// What is in the cluster before the load comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// So many jobs that wait and that no worker takes. Usually none.
    Waiting(u64),
    /// So many jobs that are done.
    Finished(u64),
}

/// Where.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On a cluster of its own, its data in a folder made in `parent`.
    Own { nodes: u8, parent: Option<PathBuf> },
    /// On one that runs.
    Running { place: args::Place, handler: String },
}

/// One line of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) workload: Workload,
    pub(super) load: Load,
    pub(super) clients: u16,
    pub(super) repeat: u16,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// w1, w2: submit so many jobs at once.
    Submit { batch: u16 },
    /// w3: at most so many jobs on their way.
    Life { depth: u32 },
    /// w4.
    Kill,
}

impl Case {
    /// For people.
    pub(super) fn name(&self) -> String {
        format!("{}, {}", self.workload.name(), count(self.clients.into(), "client"))
    }
}

impl Plan {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// Names the option, its limit and its value.
    pub fn new(place: &args::Place, args: &args::Bench) -> Result<Plan, Failure> {
        let has = |workload| args.workload.contains(&workload);
        let usage = |message: String| Err(Failure::Usage(message));
        for (option, given, of, which) in [
            ("--clients", !args.clients.is_empty(), has(Workload::W1), "w1"),
            ("--batch", args.batch.is_some(), has(Workload::W2), "w2"),
            ("--depth", args.depth.is_some(), has(Workload::W3), "w3"),
            ("--kills", args.kills.is_some(), has(Workload::W4), "w4"),
        ] {
            if given && !of {
                return usage(format!("{option} is of {which}, which is not among the workloads"));
            }
        }
        if has(Workload::W4) && args.rate.is_some() {
            return usage("--rate: w4 has no open loop".to_owned());
        }
        if has(Workload::W4) && args.repeat.is_some() && args.workload.len() == 1 {
            return usage("--repeat: w4 is repeated by --kills".to_owned());
        }
        let payload_bytes = args.payload as usize;
        if has(Workload::W3) && payload_bytes < super::life::STAMP_BYTES {
            let least = super::life::STAMP_BYTES;
            return usage(format!("--payload {payload_bytes}: a job of w3 carries its number, {least} bytes or more"));
        }
        let batch = args.batch.unwrap_or(BATCH_DEFAULT);
        let bulk_bytes = usize::from(batch) * payload_bytes;
        if has(Workload::W2) && bulk_bytes > BULK_BYTES_MAX {
            return usage(format!(
                "--batch {batch} of --payload {payload_bytes}: a bulk of {bulk_bytes} bytes, the limit is {BULK_BYTES_MAX}"
            ));
        }
        let depth = args.depth.unwrap_or(DEPTH_DEFAULT);
        let clients_of_w1 = if args.clients.is_empty() { &[CLIENTS_DEFAULT][..] } else { &args.clients };
        let mut cases = Vec::new();
        for &workload in &args.workload {
            let (load, clients): (_, &[u16]) = match workload {
                Workload::W1 => (Load::Submit { batch: 1 }, clients_of_w1),
                Workload::W2 => (Load::Submit { batch }, &[CLIENTS_OF_BULKS_AND_KILLS]),
                Workload::W3 => (Load::Life { depth }, &[PRODUCERS]),
                Workload::W4 => (Load::Kill, &[CLIENTS_OF_BULKS_AND_KILLS]),
            };
            let repeat = match workload {
                Workload::W1 | Workload::W2 | Workload::W3 => args.repeat.unwrap_or(1),
                Workload::W4 => args.kills.unwrap_or(1),
            };
            cases.extend(clients.iter().map(|&clients| Case { workload, load, clients, repeat }));
        }
        Ok(Plan {
            place: Place::of(place, args)?,
            cases,
            payload_bytes,
            window: Duration::from_secs(args.seconds.into()),
            rate: args.rate,
            limits: args.limits,
            beside: Beside::Waiting(0),
        })
    }
}

impl Place {
    /// The environment is not looked at: load goes to a running cluster only if this very call names it.
    fn of(place: &args::Place, args: &args::Bench) -> Result<Place, Failure> {
        let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
        if place.cluster.is_none() && place.connect.is_empty() {
            if args.handler.is_some() {
                return usage("--handler is of a running cluster: name one by --cluster or --connect");
            }
            let nodes = args.nodes.unwrap_or(NODES_DEFAULT);
            return Ok(Place::Own { nodes, parent: place.dir.clone() });
        }
        if args.workload.contains(&Workload::W4) {
            return usage("w4 kills the leader: it is for a cluster of its own, without --cluster and --connect");
        }
        if args.nodes.is_some() {
            return usage("--nodes is of a cluster of its own: it goes without --cluster and --connect");
        }
        let handler = args.handler.clone().unwrap_or_else(|| HANDLER.to_owned());
        Ok(Place::Running { place: place.clone(), handler })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{
        args::{Call, Verb},
        failure::usage_line,
    };

    fn plan(words: &str) -> Result<Plan, String> {
        let call = Call::try_parse_from("raftdeck bench".split(' ').chain(words.split_whitespace()));
        let call = call.map_err(|e| usage_line(&e))?;
        let Some(Verb::Bench(args)) = call.verb else { panic!("{words}") };
        Plan::new(&call.place, &args).map_err(|failure| match failure {
            Failure::Usage(message) => message,
            other => panic!("{other:?}"),
        })
    }

    fn case(workload: Workload, load: Load, clients: u16, repeat: u16) -> Case {
        Case { workload, load, clients, repeat }
    }

    #[test]
    fn workloads_and_clients_are_measured_in_turn() {
        use Workload::{W1, W2, W3, W4};
        let one = Load::Submit { batch: 1 };
        let plain = plan("").unwrap();
        assert_eq!(plain.cases, [case(W1, one, 64, 1)]);
        assert_eq!((plain.payload_bytes, plain.window, plain.rate), (200, Duration::from_secs(5), None));
        assert_eq!(plain.place, Place::Own { nodes: 3, parent: None });
        let all = plan("--workload w1,w2,w3,w4 --clients 1,1000 --batch 7 --depth 1024 --repeat 3 --kills 9").unwrap();
        let wanted = [
            case(W1, one, 1, 3),
            case(W1, one, 1000, 3),
            case(W2, Load::Submit { batch: 7 }, 16, 3),
            case(W3, Load::Life { depth: 1024 }, 64, 3),
            case(W4, Load::Kill, 16, 9),
        ];
        assert_eq!(all.cases, wanted);
        let place = plan("--nodes 5 --dir /d").unwrap().place;
        assert_eq!(place, Place::Own { nodes: 5, parent: Some("/d".into()) });
        let running = plan("--connect h:1 --handler mine").unwrap().place;
        assert!(matches!(running, Place::Running { handler, .. } if handler == "mine"));
    }

    #[test]
    fn what_cannot_be_measured_is_one_line_with_limit_and_value() {
        for (words, line) in [
            ("--workload w5", "invalid value 'w5' for '--workload <W,..>' [possible values: w1, w2, w3, w4]"),
            (
                "--workload w1,",
                "a value is required for '--workload <W,..>' but none was supplied [possible values: w1, w2, w3, w4]",
            ),
            ("--clients 0", "invalid value '0' for '--clients <N,..>': 0 is not in 1..=1000"),
            ("--clients 1,1001", "invalid value '1001' for '--clients <N,..>': 1001 is not in 1..=1000"),
            ("--payload 1048577", "invalid value '1048577' for '--payload <BYTES>': 1048577 is not in 0..=1048576"),
            ("--seconds 0", "invalid value '0' for '--seconds <S>': 0 is not in 1..=3600"),
            ("--repeat 0", "invalid value '0' for '--repeat <K>': 0 is not in 1..=1000"),
            ("--rate 0", "invalid value '0' for '--rate <R>': 0 is not in 1..=1000000"),
            ("--workload w2 --batch 1001", "invalid value '1001' for '--batch <N>': 1001 is not in 1..=1000"),
            ("--nodes 64", "invalid value '64' for '--nodes <N>': 64 is not in 1..=63"),
            ("--workload w2 --clients 3", "--clients is of w1, which is not among the workloads"),
            ("--batch 3", "--batch is of w2, which is not among the workloads"),
            ("--depth 3", "--depth is of w3, which is not among the workloads"),
            ("--kills 3", "--kills is of w4, which is not among the workloads"),
            ("--workload w4 --rate 3", "--rate: w4 has no open loop"),
            ("--workload w4 --repeat 3", "--repeat: w4 is repeated by --kills"),
            ("--workload w3 --payload 15", "--payload 15: a job of w3 carries its number, 16 bytes or more"),
            (
                "--workload w2 --batch 1000 --payload 4195",
                "--batch 1000 of --payload 4195: a bulk of 4195000 bytes, the limit is 4194304",
            ),
            (
                "--workload w4 --connect h:1",
                "w4 kills the leader: it is for a cluster of its own, without --cluster and --connect",
            ),
            (
                "--nodes 3 --cluster c.toml",
                "--nodes is of a cluster of its own: it goes without --cluster and --connect",
            ),
            ("--handler x", "--handler is of a running cluster: name one by --cluster or --connect"),
        ] {
            assert_eq!(plan(words).unwrap_err(), line, "{words}");
        }
    }
}
