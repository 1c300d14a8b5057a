//! What a seed draws before its run begins: which faults there are in it, how often they strike, and in what weather.
//!
//! Each seed has some of the faults and not others (swarm testing, Groce et al. 2012): a run in which everything goes wrong
//! at once never gets far enough to meet the rarer combinations.

use std::ops::RangeInclusive;

use raftdeck_node::compaction::Retention;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{cue::Cue, network::Weather};

/// A kind of fault, or of what an operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Crash,
    CrashAll,
    CrashLeader,
    Pause,
    PauseLeader,
    Cut,
    CutOneWay,
    CutLink,
    CutTraffic,
    IsolateLeader,
    DeafLeader,
    MuteLeader,
    HoldDisk,
    FailSync,
    FailWrite,
    FullDisk,
    RotDisk,
    CutFile,
    WipeDisk,
    LoseDisk,
    ClockJump,
    ClockRate,
    Transfer,
    AddNode,
    RemoveNode,
    ReplaceVoters,
    Compact,
}

impl Kind {
    pub(crate) const ALL: [Kind; 27] = [
        Kind::Crash,
        Kind::CrashAll,
        Kind::CrashLeader,
        Kind::Pause,
        Kind::PauseLeader,
        Kind::Cut,
        Kind::CutOneWay,
        Kind::CutLink,
        Kind::CutTraffic,
        Kind::IsolateLeader,
        Kind::DeafLeader,
        Kind::MuteLeader,
        Kind::HoldDisk,
        Kind::FailSync,
        Kind::FailWrite,
        Kind::FullDisk,
        Kind::RotDisk,
        Kind::CutFile,
        Kind::WipeDisk,
        Kind::LoseDisk,
        Kind::ClockJump,
        Kind::ClockRate,
        Kind::Transfer,
        Kind::AddNode,
        Kind::RemoveNode,
        Kind::ReplaceVoters,
        Kind::Compact,
    ];

    pub(crate) fn cue(self) -> Cue {
        match self {
            Kind::Crash
            | Kind::CrashAll
            | Kind::CrashLeader
            | Kind::RotDisk
            | Kind::CutFile
            | Kind::WipeDisk
            | Kind::LoseDisk => Cue::Kill,
            Kind::Pause
            | Kind::PauseLeader
            | Kind::Cut
            | Kind::CutOneWay
            | Kind::CutLink
            | Kind::CutTraffic
            | Kind::IsolateLeader
            | Kind::DeafLeader
            | Kind::MuteLeader
            | Kind::HoldDisk
            | Kind::FailSync
            | Kind::FailWrite
            | Kind::FullDisk
            | Kind::ClockJump
            | Kind::ClockRate => Cue::Break,
            Kind::Transfer | Kind::AddNode | Kind::RemoveNode | Kind::ReplaceVoters | Kind::Compact => Cue::Life,
        }
    }

    /// Whoever leads is hit, and not any node.
    pub(crate) fn hits_the_leader(self) -> bool {
        matches!(
            self,
            Kind::CrashLeader
                | Kind::PauseLeader
                | Kind::IsolateLeader
                | Kind::DeafLeader
                | Kind::MuteLeader
                | Kind::Transfer
        )
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Crash => "crash",
            Kind::CrashAll => "crash-all",
            Kind::CrashLeader => "crash-leader",
            Kind::Pause => "pause",
            Kind::PauseLeader => "pause-leader",
            Kind::Cut => "cut",
            Kind::CutOneWay => "cut-one-way",
            Kind::CutLink => "cut-link",
            Kind::CutTraffic => "cut-traffic",
            Kind::IsolateLeader => "isolate-leader",
            Kind::DeafLeader => "deaf-leader",
            Kind::MuteLeader => "mute-leader",
            Kind::HoldDisk => "hold-disk",
            Kind::FailSync => "fail-sync",
            Kind::FailWrite => "fail-write",
            Kind::FullDisk => "full-disk",
            Kind::RotDisk => "rot-disk",
            Kind::CutFile => "cut-file",
            Kind::WipeDisk => "wipe-disk",
            Kind::LoseDisk => "lose-disk",
            Kind::ClockJump => "clock-jump",
            Kind::ClockRate => "clock-rate",
            Kind::Transfer => "transfer",
            Kind::AddNode => "add-node",
            Kind::RemoveNode => "remove-node",
            Kind::ReplaceVoters => "replace-voters",
            Kind::Compact => "compact",
        }
    }
}

/// Beside a seed, where the rot of snapshots is drawn. No seed that the tests keep for what it once found has any.
const ROT_STREAM: u64 = 12 << 32;

/// Beside a seed, where it is drawn whether connections are reset.
const RESET_STREAM: u64 = 13 << 32;

/// What a seed has in store.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) kinds: Vec<Kind>,
    /// A fault strikes about every so often.
    pub(crate) every_us: u64,
    /// Part of the strikes that mend something instead.
    pub(crate) mending: f64,
    pub(crate) weather: Weather,
    pub(crate) disk_us: RangeInclusive<u64>,
    pub(crate) batch_entries_max: usize,
    pub(crate) round_us: u64,
    pub(crate) bound: bool,
    pub(crate) retention: Retention,
    /// Part of the writes that remove entries in which the node crashes: both are rare, and meet hardly ever by themselves.
    pub(crate) crash_truncating: f64,
    /// Part of the snapshots that rot after they were made.
    pub(crate) rot_snapshots: f64,
    /// Part of the strikes in which the connections to a node are reset, too: one that is gone, or one that is there.
    pub(crate) resets: f64,
}

impl Plan {
    pub(crate) fn draw(rng: &mut StdRng, seed: u64) -> Plan {
        let part = rng.random_range(0.2..0.9);
        let kinds = Kind::ALL.into_iter().filter(|_| rng.random_bool(part)).collect();
        let slow = if rng.random_bool(0.1) { rng.random_range(20_000..150_000) } else { rng.random_range(300..20_000) };
        let mut sometimes = |most: f64| if rng.random_bool(0.5) { rng.random_range(0.0..most) } else { 0.0 };
        let weather =
            Weather { delay_us: 100..=slow, loss: sometimes(0.2), duplicate: sometimes(0.2), replay: sometimes(0.05) };
        Plan {
            kinds,
            every_us: rng.random_range(100_000..2_000_000),
            mending: rng.random_range(0.3..0.6),
            weather,
            disk_us: 50..=rng.random_range(200..30_000),
            batch_entries_max: [1, 2, 1024][rng.random_range(0..3)],
            round_us: if rng.random_bool(0.5) { rng.random_range(100..5_000) } else { 0 },
            bound: rng.random_bool(0.8),
            retention: match rng.random_range(0..3) {
                0 => Retention::new(3, 1 << 20),
                1 => Retention::new(rng.random_range(10..100), 1 << 20),
                _ => Retention::default(),
            },
            crash_truncating: if rng.random_bool(0.5) { rng.random_range(0.0..0.5) } else { 0.0 },
            rot_snapshots: Plan::draw_rot(&mut StdRng::seed_from_u64(seed ^ ROT_STREAM)),
            resets: if StdRng::seed_from_u64(seed ^ RESET_STREAM).random_bool(0.5) { 0.5 } else { 0.0 },
        }
    }

    /// From a stream of its own: a seed without such rot is what it was before there was any.
    fn draw_rot(rng: &mut StdRng) -> f64 {
        if rng.random_bool(0.3) { rng.random_range(0.1..0.8) } else { 0.0 }
    }
}
