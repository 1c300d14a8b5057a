//! `demo`: a cluster for a look around.
//!
//! It starts nodes in a temporary folder with faults enabled, keeps them busy with a trickle of jobs, and opens the
//! console. Without a terminal it narrates instead, kills the leader on the way, and closes with an account of every
//! job that was acknowledged: each must have ended as it was meant to, or the demo fails.
//!
//! Law: however it ends (done, failed, interrupted), its nodes end and its folder goes ([`Temporary`]).

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
    time::{Duration, Instant},
};

use raftdeck_jobs::{Backoff, JobState, NewJob};
use raftdeck_shared::{
    client::Client,
    wire::{ObservationKind, Submitted},
};
use serde::Serialize;
use tokio::{sync::mpsc, task::JoinSet, time::MissedTickBehavior};

use super::{
    args::Demo,
    failure::Failure,
    jobs::state,
    kill::kill_at,
    open_console,
    out::Out,
    signals::Signals,
    status::View,
    submit::{on_wire, wait_final},
    target::{CALL_WITHIN, Target},
    up::new_file,
    values::count,
    watch::{Line, Streams},
};
use crate::console::Look;
use crate::launch::{folder::Folder, ports, ready, temporary::Temporary};

/// Length without a terminal, unless told.
const SECONDS_DEFAULT: u64 = 20;

/// One job each.
const TRICKLE: Duration = Duration::from_millis(200);

/// After the last submit, every job has this long to end: a lease that died with its node, its retry, and then some.
const SETTLE: Duration = Duration::from_secs(30);

/// Short leases: what ran on a killed node goes on elsewhere while people still watch.
const LEASE_MS: u64 = 2_000;

/// What the narration tells: who leads and why, not every entry.
const KINDS: [ObservationKind; 8] = [
    ObservationKind::Role,
    ObservationKind::Leader,
    ObservationKind::VoteCast,
    ObservationKind::VoteReceived,
    ObservationKind::Truncated,
    ObservationKind::Link,
    ObservationKind::Fault,
    ObservationKind::Node,
];

/// `raftdeck demo`.
///
/// # Errors
/// The nodes do not come up, or a job that was acknowledged did not end as it was meant to.
pub async fn run(args: &Demo, look: Look, out: Out) -> Result<(), Failure> {
    let mut signals = Signals::listen("demo")?;
    let mut file = new_file(ports::free(usize::from(args.nodes))?);
    file.enable_faults = true;
    file.executor.lease_ms = LEASE_MS;
    let nodes = Temporary::create("demo", None, &file)?;
    let target = Target::of_folder(nodes.folder());
    signals.or(nodes.start()).await?;
    if !io::stdout().is_terminal() || out.json {
        return signals.or(narrate(nodes.folder(), &target, args, out)).await;
    }
    let (_trickle, _acknowledged) = trickle(Arc::new(target.client()?));
    // The console ends by the same signals, and gives the terminal back first.
    let length = args.seconds.map_or(Duration::MAX, Duration::from_secs);
    tokio::time::timeout(length, open_console(&target, look)).await.unwrap_or(Ok(()))
}

async fn narrate(folder: &Folder, target: &Target, args: &Demo, out: Out) -> Result<(), Failure> {
    let client = Arc::new(target.client()?);
    let (mut trickle, acknowledged) = trickle(Arc::clone(&client));
    let mut streams = Streams::open(target, &KINDS);
    let length = Duration::from_secs(args.seconds.unwrap_or(SECONDS_DEFAULT));
    let (said, mut saying) = mpsc::channel(16);
    let mut script = std::pin::pin!(script(folder, target, length, said));
    loop {
        tokio::select! {
            line = streams.next() => line.print(out)?,
            Some(text) = saying.recv() => Line::own("demo", text).print(out)?,
            ended = &mut script => {
                ended?;
                break;
            }
        }
    }
    trickle.shutdown().await;
    account(&client, acknowledged, out).await
}

/// Starts the trickle of jobs; it ends with the first value, and the second tells what became of each submit.
fn trickle(client: Arc<Client>) -> (JoinSet<()>, mpsc::UnboundedReceiver<Acknowledged>) {
    let (sender, acknowledged) = mpsc::unbounded_channel();
    let mut trickle = JoinSet::new();
    trickle.spawn(submit_for_ever(client, sender));
    (trickle, acknowledged)
}

/// What happens while jobs go through: the leader is killed, and comes back.
async fn script(folder: &Folder, target: &Target, length: Duration, say: mpsc::Sender<String>) -> Result<(), Failure> {
    let start = Instant::now();
    let say = async |text: String| {
        // The listener ends only together with the script.
        let _ = say.send(text).await;
    };
    let view = View::gather(target).await;
    let nodes = folder.file().nodes.len();
    if let Some(leader) = view.leader() {
        say(format!("{}, {} leads in term {}", count(nodes, "node"), view.name_of(leader.node), leader.term)).await;
    }
    tokio::time::sleep(length * 3 / 10).await;
    let view = View::gather(target).await;
    let leader = view.leader().ok_or_else(|| "demo: no leader to kill".to_owned())?.clone();
    let name = view.name_of(leader.node);
    let row = view.row(&name)?;
    say(format!("killing the leader, {name} (pid {})", leader.pid)).await;
    let killed = Instant::now();
    kill_at(&row.member.api, &leader).await.map_err(|why| format!("demo: {name}: {why}"))?;
    let alone = nodes < 3;
    if !alone {
        let heir = loop {
            let view = View::gather(target).await;
            if let Some(heir) = view.leader().filter(|heir| heir.term > leader.term) {
                break view.name_of(heir.node);
            }
            if killed.elapsed() > ready::READY_WITHIN {
                return Err(Failure::Refused(format!("demo: no new leader after {name} was killed")));
            }
        };
        say(format!("{heir} leads, {} ms after the kill", killed.elapsed().as_millis())).await;
    }
    let until_restart = (length / 2).saturating_sub(start.elapsed());
    tokio::time::sleep(until_restart).await;
    // Not on another thread: a restart that an interrupt leaves behind would start a node that nobody ends.
    let started = folder.restart_node(&name)?;
    let pid = started.process.pid;
    ready::one(folder, folder.node(&name)?, started).await?;
    say(format!("{name} is back, pid {pid}")).await;
    tokio::time::sleep(length.saturating_sub(start.elapsed())).await;
    Ok(())
}

/// A submitted job, as far as the demo knows: what it asked for and what it was told.
struct Acknowledged {
    meant: JobState,
    /// Nothing if no answer came.
    job: Option<Submitted>,
}

/// Submits about five jobs a second, whatever the cluster does; each is waited for on its own.
async fn submit_for_ever(client: Arc<Client>, sender: mpsc::UnboundedSender<Acknowledged>) {
    let mut beat = tokio::time::interval(TRICKLE);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_u64.. {
        beat.tick().await;
        let (job, meant) = trickled(number);
        let (client, sender) = (Arc::clone(&client), sender.clone());
        // Not ended with the trickle: what was sent is accounted for.
        tokio::spawn(async move {
            let job = client.submit(on_wire(&job), CALL_WITHIN).await.ok();
            let _ = sender.send(Acknowledged { meant, job });
        });
    }
}

/// The demo's jobs in turn: mostly `echo`, some `sleep`, a few that are meant to fail.
fn trickled(number: u64) -> (NewJob, JobState) {
    let job = |handler: &str, payload: String| NewJob {
        handler: handler.into(),
        payload: payload.into(),
        backoff: Backoff::Fixed { delay_ms: 300 },
        ..NewJob::default()
    };
    match number % 20 {
        19 => {
            (NewJob { max_attempts: 2, ..job("fail", format!("demo {number} fails on purpose")) }, JobState::Discarded)
        }
        4 | 9 | 14 => (job("sleep", "300".into()), JobState::Completed),
        _ => (job("echo", format!("demo {number}")), JobState::Completed),
    }
}

#[derive(Debug, Default, Serialize)]
struct Account {
    submitted: usize,
    completed: usize,
    discarded: usize,
    unanswered: usize,
    lost: usize,
}

/// Waits until every acknowledged job has ended, and tells how.
async fn account(
    client: &Client,
    mut acknowledged: mpsc::UnboundedReceiver<Acknowledged>,
    out: Out,
) -> Result<(), Failure> {
    let deadline = Instant::now() + SETTLE;
    let mut account = Account::default();
    let mut wrong = Vec::new();
    while let Some(Acknowledged { meant, job }) = acknowledged.recv().await {
        let Some(job) = job else {
            account.unanswered += 1;
            continue;
        };
        account.submitted += 1;
        match wait_final(client, &job, deadline).await {
            Ok(ended) if state(ended.state) == meant.as_str() => {
                let count = if meant == JobState::Completed { &mut account.completed } else { &mut account.discarded };
                *count += 1;
            }
            Ok(ended) => {
                wrong.push(format!("job {} ended {}, not {meant}: {}", job.id, state(ended.state), ended.error));
            }
            Err(Failure::Refused(why) | Failure::Usage(why)) => {
                account.lost += 1;
                wrong.push(why);
            }
            Err(Failure::ReaderGone) => {}
        }
    }
    out.say(&account, || {
        let Account { submitted, completed, discarded, unanswered, lost } = account;
        let open = if unanswered == 0 { String::new() } else { format!(", {unanswered} submits without an answer") };
        let submitted = count(submitted, "job");
        format!("demo: {submitted} submitted, {completed} completed, {discarded} discarded (meant to fail){open}, lost {lost}")
    })?;
    match wrong.first() {
        None => Ok(()),
        Some(first) => Err(Failure::Refused(format!("demo: {} of {} jobs: {first}", wrong.len(), account.submitted))),
    }
}
