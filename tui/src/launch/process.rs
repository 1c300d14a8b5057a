//! A process that is still the one that was started.
//!
//! A pid alone is no name: the kernel reuses it, and a pid file outlives its process. A [`Process`] is therefore a pid
//! *and* the time it was started, and nothing is ever signalled that does not match in both.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io,
    path::Path,
    process::{Command, Stdio},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// The pause between two looks whether a process has ended: it is not our child, so nobody tells us.
const LOOK: Duration = Duration::from_millis(10);

/// One run of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number while it lives.
    pub pid: u32,
    started: String,
}

impl Process {
    /// The process that has this pid now; none if it has ended, also if nobody has collected it yet.
    #[must_use]
    pub fn of(pid: u32) -> Option<Process> {
        let started = if Path::new("/proc/self/stat").exists() { linux_start(pid) } else { ps_start(pid) }?;
        Some(Process { pid, started })
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Process::of(self.pid).as_ref() == Some(self)
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// A process that ends just now is no error: that is what was wanted.
    fn signal(&self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Whether it has ended by the deadline.
    #[must_use]
    pub fn ended_by(&self, deadline: Instant) -> bool {
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(LOOK);
        }
        true
    }
}

/// `PID START`, as a pid file holds it.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

impl FromStr for Process {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (pid, started) = text.trim().split_once(' ').ok_or(())?;
        Ok(Process { pid: pid.parse().map_err(|_| ())?, started: started.to_owned() })
    }
}

/// Field 22 of `/proc/PID/stat`, in ticks since boot. The second field is the program's name in parentheses and may hold
/// anything, so fields are counted from its end.
fn linux_start(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

/// The name of the program that runs under this pid.
#[must_use]
pub fn program(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok().or_else(|| ps(pid, "comm="))?;
    Some(name.trim().rsplit('/').next().unwrap_or_default().to_owned())
}

fn ps(pid: u32, what: &str) -> Option<String> {
    let output = Command::new("ps").args(["-o", what, "-p", &pid.to_string()]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ps_start(pid: u32) -> Option<String> {
    let text = ps(pid, "stat=,lstart=")?;
    let mut words = text.split_whitespace();
    let state = words.next()?;
    (!state.starts_with('Z')).then(|| words.collect::<Vec<_>>().join("-"))
}

/// Starts a program that outlives this one: in a process group of its own (an interrupt of the terminal does not reach
/// it), without stdin, what it says appended to `log`.
///
/// # Errors
/// It cannot be started.
pub fn start_detached(command: &[String], dir: &Path, log: &Path) -> io::Result<Process> {
    use std::os::unix::process::CommandExt as _;
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let out = OpenOptions::new().create(true).append(true).open(log)?;
    let err = out.try_clone()?;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn()?;
    // Before anybody collects it, even one that has ended has a start time.
    let process = Process::of(child.id()).unwrap_or(Process { pid: child.id(), started: "ended".into() });
    // A parent that lives on (the console, the demo) must collect its dead.
    thread::spawn(move || child.wait());
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_pid_and_start() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(program(own.pid).unwrap().starts_with("raftdeck"));
        assert_eq!(own.to_string().parse(), Ok(own.clone()));
        let reused = Process { started: "1".into(), ..own };
        assert!(!reused.is_alive());
        assert_eq!("12".parse::<Process>(), Err(()));
    }

    #[test]
    fn a_detached_process_is_ended_and_its_words_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let command = ["sh", "-c", "echo here in $(pwd); exec sleep 60"].map(str::to_owned);
        let process = start_detached(&command, dir.path(), &log).unwrap();
        assert!(process.is_alive());
        process.kill();
        assert!(process.ended_by(Instant::now() + Duration::from_secs(5)));
        let quick = start_detached(&["true".to_owned()], dir.path(), &log).unwrap();
        assert!(quick.ended_by(Instant::now() + Duration::from_secs(5)));
        let missing = start_detached(&["/nonexistent/x".to_owned()], dir.path(), &log).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_stopping_process_that_will_not_end_is_told_so() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(!own.ended_by(Instant::now()));
    }
}
