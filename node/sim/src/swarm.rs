//! Runs seeds: each draws which faults it has and how often, then lets a cluster live with them.
//!
//! Three phases. *Safety*: faults, while clients work; a law that is broken after any event ends the run. *Liveness*: a
//! random majority is healed, everything else stays as broken as it is or gets worse, and within a bounded time the
//! majority must elect and acknowledge: safety alone would be satisfied by a cluster that does nothing. *Rest*: everything
//! is healed, and there must be one leader, one log and one state on all members, with every acknowledged job in it, every
//! learner promoted, every queue resumed, every caller answered; and then nothing may disturb that.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use raftdeck_raft::{Index, Membership, NodeId, Observation, RoleKind, Sending, StorageId, Term, TransferOutcome};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};

use crate::{
    cluster::{
        Cluster, Happening, Options,
        watch::{Sink, Unwatched},
    },
    cue::Cue,
    network::{Traffic, Weather},
    operator::Operator,
    plan::Plan,
    show::asserted,
    strike::{Struck, mend_node, strike},
    violation::Violation,
    words,
    workload::Workload,
};

/// What is healed must come to rest within this time.
const SETTLE_US: u64 = 30_000_000;

/// At rest, nothing may happen for so long.
const CALM_US: u64 = 3_000_000;

/// What to run.
#[derive(Clone, Debug)]
pub struct SwarmOptions {
    /// Simulated time with faults, seconds.
    pub seconds: u64,
    /// Nodes; drawn from 3 to 7 if none is given.
    pub nodes: Option<u64>,
    /// Only these faults, by number; all if none are given.
    pub only: Option<BTreeSet<u32>>,
    /// Whether to tell, line by line, what happens.
    pub tells: bool,
}

/// How often what was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// What the cluster came to, by kind: a campaign that never saw a snapshot proves nothing about snapshots.
    pub reached: BTreeMap<&'static str, u64>,
    /// Requests of clients that were acknowledged.
    pub acknowledged: u64,
    /// Jobs that were acknowledged.
    pub jobs: u64,
    /// Events.
    pub events: u64,
    /// Simulated microseconds.
    pub simulated_us: u64,
    /// Numbers of the faults that struck.
    pub struck: Vec<u32>,
}

/// How a seed ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was done in it.
    pub counts: Counts,
    /// The law that was broken.
    pub violation: Option<Violation>,
    /// What happened, if it was to be told.
    pub told: Vec<String>,
}

/// Runs one seed. A law that the program itself watches over is a violation like any other.
#[must_use]
pub fn run_seed(seed: u64, options: &SwarmOptions) -> Outcome {
    run_watched(seed, options, None)
}

/// As [`run_seed`], while somebody may look on. If that one leaves, it is the end: this panics with [`Unwatched`].
pub(crate) fn run_watched(seed: u64, options: &SwarmOptions, sink: Option<Sink>) -> Outcome {
    let mut run = match Run::new(seed, options) {
        Ok(run) => run,
        Err(violation) => {
            let (counts, told) = (Counts::default(), Vec::new());
            return Outcome { seed, counts, violation: Some(violation), told };
        }
    };
    let ended = catch_unwind(AssertUnwindSafe(|| {
        if let Some(sink) = sink {
            let nodes = run.cluster.ids().len();
            let kinds: Vec<&str> = run.plan.kinds.iter().map(|kind| kind.name()).collect();
            let about = format!("# seed {seed}: {nodes} nodes, and of faults it has {}", kinds.join(", "));
            run.cluster.watch(sink, false, [about]);
        }
        run.phases()
    }));
    let ended = ended.unwrap_or_else(|panic| {
        if panic.is::<Unwatched>() {
            resume_unwind(panic);
        }
        Err(asserted(&*panic))
    });
    run.tell();
    run.count();
    let (counts, told) = (run.counts, run.told);
    let violation = ended.err();
    Outcome { seed, counts, violation, told }
}

struct Run<'a> {
    seed: u64,
    options: &'a SwarmOptions,
    rng: StdRng,
    /// When faults strike: drawn apart from all else, so that leaving one out moves no other.
    schedule: StdRng,
    plan: Plan,
    cluster: Cluster,
    workload: Workload,
    operator: Option<Operator>,
    counts: Counts,
    told: Vec<String>,
}

impl Run<'_> {
    fn new(seed: u64, options: &SwarmOptions) -> Result<Run<'_>, Violation> {
        let mut rng = StdRng::seed_from_u64(seed);
        let plan = Plan::draw(&mut rng, seed);
        let nodes = options.nodes.unwrap_or_else(|| rng.random_range(3..=7));
        let cluster = Cluster::new(Options {
            nodes,
            seed: rng.random(),
            weather: plan.weather.clone(),
            disk_us: plan.disk_us.clone(),
            batch_entries_max: plan.batch_entries_max,
            round_us: plan.round_us,
            bound: plan.bound,
            retention: plan.retention,
            crash_truncating: plan.crash_truncating,
            rot_snapshots: plan.rot_snapshots,
        })?;
        let schedule = StdRng::seed_from_u64(rng.random());
        let (workload, counts, told) = (Workload::default(), Counts::default(), Vec::new());
        let operator = Operator::of(seed);
        Ok(Run { seed, options, rng, schedule, plan, cluster, workload, operator, counts, told })
    }

    fn phases(&mut self) -> Result<(), Violation> {
        self.live()?;
        let content = self.majority()?;
        self.rest(content)
    }

    fn count(&mut self) {
        self.counts.simulated_us = self.cluster.now_us();
        self.counts.events = self.cluster.events();
        self.counts.jobs = self.cluster.acknowledged().len() as u64;
        self.counts.faults.extend(self.cluster.message_faults());
        self.counts.reached.insert("snapshot-lost", self.cluster.snapshots_lost());
    }

    /// Faults and clients.
    fn live(&mut self) -> Result<(), Violation> {
        let end = self.options.seconds * 1_000_000;
        let (mut next_strike, mut number, mut next_request) = (self.plan.every_us, 0, 0);
        while self.cluster.now_us() < end {
            let until = next_strike.min(next_request).max(self.cluster.now_us() + 1);
            self.cluster.run_for(until - self.cluster.now_us())?;
            self.take_answers()?;
            if self.cluster.now_us() >= next_request {
                self.workload.ask(&mut self.cluster, &mut self.rng)?;
                next_request = self.cluster.now_us() + self.rng.random_range(1_000..100_000);
            }
            if let Some(operator) = &mut self.operator {
                operator.ask(&mut self.cluster)?;
            }
            if self.cluster.now_us() >= next_strike {
                self.strike(number)?;
                number += 1;
                next_strike += self.schedule.random_range(1..=2 * self.plan.every_us);
            }
        }
        Ok(())
    }

    fn strike(&mut self, number: u32) -> Result<(), Violation> {
        if self.options.only.as_ref().is_some_and(|only| !only.contains(&number)) {
            return Ok(());
        }
        self.counts.struck.push(number);
        let now_us = self.cluster.now_us();
        let struck = strike(&mut self.cluster, &self.plan, self.seed, number)?;
        match struck {
            Struck::Fault(kind, node) => {
                *self.counts.faults.entry(kind.name()).or_default() += 1;
                let line = format!("fault {number}: {} {node}", kind.name());
                self.cluster.announce(kind.cue(), || line.clone());
                self.say(now_us, || line);
            }
            Struck::Mended => {
                let line = format!("fault {number}: some things are mended");
                self.cluster.announce(Cue::Mend, || line.clone());
                self.say(now_us, || line);
            }
            Struck::Nothing => {}
        }
        Ok(())
    }

    fn say(&mut self, at_us: u64, words: impl FnOnce() -> String) {
        if self.options.tells {
            self.told.push(format!("{:>10.1} {}", at_us as f64 / 1000.0, words()));
        }
    }

    /// What is not told yet, after a law was broken.
    fn tell(&mut self) {
        for (at_us, happening) in self.cluster.take_happenings() {
            if let Some(line) = words::line(&happening) {
                self.say(at_us, || line);
            }
        }
    }

    fn take_answers(&mut self) -> Result<(), Violation> {
        for (at_us, happening) in self.cluster.take_happenings() {
            if let Some(line) = words::line(&happening).filter(|_| self.options.tells) {
                self.say(at_us, || line);
            }
            if let (Happening::Answered(ticket, answer), Some(operator)) = (&happening, &mut self.operator)
                && let Some(reached) = operator.told(*ticket, answer.as_ref())?
            {
                *self.counts.reached.entry(reached).or_default() += 1;
            }
            let reached = match happening {
                Happening::Answered(ticket, Some(Ok(applied))) => {
                    self.counts.acknowledged += 1;
                    self.workload.told(ticket, &applied, &mut self.rng)?;
                    continue;
                }
                Happening::Observed(_, observed) => reached(&observed.what),
                Happening::Steered(_, Some(Ok(_))) => Some("steered"),
                Happening::DiskFailed(..) => Some("disk-failed"),
                Happening::Answered(..) | Happening::Jobs(..) | Happening::Steered(..) => None,
            };
            if let Some(reached) = reached {
                *self.counts.reached.entry(reached).or_default() += 1;
            }
        }
        Ok(())
    }

    /// A random majority is healed, and must elect and acknowledge. The rest is down, or can speak but not hear.
    fn majority(&mut self) -> Result<Option<Term>, Violation> {
        self.cluster.spare_truncations();
        for id in self.cluster.ids() {
            mend_node(&mut self.cluster, id)?; // Looking at a node needs it up.
        }
        self.cluster.find_rot()?;
        let Some(core) = self.draw_majority() else { return Ok(None) };
        let highest = self.highest_term();
        *self.counts.reached.entry("majority-healed").or_default() += 1;
        let named = core.iter().map(NodeId::to_string).collect::<Vec<_>>().join(" ");
        self.cluster
            .announce(Cue::Mend, || format!("{named} are healed, the others not: they must elect and acknowledge"));
        for id in self.cluster.ids() {
            if core.contains(&id) {
                mend_node(&mut self.cluster, id)?;
            } else if self.rng.random_bool(0.5) {
                self.cluster.crash(id);
            } else {
                self.cluster.resume(id)?;
                for other in &core {
                    self.cluster.cut_one_way(*other, id, Traffic::All);
                }
            }
        }
        self.cluster.heal_among(&core);
        self.calm_weather();
        let healed_at = self.cluster.now_us();
        let acknowledged = self.cluster.acknowledged().len();
        while self.cluster.acknowledged().len() == acknowledged {
            self.cluster.run_for(200_000)?;
            self.take_answers()?;
            let waited_us = self.cluster.now_us() - healed_at;
            if waited_us >= SETTLE_US && !self.is_enough(&core) {
                return Ok(None); // A learner was promoted just before, and now more are down than the group can bear.
            }
            if waited_us >= SETTLE_US {
                let healed = format!("{core:?}");
                let why = format!("no submit was acknowledged; {}", self.status());
                return Err(Violation::NotSettled { waited_ms: waited_us / 1000, healed, why });
            }
            self.resume()?;
            for id in &core {
                mend_node(&mut self.cluster, *id)?; // What was planned to fail may fail only now.
                let leads = self.cluster.replica(*id).is_some_and(|r| r.raft().role() == RoleKind::Leader);
                if leads {
                    Workload::submit(&mut self.cluster, *id)?;
                }
            }
        }
        self.undisturbed(&core, highest)
    }

    /// The majority has its leader by now. A node outside that comes back, and then loses its link to that leader, does not depose it,
    /// and neither will all the others when they come back: the term that is to stay. None if it need not, because somebody
    /// knew a higher one, or because the membership grew beyond the majority meanwhile.
    fn undisturbed(&mut self, core: &BTreeSet<NodeId>, highest: Term) -> Result<Option<Term>, Violation> {
        self.run_calmly()?;
        let Some(leader) = self.cluster.leader().filter(|leader| core.contains(leader)) else { return Ok(None) };
        let content = self.cluster.replica(leader).map(|r| r.raft().term()).unwrap_or_default();
        let highest = highest.max(self.highest_term());
        let outside: Vec<NodeId> = self.cluster.ids().into_iter().filter(|id| !core.contains(id)).collect();
        if let Some(node) = outside.into_iter().choose(&mut self.rng) {
            mend_node(&mut self.cluster, node)?;
            self.cluster.heal_among(&core.iter().copied().chain([node]).collect());
            self.run_calmly()?;
            self.cluster.cut(leader, node);
        }
        self.run_calmly()?;
        if content < highest || !self.is_enough(core) {
            return Ok(None);
        }
        *self.counts.reached.entry("content").or_default() += 1;
        self.is_content(content).map(|()| Some(content))
    }

    /// Whether these are a majority in every membership that one of them goes by.
    fn is_enough(&self, core: &BTreeSet<NodeId>) -> bool {
        core.iter().all(|id| {
            let membership = self.cluster.replica(*id).map(|r| r.raft().membership());
            membership.is_some_and(|m| m.voters.is_empty() || m.majority_of(|n| core.contains(&n)))
        })
    }

    fn run_calmly(&mut self) -> Result<(), Violation> {
        self.cluster.run_for(CALM_US)?;
        self.take_answers()
    }

    fn highest_term(&self) -> Term {
        let replicas = self.cluster.ids().into_iter().filter_map(|id| self.cluster.replica(id));
        replicas.map(|r| r.raft().term()).max().unwrap_or_default()
    }

    fn is_content(&self, from: Term) -> Result<(), Violation> {
        match self.cluster.leader().and_then(|leader| self.cluster.replica(leader)).map(|r| r.raft().term()) {
            Some(term) if term == from => Ok(()),
            other => Err(Violation::Disturbed { from, to: other.unwrap_or_default(), status: self.status() }),
        }
    }

    /// Nodes that are a majority in every membership that any node goes by, and whole; as few as the draw gives.
    fn draw_majority(&mut self) -> Option<BTreeSet<NodeId>> {
        let replicas: Vec<_> = self.cluster.ids().into_iter().filter_map(|id| self.cluster.replica(id)).collect();
        let memberships: Vec<Membership> = replicas.iter().map(|r| r.raft().membership().clone()).collect();
        let mut left: BTreeMap<NodeId, StorageId> = replicas
            .iter()
            .filter(|r| !r.raft().is_damaged() && r.raft().log().last().0 > Index(0))
            .map(|r| (r.raft().id(), r.raft().storage()))
            .collect();
        let directories = left.clone();
        let mut core: BTreeSet<NodeId> = BTreeSet::new();
        let enough = |core: &BTreeSet<NodeId>| {
            let counts = |m: &Membership, n: NodeId| core.contains(&n) && m.counts(n, directories[&n]);
            memberships.iter().filter(|m| !m.voters.is_empty()).all(|m| m.majority_of(|n| counts(m, n)))
        };
        while !enough(&core) {
            let next = left.keys().copied().choose(&mut self.rng)?;
            left.remove(&next);
            core.insert(next);
        }
        Some(core)
    }

    /// What an operator left paused goes on.
    fn resume(&mut self) -> Result<(), Violation> {
        self.operator.as_mut().map_or(Ok(()), |operator| operator.resume(&mut self.cluster))
    }

    fn calm_weather(&mut self) {
        let Weather { delay_us, .. } = self.plan.weather.clone();
        // A round trip must fit an election timeout several times, or no protocol can promise anything.
        let delay_us = *delay_us.start()..=(*delay_us.end()).min(20_000);
        self.cluster.set_weather(Weather { delay_us, ..Weather::calm() });
    }

    /// Everything healed: the cluster must come to rest, nothing may be missing, and nothing may disturb it.
    fn rest(&mut self, content: Option<Term>) -> Result<(), Violation> {
        self.cluster.heal();
        self.cluster.announce(Cue::Mend, || "everything is healed: it must come to rest, with nothing lost".into());
        self.calm_weather();
        for id in self.cluster.ids() {
            mend_node(&mut self.cluster, id)?;
        }
        let healed_at = self.cluster.now_us();
        loop {
            self.cluster.run_for(200_000)?;
            self.take_answers()?;
            for id in self.cluster.ids() {
                mend_node(&mut self.cluster, id)?;
            }
            self.resume()?;
            let Err(why) = self.at_rest() else { break };
            let waited_us = self.cluster.now_us() - healed_at;
            if waited_us >= SETTLE_US {
                let (waited_ms, healed) = (waited_us / 1000, "everything".into());
                let why = format!("{why}; {}", self.status());
                return Err(Violation::NotSettled { waited_ms, healed, why });
            }
        }
        if let Some(term) = content {
            self.is_content(term)?;
        }
        let term = |run: &Self| run.cluster.leader().and_then(|l| Some(run.cluster.replica(l)?.raft().term()));
        let before = term(self);
        self.run_calmly()?;
        if term(self) != before {
            let why = format!("the term went from {before:?} to {:?}; {}", term(self), self.status());
            return Err(Violation::NotSettled { waited_ms: CALM_US / 1000, healed: "everything".into(), why });
        }
        self.cluster.all_answered()?;
        self.nothing_lost()
    }

    /// A job whose id was given out is there for ever: live, or counted among the finished.
    fn nothing_lost(&self) -> Result<(), Violation> {
        for id in self.members() {
            let machine = self.cluster.replica(id).expect("all were started").machine();
            Workload::done_once(id, machine)?;
            let kept: u64 = machine
                .queues()
                .map(|(_, q)| {
                    q.scheduled + q.available + q.running + q.retryable + q.completed + q.cancelled + q.discarded
                })
                .sum();
            if let Some(job) = self.cluster.acknowledged().iter().find(|job| job.0 > kept) {
                return Err(Violation::Lost { job: *job, node: id });
            }
        }
        Ok(())
    }

    /// As the leader has it.
    fn members(&self) -> BTreeSet<NodeId> {
        let leader = self.cluster.leader().and_then(|id| self.cluster.replica(id));
        leader.map(|replica| replica.raft().membership().members()).unwrap_or_default()
    }

    fn at_rest(&self) -> Result<(), String> {
        let leader = self.cluster.leader().ok_or("there is no leader")?;
        let leads = self.cluster.replica(leader).expect("a leader is up");
        let membership = leads.raft().membership();
        if membership.is_joint() {
            return Err("the membership is joint".into());
        }
        if !membership.is_voter(leader) {
            return Err(format!("{leader} leads and is no voter"));
        }
        if let Some(queue) = leads.machine().paused_queues().next() {
            return Err(format!("queue {queue} is paused"));
        }
        if let Some((node, _)) = membership.learners.iter().find(|(_, learner)| learner.promote) {
            return Err(format!("{node} is not promoted"));
        }
        for id in membership.members() {
            let replica = self.cluster.replica(id).ok_or(format!("{id} is down"))?;
            let same = replica.raft().commit() == leads.raft().log().last().0
                && replica.raft().term() == leads.raft().term()
                && replica.machine().applied() == leads.machine().applied()
                && replica.machine().state_hash() == leads.machine().state_hash();
            if !same {
                return Err(format!("{id} is not where its leader {leader} is"));
            }
            if replica.raft().is_damaged() {
                return Err(format!("{id} is damaged"));
            }
        }
        Ok(())
    }

    fn status(&self) -> String {
        let line = |id| {
            let replica = self.cluster.replica(id);
            let followers = replica
                .into_iter()
                .flat_map(|r| r.raft().followers())
                .map(|(node, p)| format!(", to {node} {:?} from {} ({:?} in flight)", p.sending, p.next, p.in_flight));
            words::status(id, replica) + &followers.collect::<String>()
        };
        let lines: Vec<String> = self.cluster.ids().into_iter().map(line).collect();
        let newest = self.cluster.ids().into_iter().filter_map(|id| self.cluster.replica(id));
        let newest = newest.max_by_key(|r| r.raft().log().last());
        let members = newest.map(|r| words::members(r.raft().id(), Some(r))).unwrap_or_default();
        format!("{}; newest: {members}", lines.join(" / "))
    }
}

/// What an observation shows to have been reached.
fn reached(what: &Observation) -> Option<&'static str> {
    match what {
        Observation::Became { role: RoleKind::Leader, .. } => Some("elected"),
        Observation::Became { cause: raftdeck_raft::Cause::MajoritySilent, .. } => Some("stepped-down"),
        Observation::Became { cause: raftdeck_raft::Cause::Removed, .. } => Some("removed-leader"),
        Observation::Truncated { .. } => Some("truncated"),
        Observation::MembershipChanged { joint: true, .. } => Some("joint"),
        Observation::MembershipChanged { joint: false, .. } => Some("membership"),
        Observation::TransferEnded { outcome: TransferOutcome::Done { .. }, .. } => Some("transferred"),
        Observation::TransferEnded { .. } => Some("transfer-failed"),
        Observation::Compacted { .. } => Some("compacted"),
        Observation::Sending { how: Sending::Snapshot, .. } => Some("snapshot-offered"),
        Observation::SnapshotInstalled { .. } => Some("snapshot-installed"),
        Observation::Damaged { .. } => Some("damaged"),
        Observation::Refilled { .. } => Some("refilled"),
        Observation::Became { .. }
        | Observation::TermRaised { .. }
        | Observation::LeaderFound { .. }
        | Observation::VoteCast { .. }
        | Observation::VoteReceived { .. }
        | Observation::Appended { .. }
        | Observation::Committed { .. }
        | Observation::Sending { .. }
        | Observation::TransferStarted { .. } => None,
    }
}
