//! Does what `update` asked for. Each act is a task of its own that answers with one line; the loop never waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use raftdeck_shared::{
    client::{Client, channel, words},
    ids::{JobId, NodeId},
    wire::{self, admin_client::AdminClient, fault_spec},
};
use tokio::{task::AbortHandle, time::timeout};
use tonic::{Code, Status, transport::Channel};

use super::{
    jobs::{Job, PAGE_MAX, Page},
    msg::{ActId, Body, Cmd, Msg, Slot},
    net::{self, Ears},
    text::clean,
};
use crate::{
    cli::{args, queues, values::count},
    retry,
};

/// One call to one node ends by then.
const CALL_MAX: Duration = Duration::from_secs(2);

/// A submit may wait for an election.
const SUBMIT_MAX: Duration = Duration::from_secs(10);

/// So much of the end of a log is read.
const LOG_BYTES_MAX: u64 = 256 << 10;

/// Who asked, as every other console shows it.
const LABEL: &str = "console";

/// What is done to a node where its process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// Start it anew, in its place.
    Restart,
    /// Bring its tab before the operator.
    ShowTab,
    /// Close its tab; it has ended.
    CloseTab,
}

/// Looks after the processes of nodes. Given by whoever started them.
pub trait Launcher: Send + Sync {
    /// Does it; one line that says what was done, or why not.
    fn upkeep(&self, node: NodeId, what: Upkeep) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

    /// Where the node writes its log, if that is on this machine.
    fn log(&self, node: NodeId) -> Option<PathBuf>;
}

/// What only the leader decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Steering {
    /// The node of this name is to lead.
    Transfer(String),
    /// Take a node in.
    Add(args::Add),
    /// Let a node go.
    Remove(args::Remove),
}

/// Steers the cluster as the command line does.
pub trait Helm: Send + Sync {
    /// Does it and waits for its end; one line that says what was done, or why not.
    fn steer(&self, what: Steering) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;
}

#[derive(Clone)]
pub(crate) struct Hands {
    lines: Arc<Mutex<Vec<Line>>>,
    jobs: Arc<Client>,
    crew: Crew,
    ears: Ears,
}

/// Who does what no node does by itself; none where nobody can.
#[derive(Clone, Default)]
pub struct Crew {
    /// Of a console that owns the processes.
    pub launcher: Option<Arc<dyn Launcher>>,
    /// Of a console of a running cluster.
    pub helm: Option<Arc<dyn Helm>>,
}

/// The way to one node, and the task that watches it.
#[derive(Debug)]
struct Line {
    address: String,
    channel: Channel,
    watch: AbortHandle,
}

impl Hands {
    /// Hands that reach nobody yet.
    pub(crate) fn new(jobs: Client, crew: Crew, ears: Ears) -> Hands {
        Hands { lines: Arc::default(), jobs: Arc::new(jobs), crew, ears }
    }

    /// Watches the node of a slot at this address, in place of any other. Nothing waits for it here.
    pub(crate) fn reach(&self, slot: Slot, address: &str) {
        let Ok(channel) = channel(address) else { return };
        let watch = tokio::spawn(net::watch(slot, channel.clone(), self.ears.clone())).abort_handle();
        let line = Line { address: address.to_owned(), channel, watch };
        let mut lines = self.lines.lock().expect("no holder panics");
        match lines.get_mut(slot.0) {
            Some(before) => std::mem::replace(before, line).watch.abort(),
            // Slots are given one after the other.
            None => lines.push(line),
        }
    }

    /// Starts a command. Those that are about the terminal are none of ours.
    pub(crate) fn start(&self, cmd: Cmd) {
        let hands = self.clone();
        match cmd {
            Cmd::Quit | Cmd::Suspend | Cmd::Repaint | Cmd::Dump | Cmd::Copy(_) | Cmd::Mouse(_) | Cmd::Record(_) => {}
            Cmd::Reach { slot, api } => self.reach(slot, &api),
            Cmd::Kill { act, slot } => self.spawn(act, async move { hands.kill(slot).await }),
            Cmd::Strike { act, faults, ttl_ms } => {
                self.spawn(act, async move { hands.strike(faults, ttl_ms).await });
            }
            Cmd::Heal { act, at } => self.spawn(act, async move { hands.heal(at).await }),
            Cmd::Steer { act, steering } => self.spawn(act, async move {
                match &hands.crew.helm {
                    Some(helm) => helm.steer(steering).await,
                    None => Err("this console cannot steer the cluster".into()),
                }
            }),
            Cmd::Upkeep { act, node, what } => self.spawn(act, async move {
                match &hands.crew.launcher {
                    Some(launcher) => {
                        let done = launcher.upkeep(node, what).await;
                        hands.ears.retry.notify_waiters();
                        done
                    }
                    None => Err("this console does not own the processes".into()),
                }
            }),
            Cmd::CancelJobs { act, ids } => self.spawn(act, async move { hands.cancel(ids).await }),
            Cmd::RetryJobs { act, ids } => self.spawn(act, async move { hands.retry(ids).await }),
            Cmd::PauseQueue { act, queue, paused } => {
                self.spawn(act, async move { hands.pause(&queue, paused).await });
            }
            Cmd::List => self.answer(async move {
                let request = wire::ListRequest { limit: PAGE_MAX, ..Default::default() };
                let listed = hands.jobs.list(request, CALL_MAX).await;
                Body::Jobs(
                    listed.map(|reply| Arc::new(Page::from_wire(&reply))).map_err(|e| clean(&format!("jobs: {e}"))),
                )
            }),
            Cmd::Get(id) => self.answer(async move {
                let reply = hands.jobs.get(JobId(id), 0, CALL_MAX).await.map_err(|e| e.to_string());
                let job = reply.and_then(|r| r.job.ok_or_else(|| "no such job".into()));
                Body::Job(job.map(|job| Arc::new(Job::from_wire(&job))).map_err(|e| clean(&format!("job {id}: {e}"))))
            }),
            Cmd::ReadLog { slot, id } => self.answer(async move {
                let path = hands.crew.launcher.as_ref().and_then(|launcher| launcher.log(id));
                let read = match path {
                    None => Err("this console does not see the files of the node".to_owned()),
                    Some(path) => tokio::task::spawn_blocking(move || last_lines(&path))
                        .await
                        .map_err(|e| e.to_string())
                        .and_then(|read| read.map_err(|e| e.to_string())),
                };
                Body::Log(slot, read)
            }),
            Cmd::Submit { act, job } => self.spawn(act, async move {
                let done = hands.jobs.submit(job, SUBMIT_MAX).await.map_err(|e| e.to_string())?;
                let state = format!("{:?}", done.state()).to_lowercase();
                Ok(format!("job {} is {state}, at index {}", done.id, done.index))
            }),
        }
    }

    fn spawn(&self, act: ActId, work: impl Future<Output = Result<String, String>> + Send + 'static) {
        let (queue, clock) = (self.ears.queue.clone(), self.ears.clock);
        tokio::spawn(async move {
            let outcome = work.await.map(|t| clean(&t)).map_err(|t| clean(&t));
            // A closed queue is a console that has ended: nobody is left to tell.
            let _ = queue.send(Msg { at: clock.now(), body: Body::Done(act, outcome) }).await;
        });
    }

    /// Tells what a question brought.
    fn answer(&self, work: impl Future<Output = Body> + Send + 'static) {
        let (queue, clock) = (self.ears.queue.clone(), self.ears.clock);
        tokio::spawn(async move {
            let body = work.await;
            // A closed queue is a console that has ended: nobody is left to tell.
            let _ = queue.send(Msg { at: clock.now(), body }).await;
        });
    }

    async fn cancel(&self, ids: Vec<u64>) -> Result<String, String> {
        let calls = ids.into_iter().map(|id| async move {
            self.jobs.cancel(JobId(id), SUBMIT_MAX).await.map(|_| ()).map_err(|e| format!("job {id}: {e}"))
        });
        succeeded(join_all(calls).await).map(|done| format!("done for {}", count(done.len(), "job")))
    }

    async fn retry(&self, ids: Vec<u64>) -> Result<String, String> {
        let calls = ids.into_iter().map(|id| retry::retry(&self.jobs, id, SUBMIT_MAX));
        let done = succeeded(join_all(calls).await)?;
        Ok(match &done[..] {
            [one] => one.words.clone(),
            many => format!("done for {}", count(many.len(), "job")),
        })
    }

    async fn pause(&self, queue: &str, paused: bool) -> Result<String, String> {
        let done = match paused {
            true => self.jobs.pause_queue(queue, SUBMIT_MAX).await,
            false => self.jobs.resume_queue(queue, SUBMIT_MAX).await,
        };
        done.map(|reply| queues::outcome(queue, paused, reply.changed)).map_err(|e| e.to_string())
    }

    async fn kill(&self, slot: Slot) -> Result<String, String> {
        let fault = fault_spec::Fault::Kill(wire::KillFault {});
        match self.inject(slot, fault, 0).await {
            Ok(()) => Ok("done".into()),
            // A process that aborts takes its answer with it.
            Err(status) if broken(&status) => Ok("done, its connection broke".into()),
            Err(status) => Err(line(&status)),
        }
    }

    async fn strike(&self, faults: Vec<(Slot, fault_spec::Fault)>, ttl_ms: u64) -> Result<String, String> {
        let nodes = faults.iter().map(|(slot, _)| *slot).collect::<BTreeSet<_>>().len();
        let calls = faults.into_iter().map(|(slot, fault)| async move {
            self.inject(slot, fault, ttl_ms).await.map_err(|status| self.named(slot, &status))
        });
        succeeded(join_all(calls).await).map(|_| format!("done at {}", count(nodes, "node")))
    }

    /// Ends faults: at each of these nodes those of these ids, or all.
    async fn heal(&self, at: BTreeMap<Slot, Vec<u64>>) -> Result<String, String> {
        let calls = at.into_iter().map(|(slot, ids)| async move {
            let request = wire::HealFaultsRequest { ids, ..Default::default() };
            let mut client = self.admin(slot);
            let reply = within(client.heal_faults(request)).await.map_err(|status| self.named(slot, &status))?;
            Ok(reply.into_inner().healed.len())
        });
        let healed = succeeded(join_all(calls).await)?;
        Ok(match healed.iter().filter(|faults| **faults > 0).count() {
            0 => "no node had a fault".into(),
            nodes => format!("done at {}", count(nodes, "node")),
        })
    }

    async fn inject(&self, slot: Slot, fault: fault_spec::Fault, ttl_ms: u64) -> Result<(), Status> {
        let spec = Some(wire::FaultSpec { fault: Some(fault) });
        let request = wire::InjectFaultRequest { spec, ttl_ms, label: LABEL.into() };
        within(self.admin(slot).inject_fault(request)).await.map(|_| ())
    }

    fn admin(&self, slot: Slot) -> AdminClient<Channel> {
        AdminClient::new(self.lines.lock().expect("no holder panics")[slot.0].channel.clone())
    }

    fn named(&self, slot: Slot, status: &Status) -> String {
        format!("{}: {}", self.lines.lock().expect("no holder panics")[slot.0].address, line(status))
    }
}

/// The last lines of a file, safe to draw. One that is not there yet has none.
fn last_lines(path: &Path) -> io::Result<Vec<String>> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let from = file.metadata()?.len().saturating_sub(LOG_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
    // The first line of a piece is the end of one.
    Ok(String::from_utf8_lossy(&bytes).lines().skip(usize::from(from > 0)).map(clean).collect())
}

async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = || Status::deadline_exceeded(format!("no answer within {} ms", CALL_MAX.as_millis()));
    timeout(CALL_MAX, call).await.unwrap_or_else(|_| Err(late()))
}

/// True if the connection went away under the call.
fn broken(status: &Status) -> bool {
    let gone = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal);
    gone && words(status) != "connection refused"
}

fn line(status: &Status) -> String {
    let said = words(status);
    if said.is_empty() { status.code().description().to_owned() } else { said }
}

/// All the answers; one failure is told for all.
fn succeeded<T>(outcomes: Vec<Result<T, String>>) -> Result<Vec<T>, String> {
    let asked = outcomes.len();
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    outcomes.into_iter().collect::<Result<_, _>>().map_err(|first| format!("{failed} of {asked} failed; {first}"))
}
