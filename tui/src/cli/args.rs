//! The words of the command line. What they mean is in the module of each verb.

mod faults;

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use raftdeck_jobs::{
    JobState,
    limits::{BULK_JOBS_MAX, PAYLOAD_BYTES_MAX, PRIORITY_MAX},
};
use raftdeck_shared::cluster::check_address;
use serde::Serialize;

pub use self::faults::{Disk, Link, Ttl};
use super::values;
use crate::console::{Look, Theme};

/// Largest number of nodes that one machine is asked to start.
const LOCAL_NODES_MAX: i64 = raftdeck_shared::cluster::NODES_MAX as i64;

const PAYLOAD_MAX: i64 = PAYLOAD_BYTES_MAX as i64;
const BATCH_MAX: i64 = BULK_JOBS_MAX as i64;

/// See, steer and break a Raftdeck cluster. Without a verb: the console.
#[derive(Debug, Parser)]
#[command(name = "raftdeck", version, disable_help_subcommand = true, arg_required_else_help = false)]
pub struct Call {
    /// Where the cluster is.
    #[command(flatten)]
    pub place: Place,
    /// One JSON value on stdout instead of words
    #[arg(long, global = true)]
    pub json: bool,
    /// How the console looks.
    #[command(flatten)]
    pub look: ConsoleArgs,
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// How the console looks and what it may do.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Console")]
pub struct ConsoleArgs {
    /// No key changes the cluster
    #[arg(long, global = true)]
    pub read_only: bool,
    /// dark, light, colour-blind or mono
    #[arg(long, global = true, value_name = "THEME", value_parser = Theme::parse)]
    pub theme: Option<Theme>,
    /// ASCII marks only
    #[arg(long, global = true)]
    pub ascii: bool,
    /// Instead of ~/.config/raftdeck/console.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ConsoleArgs {
    /// As the console takes it.
    #[must_use]
    pub fn look(&self) -> Look {
        let ConsoleArgs { read_only, theme, ascii, config } = self.clone();
        Look { config, theme, ascii, read_only }
    }
}

/// Where the cluster is. The first that is given wins: --cluster, --connect, --dir, RAFTDECK_CLUSTER,
/// RAFTDECK_CONNECT, ./.raftdeck.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Place {
    /// The cluster file [env: RAFTDECK_CLUSTER]
    #[arg(long, global = true, value_name = "FILE")]
    pub cluster: Option<PathBuf>,
    /// Api addresses of nodes instead of a file [env: RAFTDECK_CONNECT]
    #[arg(long, global = true, value_name = "HOST:PORT,..", value_delimiter = ',')]
    pub connect: Vec<String>,
    /// The folder that `up` runs a cluster in [default: ./.raftdeck]
    #[arg(long, global = true, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a cluster for a look around, with jobs and faults; it ends with this call
    Demo(Demo),
    /// Measure: put load on a cluster of its own, or on a running one (--cluster, --connect)
    Bench(Bench),
    /// Start the nodes of a folder that do not run
    Up(Up),
    /// Stop the nodes of a folder
    Down,
    /// Stop and start one node of a folder, in its place
    Restart {
        /// Name of the node
        node: String,
    },
    /// The logs of the nodes of a folder, merged by time
    Logs(Logs),
    /// Nodes, roles, log positions, quorum and queues
    Status,
    /// Submit a job, or many
    Submit(Box<Submit>),
    /// List jobs, newest first
    Jobs(Jobs),
    /// One job and its history
    Job {
        /// Its id
        id: u64,
        /// Only what it was given, byte for byte
        #[arg(long, conflicts_with_all = ["output", "json"])]
        payload: bool,
        /// Only what it has brought, byte for byte
        #[arg(long, conflicts_with = "json")]
        output: bool,
    },
    /// Cancel a job
    Cancel {
        /// Its id
        id: u64,
    },
    /// Try a job now that waits, or submit the work of one again that was cancelled or discarded: `raftdeck retry 17`
    Retry {
        /// Its id; several are tried one after the other
        #[arg(required = true, value_name = "ID")]
        ids: Vec<u64>,
    },
    /// Give nobody a job of a queue until it is resumed, all else goes on: `raftdeck pause mail`
    Pause {
        /// Its name; it need not have had a job
        queue: String,
    },
    /// Give the jobs of a queue out again: `raftdeck resume mail`
    Resume {
        /// Its name
        queue: String,
    },
    /// The queues: what waits and runs in each, how what has ended ended, and which are paused
    Queues,
    /// Fault: abort a node at once, with no clean-up
    Kill {
        /// Name of the node
        node: String,
        /// By SIGKILL from outside, for a node of the folder that does not answer or refuses faults
        #[arg(long)]
        hard: bool,
    },
    /// Fault: cut the links between sides: `cut n1,n2 / n3,n4,n5`, or `cut n4` from all others
    Cut {
        /// Sides, separated by `/`; nodes of a side, by commas
        #[arg(required = true, value_name = "NODE,..[ / NODE,..]")]
        sides: Vec<String>,
        /// Only from the first side to the second, which is still heard
        #[arg(long)]
        one_way: bool,
        /// How long it is cut
        #[command(flatten)]
        ttl: Ttl,
    },
    /// Fault: delay, lose, double or reorder the messages between two nodes
    Link(Link),
    /// Fault: make the log of a node write late, or fail as a disk does
    Disk(Disk),
    /// Fault: a node stands still, as a process that is stopped (queues are not what this pauses)
    PauseNode {
        /// Name of the node
        node: String,
        /// How long it stands still
        #[command(flatten)]
        ttl: Ttl,
    },
    /// Fault: the clock by which a node, if it leads, gives jobs their times
    Clock {
        /// Name of the node
        node: String,
        /// Ahead by so much, or behind (`-30s`); at most 10m
        #[arg(long, value_name = "[-]DURATION", allow_hyphen_values = true, value_parser = values::offset_ms)]
        offset: i64,
        /// How long it is off
        #[command(flatten)]
        ttl: Ttl,
    },
    /// Faults in force and those that ended, with what they did
    Faults,
    /// End all faults, those of these nodes, or these by id
    Heal {
        /// Names of nodes, or ids as `faults` lists them
        #[arg(value_name = "NODE|ID")]
        what: Vec<String>,
    },
    /// Who belongs to the cluster, as its leader says
    Members,
    /// Take a node in: start it here, or ask one in that runs elsewhere
    Add(Add),
    /// Let a node go
    Remove(Remove),
    /// Hand leadership over
    Transfer {
        /// Name of the node that is to lead
        node: String,
    },
    /// Cut the log of a node as far as it can be: what is gone from it, followers get as a snapshot
    Snapshot {
        /// Name of the node
        node: String,
    },
    /// What the nodes observe, a line each, until interrupted (times are UTC)
    Watch {
        /// Lines only; the console is what `raftdeck` without a verb opens
        #[arg(long)]
        plain: bool,
    },
    /// Record what the nodes say to a file, until interrupted
    Record(Record),
    /// Look at a recording in the console, with time under your control
    Replay(Replay),
    /// The keys of the console, and their names for the config file
    Keys,
    /// Simulate: play a scenario, or run seeds with random faults
    Sim(Sim),
}

/// `record`.
#[derive(Debug, Args)]
pub struct Record {
    /// A file that is not there yet
    pub file: PathBuf,
    /// For so long
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration)]
    pub length: Option<Duration>,
}

/// `replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// What `record` wrote
    pub file: PathBuf,
    /// Draw it to this file instead, which is not there yet: a picture that browsers show
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Size of the screen that is drawn
    #[arg(long, value_name = "COLUMNSxROWS", value_parser = values::size, default_value = "120x40", requires = "svg")]
    pub size: (u16, u16),
    /// How long after its beginning; else its end, or with --for its beginning
    #[arg(long, value_name = "DURATION", value_parser = values::duration, requires = "svg")]
    pub at: Option<Duration>,
    /// Keys pressed before, by their names, with spaces between
    #[arg(long, value_name = "KEYS", default_value = "", hide_default_value = true, requires = "svg")]
    pub keys: String,
    /// Draw so long of it, as a moving picture
    #[arg(long = "for", value_name = "DURATION", value_parser = values::duration, requires = "svg")]
    pub length: Option<Duration>,
}

/// `add`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Add {
    /// Name of the node
    pub node: String,
    /// It gets the log and no vote
    #[arg(long)]
    pub learner: bool,
    /// Where other nodes reach it; it runs already, elsewhere
    #[arg(long, value_name = "HOST:PORT", value_parser = address, requires = "api")]
    pub peer: Option<String>,
    /// Where clients reach it
    #[arg(long, value_name = "HOST:PORT", value_parser = address, requires = "peer")]
    pub api: Option<String>,
    /// Longest wait until it is what it is to be
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = values::duration)]
    pub within: Duration,
}

/// `remove`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Remove {
    /// Name of the node
    pub node: String,
    /// Also if those that stay and are up are no majority
    #[arg(long)]
    pub force: bool,
    /// Longest wait until it is out
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::duration)]
    pub within: Duration,
}

/// `sim`.
#[derive(Debug, Args)]
pub struct Sim {
    /// A scenario to play; without one, seeds are run. On a terminal, unless with --json or --trace, the console shows it,
    /// with time in your hand
    pub file: Option<PathBuf>,
    /// Seed of the scenario [default: 1]; without one, the only seed to run, which the console shows
    #[arg(long)]
    pub seed: Option<u64>,
    /// Seeds to run, both ends included
    #[arg(long, value_name = "A..B", default_value = "1..100", value_parser = seeds, conflicts_with = "seed")]
    pub seeds: RangeInclusive<u64>,
    /// Simulated seconds with faults, for each seed
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Nodes at the start; each seed draws 3 to 7 of them unless told
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=50))]
    pub nodes: Option<u8>,
    /// Only these faults, by number: what a shrunk seed is left with
    #[arg(long, value_name = "N,..", value_delimiter = ',')]
    pub only: Option<Vec<u32>>,
    /// Do not shrink seeds that fail
    #[arg(long)]
    pub no_shrink: bool,
    /// Tell on standard error what happens in each seed, line by line
    #[arg(long)]
    pub trace: bool,
}

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=LOCAL_NODES_MAX))]
    pub nodes: u8,
    /// How long jobs are submitted; without a terminal 20 by default
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(3..=86_400))]
    pub seconds: Option<u64>,
}

/// `bench`. What goes with what is checked in [`crate::bench::plan`].
#[derive(Debug, Args)]
pub struct Bench {
    /// Measured in turn. w1: submits, one at a time by each client; w2: bulks; w3: whole job lives; w4: the leader is killed
    #[arg(long, value_name = "W,..", value_delimiter = ',', default_value = "w1")]
    pub workload: Vec<Workload>,
    /// Clients of w1, measured in turn [default: 64]
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub clients: Vec<u16>,
    /// Bytes of each payload
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=PAYLOAD_MAX))]
    pub payload: u32,
    /// Length of a measured window; a second of warm-up comes before it
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// Measured so often; the repetition of the median rate is told [default: 1]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub repeat: Option<u16>,
    /// Open loop: so many submits a second (w2: bulks) whatever the answers, latencies from when each was due
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// Jobs of a bulk of w2 [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=BATCH_MAX))]
    pub batch: Option<u16>,
    /// Most jobs between submission and completion in w3 [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub depth: Option<u32>,
    /// How often w4 kills the leader [default: 1]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub kills: Option<u16>,
    /// Nodes of the own cluster [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=LOCAL_NODES_MAX))]
    pub nodes: Option<u8>,
    /// On a running cluster: a handler that its file calls external [default: bench]
    #[arg(long, value_name = "NAME")]
    pub handler: Option<String>,
    /// Measure in the same sitting what bounds the figures: an fdatasync here, a round trip to a node
    #[arg(long)]
    pub limits: bool,
    /// How the cost grows: one table for each of these, every point on a cluster of its own
    #[arg(
        long,
        value_name = "WHAT,..",
        value_delimiter = ',',
        conflicts_with_all = [
            "workload", "clients", "payload", "rate", "batch", "depth", "kills", "nodes", "handler", "limits", "cluster",
            "connect",
        ]
    )]
    pub grow: Vec<Growth>,
    /// Points of the one table of --grow, instead of the usual ones
    #[arg(long, value_name = "N,..", value_delimiter = ',', requires = "grow")]
    pub points: Vec<u64>,
}

/// With what the cost of `bench --grow` grows. The points are in [`crate::bench::grow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Growth {
    /// Bytes of a payload.
    Payload,
    /// Nodes of the cluster.
    Nodes,
    /// Clients that submit.
    Clients,
    /// Jobs that wait.
    Depth,
    /// Jobs that are finished.
    History,
    /// Memory of a node: idle, for each job that waits, for each connection.
    Memory,
}

/// What `bench` does to a cluster. The definitions are in [`crate::bench`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Submits, each awaited.
    W1,
    /// Bulks, each awaited.
    W2,
    /// Jobs from submission to completion.
    W3,
    /// Submits while the leader is killed.
    W4,
}

impl Workload {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Workload::W1 => "w1",
            Workload::W2 => "w2",
            Workload::W3 => "w3",
            Workload::W4 => "w4",
        }
    }
}

/// `up`.
#[derive(Debug, Args)]
pub struct Up {
    /// How many nodes [default for a new folder: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=LOCAL_NODES_MAX))]
    pub nodes: Option<u8>,
    /// A tab for each node: of tmux (there by default), zellij, wezterm or kitty, else of a tmux of its own
    #[arg(long, group = "place")]
    pub tabs: bool,
    /// A pane for each node, likewise
    #[arg(long, group = "place")]
    pub panes: bool,
    /// In the background (the default outside tmux)
    #[arg(long, group = "place")]
    pub bg: bool,
    /// tmux, zellij, wezterm, kitty, own-tmux or background, instead of the one that is found
    #[arg(long, value_name = "NAME", conflicts_with = "bg")]
    pub terminal: Option<String>,
    /// Print what would be run, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// A TOML file of `[handlers.NAME]` tables with `command = [..]`
    #[arg(long, value_name = "FILE")]
    pub handlers: Option<PathBuf>,
    /// Let the nodes take faults: kill, cut, link, disk, pause-node, clock
    #[arg(long)]
    pub enable_faults: bool,
    /// Api ports from here on, peer ports 100 above, instead of free ones
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..=65_300))]
    pub base_port: Option<u16>,
}

/// `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// Only this node's
    pub node: Option<String>,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the last lines
    #[arg(short = 'n', long, default_value_t = 50)]
    pub lines: usize,
}

/// `submit`.
#[derive(Debug, Args)]
pub struct Submit {
    /// What runs the job: echo, sleep, fail, or a name of the cluster file
    pub handler: String,
    /// Its input; `-` reads it from stdin
    #[arg(conflicts_with_all = ["file", "bulk"], allow_negative_numbers = true)]
    pub payload: Option<String>,
    /// A file that is the payload; several are several jobs
    #[arg(long, value_name = "PATH")]
    pub file: Vec<PathBuf>,
    /// Files, or folders of files, each the payload of one job
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub bulk: Vec<PathBuf>,
    /// Where it waits
    #[arg(long, default_value = "default")]
    pub queue: String,
    /// 0 first, 9 last
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=i64::from(PRIORITY_MAX)))]
    pub priority: u8,
    /// Not before this long from now
    #[arg(long, value_name = "DURATION", value_parser = values::duration, conflicts_with = "at")]
    pub delay: Option<Duration>,
    /// Not before this time: RFC 3339 or unix milliseconds
    #[arg(long, value_name = "TIME", value_parser = values::moment_ms)]
    pub at: Option<u64>,
    /// The same key and request answer with the same job, for 24 h
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Attempts before it is discarded
    #[arg(long, value_name = "N", default_value_t = 25)]
    pub max_attempts: u32,
    /// A fixed wait between attempts, instead of one that grows
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub retry_delay: Option<Duration>,
    /// Of one attempt
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub timeout: Option<Duration>,
    /// Wait until it has ended; fails unless it completed
    #[arg(long)]
    pub wait: bool,
    /// Longest wait
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = values::duration, requires = "wait")]
    pub within: Duration,
}

/// `jobs`.
#[derive(Debug, Args)]
pub struct Jobs {
    /// Only in this state; may be repeated
    #[arg(long = "state", value_name = "STATE")]
    pub states: Vec<JobState>,
    /// Only of this queue
    #[arg(long)]
    pub queue: Option<String>,
    /// Only of this handler
    #[arg(long)]
    pub handler: Option<String>,
    /// How many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Only those before this id, to page on
    #[arg(long, value_name = "ID")]
    pub before: Option<u64>,
}

fn seeds(text: &str) -> Result<RangeInclusive<u64>, String> {
    let range = text.split_once("..").and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    range
        .filter(|r: &RangeInclusive<u64>| !r.is_empty())
        .ok_or_else(|| format!("{text:?} is no range of seeds: 1..100"))
}

/// An api address as it may be given: `HOST:PORT`.
///
/// # Errors
/// In words that name the value.
pub fn address(text: &str) -> Result<String, String> {
    check_address(text).map(|()| text.to_owned())
}
