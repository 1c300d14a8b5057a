//! A program that runs one attempt of a job.
//!
//! What the program sees: the arguments of the operator's file and nothing from the job among them, no shell; the payload
//! on stdin; an empty directory of its own as working directory; and these variables only:
//!
//! | variable | value |
//! |---|---|
//! | `PATH`, `LANG` | the node's own |
//! | `JOB_ID`, `ATTEMPT`, `QUEUE` | of the job |
//! | `FENCE_TOKEN` | greater in each later attempt: a store that remembers the greatest it saw can refuse an older one |
//! | `DEADLINE` | end of the lease as it was claimed, unix time in ms by the cluster's clock; renewals move it on |
//!
//! A program is looked up in `PATH`. One named with a slash should be an absolute path, since the working directory is
//! empty.
//!
//! What it says: exit code 0 is success and stdout the result. 100 to 109 is a failure that another attempt would not
//! mend; any other code, 75 among them, is one that it may. The last line of stderr says why.
//!
//! # Laws
//!
//! - The program is the leader of a process group, and when [`run`] ends or is dropped, nothing of that group is left.
//! - stdin is written while the output is read, so neither side can wait for the other for ever; a program need not read.
//! - Output costs bounded memory, and a pipe kept open by somebody who left the group costs bounded time.

use std::{
    env, fs, io,
    os::unix::{fs::DirBuilderExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    pin::{Pin, pin},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    future::{Either, FusedFuture, select},
};
use raftdeck_shared::wire;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin, Command},
    time::timeout,
};
use tracing::warn;

use super::{
    Outcome, expiry,
    lease::{Lease, Stop},
    output::Tail,
};

/// Kept of stderr.
const STDERR_BYTES_MAX: usize = 4096;

/// For reading what is left in the pipes when the group is gone.
const DRAIN_MAX: Duration = Duration::from_millis(500);

/// Exit codes that say: another attempt would end the same.
const EXIT_NON_RETRYABLE: std::ops::RangeInclusive<i32> = 100..=109;

/// Where programs are looked for if the node itself was started without a PATH.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// What ends an attempt.
enum End {
    Exited(io::Result<ExitStatus>),
    Stopped(Stop),
    TimedOut(Duration),
}

/// Runs a program to its end, its limit, or the order to stop.
pub(super) async fn run(
    argv: &[String],
    folder: &Path,
    job: &wire::ClaimedJob,
    limit: Option<Duration>,
    output_bytes_max: usize,
    lease: &mut Lease,
) -> Outcome {
    let [program, arguments @ ..] = argv else {
        return Outcome::retryable(format!("handler {:?} has no program", job.handler));
    };
    let scratch = match Scratch::create(folder, job) {
        Ok(scratch) => scratch,
        Err(error) => return Outcome::retryable(format!("no working directory: {error}")),
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&scratch.path).process_group(0);
    command.env_clear().envs(environment(job));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let outcome = match command.spawn() {
        Ok(child) => attend(child, &job.payload, limit, output_bytes_max, lease).await,
        // Another node may have it.
        Err(error) => Outcome::retryable(format!("program {program:?}: {error}")),
    };
    scratch.remove().await;
    outcome
}

async fn attend(
    mut child: Child,
    payload: &Bytes,
    limit: Option<Duration>,
    output_bytes_max: usize,
    lease: &mut Lease,
) -> Outcome {
    let group = Group::led_by(&child);
    let (mut stdout, mut stderr) = (Tail::new(output_bytes_max), Tail::new(STDERR_BYTES_MAX));
    let end = {
        let pipes = "the pipes were asked for";
        let feeding = feed(child.stdin.take().expect(pipes), payload);
        let reading_out = stdout.read_from(child.stdout.take().expect(pipes));
        let reading_err = stderr.read_from(child.stderr.take().expect(pipes));
        let mut talk = pin!(async { tokio::join!(feeding, reading_out, reading_err) }.fuse());

        let end = async {
            tokio::select! {
                biased;
                status = child.wait() => End::Exited(status),
                stop = lease.stopped() => End::Stopped(stop),
                limit = expiry(limit) => End::TimedOut(limit),
            }
        };
        let end = beside(talk.as_mut(), end).await;
        let grace = match end {
            End::Exited(_) => None,
            End::Stopped(stop) => Some(lease.grace(Some(stop))),
            End::TimedOut(_) => Some(lease.grace(None)),
        };
        if let Some(grace) = grace {
            beside(talk.as_mut(), group.end(&mut child, grace)).await;
        }
        // What the program left behind in its group ends with it, and lets go of the pipes.
        drop(group);
        if !talk.is_terminated() {
            let _ = timeout(DRAIN_MAX, talk).await;
        }
        end
    };
    match end {
        End::Exited(Ok(status)) => judge(status, stdout, &stderr),
        End::Exited(Err(error)) => Outcome::retryable(format!("its end is not known: {error}")),
        End::Stopped(stop) => Outcome::Stopped(stop),
        End::TimedOut(limit) => Outcome::timed_out(limit),
    }
}

fn judge(status: ExitStatus, stdout: Tail, stderr: &Tail) -> Outcome {
    match status.code() {
        Some(0) => Outcome::Done(stdout.into_bytes()),
        Some(code) => {
            let why = stderr.last_line().map(|line| format!(": {line}")).unwrap_or_default();
            Outcome::Failed { error: format!("exit {code}{why}"), retry: !EXIT_NON_RETRYABLE.contains(&code) }
        }
        None => match status.signal() {
            Some(signal) => Outcome::retryable(format!("killed by signal {signal}")),
            None => Outcome::retryable(status.to_string()),
        },
    }
}

/// Writes the payload. A program that does not read all of it has closed the pipe: its exit code says if that was well.
async fn feed(mut stdin: ChildStdin, payload: &Bytes) {
    let _ = stdin.write_all(payload).await;
}

/// Waits for one thing while another goes on; the other may end before.
async fn beside<T>(other: Pin<&mut impl FusedFuture>, until: impl Future<Output = T>) -> T {
    match select(pin!(until), other).await {
        Either::Left((done, _)) => done,
        Either::Right((_, until)) => until.await,
    }
}

fn environment(job: &wire::ClaimedJob) -> [(&'static str, String); 7] {
    [
        ("PATH", env::var("PATH").unwrap_or_else(|_| PATH_DEFAULT.into())),
        ("LANG", env::var("LANG").unwrap_or_else(|_| "C.UTF-8".into())),
        ("JOB_ID", job.id.to_string()),
        ("ATTEMPT", job.attempt.to_string()),
        ("QUEUE", job.queue.clone()),
        ("FENCE_TOKEN", job.token.to_string()),
        ("DEADLINE", job.deadline_ms.to_string()),
    ]
}

/// A program and all its descendants that did not leave its group. Killed when this is dropped.
///
/// The group's number is not given to others while it has a member. Between the end of its last member and the drop lie
/// some microseconds, in which the system would have to go round all of its process numbers for another to be hit.
struct Group(Pid);

impl Group {
    fn led_by(child: &Child) -> Group {
        let pid = child.id().and_then(|pid| Pid::from_raw(pid as i32));
        Group(pid.expect("a child that was not waited for has its number"))
    }

    /// TERM; KILL when the program is still there after the grace. Ends when the program has.
    async fn end(&self, child: &mut Child, grace: Duration) {
        self.signal(Signal::TERM);
        if timeout(grace, child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _ = child.wait().await;
        }
    }

    fn signal(&self, signal: Signal) {
        // It fails for a group that is empty, which is the aim, and for programs that became another user, which are out
        // of reach.
        let _ = kill_process_group(self.0, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Makes an empty folder for working directories. A node that was killed could not remove its own.
pub(super) fn sweep(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The working directory of one attempt: nobody else's, and gone afterwards.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn create(folder: &Path, job: &wire::ClaimedJob) -> io::Result<Scratch> {
        let path = folder.join(format!("job-{}-{}", job.id, uuid::Uuid::new_v4().simple()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Scratch { path })
    }

    /// Off the threads that the consensus runs on: there may be much in it.
    async fn remove(mut self) {
        let path = std::mem::take(&mut self.path);
        if let Err(error) = tokio::fs::remove_dir_all(&path).await {
            warn!(path = %path.display(), %error, "working directory of a job not removed");
        }
    }
}

impl Drop for Scratch {
    /// For an attempt that was dropped half-way.
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
