//! One fault as it strikes: whom it hits is drawn from the seed and the fault's number alone, so that leaving one out of a
//! run leaves the others as they are.

use raftdeck_node::steering::Change;
use raftdeck_raft::NodeId;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};

use crate::{
    cluster::{Cluster, Steer},
    network::Traffic,
    plan::{Kind, Plan},
    vfs::{Drive, Operation},
    violation::Violation,
};

/// Nodes that there may be at all.
const NODES_MAX: u64 = 9;

/// What a strike was.
pub(crate) enum Struck {
    Fault(Kind, NodeId),
    Mended,
    Nothing,
}

/// Strikes.
pub(crate) fn strike(cluster: &mut Cluster, plan: &Plan, seed: u64, number: u32) -> Result<Struck, Violation> {
    let rng = &mut StdRng::seed_from_u64(seed ^ (u64::from(number) << 32) ^ 0x5eed);
    if rng.random_bool(plan.mending) || plan.kinds.is_empty() {
        return mend(cluster, rng).map(|()| Struck::Mended);
    }
    let kind = *plan.kinds.iter().choose(rng).expect("there are kinds");
    let ids = cluster.ids();
    let any = *ids.iter().choose(rng).expect("a cluster has nodes");
    let leader = cluster.leader().unwrap_or(any);
    let others = || ids.iter().copied().filter(move |id| *id != leader);
    let resets = &mut StdRng::seed_from_u64(seed ^ (u64::from(number) << 32) ^ 0x7e5e7);
    if resets.random_bool(plan.resets) {
        cluster.reset(if resets.random_bool(0.5) { leader } else { any });
    }
    let hit = if kind.hits_the_leader() { leader } else { any };
    match kind {
        Kind::Crash => cluster.crash(any),
        Kind::CrashAll => ids.iter().for_each(|id| cluster.crash(*id)),
        Kind::CrashLeader => cluster.crash(leader),
        Kind::Pause => cluster.pause(any),
        Kind::PauseLeader => cluster.pause(leader),
        Kind::HoldDisk => cluster.hold_disk(any),
        Kind::FailSync => drive(cluster, any, |drive| drive.fail_nth(Operation::Sync, rng.random_range(1..6))),
        Kind::FailWrite => drive(cluster, any, |drive| drive.fail_nth(Operation::Write, rng.random_range(1..12))),
        Kind::FullDisk => drive(cluster, any, |drive| drive.limit(Some(rng.random_range(100_000..400_000)))),
        Kind::RotDisk | Kind::CutFile | Kind::WipeDisk | Kind::LoseDisk => {
            if !cluster.may_hurt(any) {
                return Ok(Struck::Nothing);
            }
            hurt(cluster, kind, any, rng);
        }
        Kind::IsolateLeader => others().for_each(|id| cluster.cut(leader, id)),
        Kind::DeafLeader => others().for_each(|id| cluster.cut_one_way(id, leader, Traffic::All)),
        Kind::MuteLeader => others().for_each(|id| cluster.cut_one_way(leader, id, Traffic::All)),
        Kind::CutLink => {
            let other = others().choose(rng).unwrap_or(any);
            cluster.cut(any, other);
        }
        Kind::CutTraffic => {
            let traffic = if rng.random_bool(0.5) { Traffic::Votes } else { Traffic::Entries };
            for id in &ids {
                cluster.cut_one_way(any, *id, traffic);
                cluster.cut_one_way(*id, any, traffic);
            }
        }
        Kind::Cut | Kind::CutOneWay => {
            let left: Vec<NodeId> = ids.iter().copied().filter(|_| rng.random_bool(0.5)).collect();
            for (from, to) in left.iter().flat_map(|from| ids.iter().map(move |to| (*from, *to))) {
                match (left.contains(&to), kind) {
                    (true, _) => {}
                    (false, Kind::Cut) => cluster.cut(from, to),
                    (false, _) => cluster.cut_one_way(from, to, Traffic::All),
                }
            }
        }
        Kind::ClockJump => {
            let ahead_ms = [-3_600_000, -5_000, 5_000, 86_400_000][rng.random_range(0..4)];
            cluster.set_clock(any, 100, ahead_ms);
        }
        Kind::ClockRate => cluster.set_clock(any, rng.random_range(80..125), 0),
        Kind::Transfer => {
            cluster.steer(leader, Steer::Transfer(any))?;
        }
        Kind::Compact => {
            cluster.steer(any, Steer::Compact)?;
        }
        Kind::AddNode | Kind::RemoveNode | Kind::ReplaceVoters => return change(cluster, kind, leader, rng),
    }
    Ok(Struck::Fault(kind, hit))
}

fn drive(cluster: &Cluster, node: NodeId, work: impl FnOnce(&Drive)) {
    if let Some(drive) = cluster.drive(node) {
        work(drive);
    }
}

/// Damages what is on a disk: the node is down meanwhile, and finds it when it starts.
fn hurt(cluster: &mut Cluster, kind: Kind, node: NodeId, rng: &mut StdRng) {
    cluster.crash(node);
    cluster.note_hurt(node, matches!(kind, Kind::RotDisk | Kind::CutFile));
    drive(cluster, node, |drive| {
        let files: Vec<(String, usize)> =
            drive.save().into_iter().map(|(name, bytes)| (name, bytes.len())).filter(|(_, len)| *len > 0).collect();
        let Some((name, len)) = files.into_iter().choose(rng) else { return };
        match kind {
            Kind::RotDisk => {
                drive.flip(&name, rng.random_range(0..len), rng.random_range(0..8));
            }
            Kind::CutFile => drive.shorten(&name, rng.random_range(0..len)),
            Kind::WipeDisk => drive.wipe(),
            _ => drive.lose(),
        }
    });
}

/// A change of the membership, asked of the leader.
fn change(cluster: &mut Cluster, kind: Kind, leader: NodeId, rng: &mut StdRng) -> Result<Struck, Violation> {
    let Some(membership) = cluster.replica(leader).map(|r| r.raft().membership().clone()) else {
        return Ok(Struck::Nothing);
    };
    let change = match kind {
        Kind::AddNode => {
            let outside = (1..=NODES_MAX).map(NodeId).filter(|id| !membership.contains(*id));
            let Some(node) = outside.choose(rng) else { return Ok(Struck::Nothing) };
            cluster.join(node)?;
            Change::Add { node, address: Vec::new().into(), promote: rng.random_bool(0.8) }
        }
        Kind::RemoveNode => {
            let Some(node) = membership.members().into_iter().choose(rng) else { return Ok(Struck::Nothing) };
            if membership.voters.len() <= 3 && membership.voters.contains(&node) {
                return Ok(Struck::Nothing);
            }
            Change::Remove { node }
        }
        _ => {
            let voters: Vec<NodeId> = membership.members().into_iter().filter(|_| rng.random_bool(0.7)).collect();
            if voters.len() < 3 {
                return Ok(Struck::Nothing);
            }
            Change::Voters(voters)
        }
    };
    cluster.steer(leader, Steer::Change(change))?;
    Ok(Struck::Fault(kind, leader))
}

/// Ends some faults: the network's, and those of some nodes.
fn mend(cluster: &mut Cluster, rng: &mut StdRng) -> Result<(), Violation> {
    if rng.random_bool(0.5) {
        cluster.heal();
    }
    for id in cluster.ids() {
        if rng.random_bool(0.5) {
            mend_node(cluster, id)?;
        }
    }
    Ok(())
}

/// Nothing is wrong with this node any more, but for its clock.
pub(crate) fn mend_node(cluster: &mut Cluster, id: NodeId) -> Result<(), Violation> {
    drive(cluster, id, |drive| drive.limit(None));
    cluster.release_disk(id);
    cluster.resume(id)?;
    cluster.start(id)
}
