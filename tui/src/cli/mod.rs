//! The command line: every view of the console as text or JSON, every action as a verb.
//!
//! Contract for programs: exit code 0 is done, 1 is refused or failed, 2 is a call that is not understood. With `--json`
//! stdout holds JSON only, one value a line; what went wrong is always exactly one line `error: ..` on stderr. A wait of more
//! than a second is told there as well, by a line `waiting, ..`.

pub mod add;
pub mod args;
pub mod demo;
pub mod excerpt;
pub mod failure;
pub mod faults;
pub mod film;
pub mod healing;
pub mod jobs;
pub mod kill;
pub mod logs;
pub mod members;
pub mod out;
pub mod queues;
pub mod remove;
pub mod sides;
pub mod signals;
pub mod sim;
pub mod status;
pub mod submit;
pub mod target;
pub mod transfer;
pub mod up;
pub mod values;
pub mod watch;

use std::{path::PathBuf, pin::Pin, process::ExitCode, sync::Arc};

use clap::{Parser as _, error::ErrorKind};
use raftdeck_shared::{
    cluster::BUILT_IN_HANDLERS,
    ids::NodeId,
    wire::{ClockFault, PauseFault, fault_spec::Fault},
};

use self::{
    args::{Call, Verb},
    failure::{Failure, usage_line},
    jobs::Part,
    out::Out,
    target::Target,
};
use crate::{
    bench,
    console::{self, ConsoleNode, ConsoleOptions, Crew, Helm, Launcher, Look, Steering, Upkeep},
    launch::folder::Folder,
};

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Call::try_parse() {
        Ok(call) => run(&call),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                // A reader that has gone has read enough.
                let _ = error.print();
                Ok(())
            }
            _ => Err(Failure::Usage(usage_line(&error))),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(call: &Call) -> Result<(), Failure> {
    let runtime = match call.verb {
        // What measures shares the machine with what is measured: one thread, and no hand-over between threads.
        Some(Verb::Bench(_)) => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        // The loop of the console has the thread that calls; what its nodes say is read on one beside it, and no thread is
        // woken up to look for work of another.
        Some(_) | None => tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build(),
    };
    let runtime = runtime.map_err(|e| format!("cannot start: {e}"))?;
    let done = runtime.block_on(dispatch(call));
    // A read of stdin or a wait for a process may still be under way; nobody needs its end.
    runtime.shutdown_background();
    done
}

async fn dispatch(call: &Call) -> Result<(), Failure> {
    let out = Out::new(call.json);
    let place = &call.place;
    let target = || Target::find(place);
    match &call.verb {
        // Nobody is asked before: members that joined later appear by themselves, and nodes that hang must not hold it up.
        None => open_console(&target()?, call.look.look()).await,
        Some(Verb::Demo(args)) => demo::run(args, call.look.look(), out).await,
        Some(Verb::Record(args)) => film::record(&status::complete(target()?).await, args, out).await,
        Some(Verb::Replay(args)) => film::replay(args, call.look.look(), out).await,
        Some(Verb::Keys) => film::keys(&call.look.look(), out),
        Some(Verb::Bench(args)) => bench::run(place, args, out).await,
        Some(Verb::Up(args)) => up::up(place, args, out).await,
        Some(Verb::Down) => up::down(place, out).await,
        Some(Verb::Restart { node }) => up::restart(place, node, out).await,
        Some(Verb::Logs(args)) => logs::run(place, args, out).await,
        Some(Verb::Status) => status::run(&target()?, out).await,
        Some(Verb::Submit(args)) => submit::run(&target()?, args, out).await,
        Some(Verb::Jobs(args)) => jobs::list(&target()?, args, out).await,
        Some(Verb::Job { id, payload, output }) => {
            let part = Part::of(*payload, *output);
            jobs::show(&target()?, *id, part, out).await
        }
        Some(Verb::Cancel { id }) => jobs::cancel(&target()?, *id, out).await,
        Some(Verb::Retry { ids }) => jobs::retry(&target()?, ids, out).await,
        Some(Verb::Pause { queue }) => queues::pause(&target()?, queue, out).await,
        Some(Verb::Resume { queue }) => queues::resume(&target()?, queue, out).await,
        Some(Verb::Queues) => queues::list(&target()?, out).await,
        Some(Verb::Kill { node, hard: true }) => kill::hard(place, node, out),
        Some(Verb::Kill { node, hard: false }) => kill::run(&target()?, node, out).await,
        Some(Verb::Cut { sides, one_way, ttl }) => faults::cut(&target()?, sides, *one_way, ttl.ttl, out).await,
        Some(Verb::Link(args)) => faults::link(&target()?, args, out).await,
        Some(Verb::Disk(args)) => faults::disk(&target()?, args, out).await,
        Some(Verb::PauseNode { node, ttl }) => {
            faults::at_node(&target()?, node, Fault::Pause(PauseFault {}), ttl.ttl, out).await
        }
        Some(Verb::Clock { node, offset, ttl }) => {
            let fault = Fault::Clock(ClockFault { offset_ms: *offset });
            faults::at_node(&target()?, node, fault, ttl.ttl, out).await
        }
        Some(Verb::Faults) => healing::list(&target()?, out).await,
        Some(Verb::Heal { what }) => healing::heal(&target()?, what, out).await,
        Some(Verb::Members) => members::run(&target()?, out).await,
        Some(Verb::Add(args)) => add::run(place, args, out).await,
        Some(Verb::Remove(args)) => remove::run(&target()?, args, out).await,
        Some(Verb::Transfer { node }) => transfer::run(&target()?, node, out).await,
        Some(Verb::Snapshot { node }) => transfer::snapshot(&target()?, node, out).await,
        Some(Verb::Watch { plain: _ }) => watch::run(&status::complete(target()?).await, out).await,
        Some(Verb::Sim(args)) => sim::run(args, call.look.look(), out).await,
    }
}

/// Opens the console on a cluster and returns when it is closed: the one way from the command line into it.
///
/// # Errors
/// There is no terminal, or it went away.
pub async fn open_console(target: &Target, look: Look) -> Result<(), Failure> {
    console::run(console_options(target, look)).await.map_err(|error| Failure::Refused(format!("{error:#}")))
}

/// What a console of a cluster is started with.
#[must_use]
pub fn console_options(target: &Target, look: Look) -> ConsoleOptions {
    let own_handlers = target.file.iter().flat_map(|file| file.handlers.keys().cloned());
    let node = |member: &target::Member| ConsoleNode {
        id: member.id.map(NodeId),
        name: member.name.clone(),
        api: member.api.clone(),
    };
    ConsoleOptions {
        cluster_id: target.file.as_ref().map_or_else(String::new, |file| file.cluster_id.clone()),
        nodes: target.members.iter().map(node).collect(),
        handlers: BUILT_IN_HANDLERS.map(str::to_owned).into_iter().chain(own_handlers).collect(),
        crew: Crew {
            launcher: target.folder.clone().map(|folder| Arc::new(folder) as Arc<dyn Launcher>),
            helm: Some(Arc::new(target.clone()) as Arc<dyn Helm>),
        },
        look,
    }
}

/// The console looks after nodes where the folder runs them. That may wait for a process to end, so it leaves the loop. The
/// folder is read anew each time: it may have nodes by now that it had not when the console was opened.
impl Launcher for Folder {
    fn upkeep(&self, node: NodeId, what: Upkeep) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>> {
        let dir = self.dir().to_owned();
        let work = tokio::task::spawn_blocking(move || {
            let folder = Folder::open(&dir)?;
            let entry = folder.node(&folder.file().name_of(node))?;
            match what {
                Upkeep::Restart => folder.restart(&entry.name),
                Upkeep::ShowTab => folder.show_tab(entry),
                Upkeep::CloseTab => folder.close_ended_tab(entry),
            }
        });
        Box::pin(async move { work.await.map_err(|e| format!("it broke off: {e}"))? })
    }

    fn log(&self, node: NodeId) -> Option<PathBuf> {
        let folder = Folder::open(self.dir()).ok()?;
        folder.file().nodes.iter().find(|entry| entry.id == node).map(|entry| Folder::log(&folder, entry))
    }
}

/// The console steers by the verbs of the command line, without their words on stdout.
impl Helm for Target {
    fn steer(&self, what: Steering) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>> {
        let known = self.clone();
        // Starting and ending a process blocks, so all of it leaves the loop.
        let steered = tokio::task::spawn_blocking(move || {
            let target = match &known.folder {
                Some(folder) => Target::of_folder(&Folder::open(folder.dir())?),
                None => known,
            };
            tokio::runtime::Handle::current().block_on(async {
                match &what {
                    Steering::Transfer(node) => Ok(transfer::transfer(&target, node).await?.words()),
                    Steering::Add(args) => Ok(add::add(&target, args).await?.words()),
                    Steering::Remove(args) => Ok(remove::remove(&target, args, |_| Ok(())).await?.words()),
                }
            })
        });
        Box::pin(async move {
            let steered: Result<String, Failure> = steered.await.map_err(|e| format!("it broke off: {e}"))?;
            steered.map_err(|failure| match failure {
                Failure::Refused(why) | Failure::Usage(why) => why,
                Failure::ReaderGone => String::new(),
            })
        })
    }
}
