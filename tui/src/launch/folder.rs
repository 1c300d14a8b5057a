//! A cluster's folder, and the nodes it runs.
//!
//! ```text
//! DIR/cluster.toml     the cluster file, as `up` wrote it or as the operator did
//! DIR/n1.id            names the directory that n1 once filled: an emptied one is refused
//! DIR/n1/              data directory of node n1, and beside its data:
//! DIR/n1/node.log        what it says
//! DIR/n1/pid             the process, as `PID START`
//! DIR/n1/tab             its tab or pane, if it has one
//! DIR/n1/launched        its pid as a shell in that tab wrote it, where the terminal does not tell it
//! ```
//!
//! Laws: the folder is the only memory between two calls; a node that runs is never started again; a process is
//! signalled only if it is the very one that was started; and the cluster file is written whole or not at all, by one call at
//! a time. `add` and `remove` write it anew: comments of the operator in it are lost then.
//! The calls block for as long as a process needs to end: from async code they go through `spawn_blocking`.

mod tabs;

use std::{
    fs,
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use raftdeck_shared::cluster::{ClusterFile, NodeEntry};

use super::{
    binary,
    process::{self, Process},
    tab::{Shape, Tab, Terminal},
};

/// The cluster file's name in the folder.
pub const CLUSTER_FILE: &str = "cluster.toml";

/// A node that was asked to end is killed after this long.
pub const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A killed process is gone within this time.
const KILL_WITHIN: Duration = Duration::from_secs(2);

/// How much of the end of a log is searched for the reason of an early end.
const LOG_TAIL_BYTES: u64 = 64 << 10;

/// A folder with its cluster file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Folder {
    dir: PathBuf,
    file: ClusterFile,
}

/// Where a node runs.
#[derive(Clone, Debug)]
pub enum Place {
    /// Detached from any terminal.
    Background,
    /// In a tab or pane.
    Tab(Terminal, Shape),
}

/// A node that was started.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its process.
    pub process: Process,
    /// Length of its log before.
    log_from: u64,
}

/// How a node's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It did not run.
    NotRunning,
    /// When asked to.
    Ended {
        /// Of the process.
        pid: u32,
    },
    /// It had to be killed.
    Killed {
        /// Of the process.
        pid: u32,
    },
}

impl Folder {
    /// The folder as it stands.
    ///
    /// # Errors
    /// It holds no cluster file, or one that is not taken.
    pub fn open(dir: &Path) -> Result<Folder, String> {
        let path = dir.join(CLUSTER_FILE);
        if !path.exists() {
            return Err(format!("{} does not exist: no cluster was started in this folder", path.display()));
        }
        let file = ClusterFile::load(&path).map_err(|e| e.to_string())?;
        let dir = dir.canonicalize().map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Folder { dir, file })
    }

    /// Whether a cluster was made here.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        dir.join(CLUSTER_FILE).exists()
    }

    /// Makes the folder of a new cluster.
    ///
    /// # Errors
    /// It cannot be written, or the file would not be taken.
    pub fn create(dir: &Path, file: &ClusterFile) -> Result<Folder, String> {
        fs::create_dir_all(dir).map_err(|e| cannot_write(dir, &e))?;
        write(dir, file)?;
        Folder::open(dir)
    }

    /// Changes the cluster file as it stands now, which may be newer than this value.
    ///
    /// # Errors
    /// Of the change, or it cannot be written, or the file would not be taken.
    pub fn change(&self, change: impl FnOnce(&mut ClusterFile) -> Result<(), String>) -> Result<Folder, String> {
        let lock = fs::File::open(&self.dir).and_then(|dir| dir.lock().map(|()| dir));
        let _held = lock.map_err(|e| format!("cannot lock {}: {e}", self.dir.display()))?;
        let mut file = Folder::open(&self.dir)?.file;
        change(&mut file)?;
        write(&self.dir, &file)?;
        Folder::open(&self.dir)
    }

    /// Whether a node of this name was here, or is: its name and its data are not for another one.
    #[must_use]
    pub fn was_used(&self, name: &str) -> bool {
        self.file.node(name).is_some() || self.dir.join(name).exists() || self.witness(name).exists()
    }

    /// Removes what a node that never was a member has left behind.
    pub fn forget(&self, node: &NodeEntry) {
        let _ = fs::remove_dir_all(self.home(node)); // What stays is in the way of this name alone, and says so.
        let _ = fs::remove_file(self.witness(&node.name));
    }

    fn witness(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.id"))
    }

    /// Its cluster file.
    #[must_use]
    pub fn file(&self) -> &ClusterFile {
        &self.file
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A node by its name or number.
    ///
    /// # Errors
    /// The cluster has no such node.
    pub fn node(&self, name: &str) -> Result<&NodeEntry, String> {
        self.file.node(name).ok_or_else(|| {
            let known: Vec<&str> = self.file.nodes.iter().map(|node| node.name.as_str()).collect();
            format!("no node {name:?}: the cluster has {}", known.join(", "))
        })
    }

    /// Where a node's log is.
    #[must_use]
    pub fn log(&self, node: &NodeEntry) -> PathBuf {
        self.home(node).join("node.log")
    }

    /// The process of a node, if it runs.
    #[must_use]
    pub fn process(&self, node: &NodeEntry) -> Option<Process> {
        let text = fs::read_to_string(self.home(node).join("pid")).ok()?;
        text.parse().ok().filter(Process::is_alive)
    }

    /// A folder that is not there yet, as it would be made. Nothing can be started in it.
    ///
    /// # Errors
    /// Its name cannot be made absolute.
    pub fn planned(dir: &Path, file: ClusterFile) -> Result<Folder, String> {
        let dir = std::path::absolute(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Folder { dir, file })
    }

    /// Starts a node that does not run. One that has a tab starts there again.
    ///
    /// # Errors
    /// It runs already, or cannot be started. That it ends right afterwards shows later: [`Folder::why_ended`].
    pub fn start(&self, node: &NodeEntry, place: &Place) -> Result<Started, String> {
        let name = &node.name;
        if let Some(process) = self.process(node) {
            return Err(format!("{name} runs already, pid {}", process.pid));
        }
        let home = self.home(node);
        let failed = |e: io::Error| format!("{name}: cannot write {}: {e}", home.display());
        fs::create_dir_all(&home).map_err(failed)?;
        let log_from = fs::metadata(self.log(node)).map_or(0, |about| about.len());
        let mut command = self.command(node)?;
        let launched = home.join("launched");
        let before = self.tab(node);
        // A tab that cannot be taken over is given up for another one of its kind.
        let place = match &before {
            Some(tab) if !tab.restarts_in_place() => {
                tab.close();
                &Place::Tab(tab.terminal().clone(), tab.shape())
            }
            Some(_) | None => place,
        };
        let in_place = before.filter(Tab::restarts_in_place);
        let process = match (in_place, place) {
            (None, Place::Background) => process::start_detached(&command, &self.dir, &self.log(node))
                .map_err(|e| format!("{name}: cannot start {}: {e}", command[0]))?,
            (in_place, place) => {
                command.extend(self.log_words(node));
                let run = self.run(node, &command, &launched);
                let tab = match (in_place, place) {
                    (None, Place::Tab(terminal, shape)) => terminal.open(run, *shape)?,
                    (Some(tab), _) => tab,
                    (None, Place::Background) => return Err(format!("{name}: nowhere to start")),
                };
                fs::write(home.join("tab"), format!("{tab}\n")).map_err(failed)?;
                let pid = tab.start(run)?;
                Process::of(pid).ok_or_else(|| format!("{name}: {}", self.last_words(node, log_from)))?
            }
        };
        fs::write(home.join("pid"), format!("{process}\n")).map_err(failed)?;
        Ok(Started { process, log_from })
    }

    /// Why a node that was started has ended, in its own words.
    #[must_use]
    pub fn why_ended(&self, node: &NodeEntry, started: &Started) -> String {
        format!("{}: {}", node.name, self.last_words(node, started.log_from))
    }

    /// Its last `error:` line since then, from its log, or from its tab if it could not write one; else its last line.
    fn last_words(&self, node: &NodeEntry, log_from: u64) -> String {
        let log = tail(&self.log(node), log_from).unwrap_or_default();
        if let Some(words) = error_line(&log) {
            return words.to_owned();
        }
        let tab = self.tab(node).map_or_else(String::new, |tab| tab.last_words());
        match error_line(&tab).or_else(|| last_line(&log)).or_else(|| last_line(&tab)) {
            Some(words) => words.to_owned(),
            None => format!("ended at its start without a word (log: {})", self.log(node).display()),
        }
    }

    /// Remembers a process that runs a node but was not started from here, by the pid that the node says. That number
    /// means something only if the node is on this machine, and may still mean another process if it only seems to be
    /// (a forwarded port): a process of another name is left alone.
    pub fn adopt(&self, node: &NodeEntry, pid: u32) {
        if self.process(node).is_none()
            && node.api.ip().is_loopback()
            && process::program(pid).as_deref() == Some(binary::NAME)
            && let Some(process) = Process::of(pid)
            && fs::create_dir_all(self.home(node)).is_ok()
        {
            let _ = fs::write(self.home(node).join("pid"), format!("{process}\n"));
        }
    }

    /// Stops nodes: all are asked at once, and those that have not ended within [`STOP_WITHIN`] are killed.
    #[must_use]
    pub fn stop(&self, nodes: &[&NodeEntry]) -> Vec<Stopped> {
        let running: Vec<Option<Process>> = nodes.iter().map(|node| self.process(node)).collect();
        running.iter().flatten().for_each(Process::terminate);
        let deadline = Instant::now() + STOP_WITHIN;
        let stopped = running.into_iter().zip(nodes).map(|(process, node)| {
            let Some(process) = process else {
                return Stopped::NotRunning;
            };
            let pid = process.pid;
            let ended = process.ended_by(deadline);
            if !ended {
                process.kill();
                let _ = process.ended_by(Instant::now() + KILL_WITHIN);
            }
            let _ = fs::remove_file(self.home(node).join("pid"));
            if ended { Stopped::Ended { pid } } else { Stopped::Killed { pid } }
        });
        stopped.collect()
    }

    /// Stops a node if it runs and starts it again, in its tab if it has one, else where others run.
    ///
    /// # Errors
    /// There is no such node, or it cannot be started.
    pub fn restart_node(&self, name: &str) -> Result<Started, String> {
        let node = self.node(name)?;
        let _ = self.stop(&[node]);
        self.start(node, &self.place_of_others())
    }

    /// [`Folder::restart_node`], told in a sentence.
    ///
    /// # Errors
    /// There is no such node, or it cannot be started.
    pub fn restart(&self, name: &str) -> Result<String, String> {
        let started = self.restart_node(name)?;
        Ok(format!("{name} restarted, pid {}", started.process.pid))
    }

    /// Ends a node at once, from outside, and gives the pid it had.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&self, name: &str) -> Result<u32, String> {
        let node = self.node(name)?;
        let process = self.process(node).ok_or_else(|| format!("{} does not run", node.name))?;
        process.kill();
        if process.ended_by(Instant::now() + KILL_WITHIN) {
            return Ok(process.pid);
        }
        Err(format!("{}: pid {} has not ended {} ms after SIGKILL", node.name, process.pid, KILL_WITHIN.as_millis()))
    }

    fn home(&self, node: &NodeEntry) -> PathBuf {
        self.dir.join(&node.name)
    }

    fn command(&self, node: &NodeEntry) -> Result<Vec<String>, String> {
        let text = |path: &Path| match path.to_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(format!("{} is not UTF-8", path.display())),
        };
        let mut command = vec![
            text(&binary::find()?)?,
            "--cluster".to_owned(),
            text(&self.dir.join(CLUSTER_FILE))?,
            "--node".to_owned(),
            node.name.clone(),
            "--data".to_owned(),
            text(&self.home(node))?,
        ];
        if self.file.enable_faults {
            command.push("--enable-faults".to_owned());
        }
        Ok(command)
    }
}

fn cannot_write(dir: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", dir.join(CLUSTER_FILE).display())
}

/// Puts a cluster file in its place, if it is one.
fn write(dir: &Path, file: &ClusterFile) -> Result<(), String> {
    let draft = dir.join(format!("{CLUSTER_FILE}.new"));
    fs::write(&draft, file.to_toml()).map_err(|e| cannot_write(dir, &e))?;
    if let Err(error) = ClusterFile::load(&draft) {
        let _ = fs::remove_file(&draft);
        return Err(error.message);
    }
    fs::rename(&draft, dir.join(CLUSTER_FILE)).map_err(|e| cannot_write(dir, &e))
}

fn error_line(text: &str) -> Option<&str> {
    text.lines().rev().find_map(|line| line.trim().strip_prefix("error: "))
}

fn last_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).rfind(|line| !line.is_empty())
}

fn tail(log: &Path, from: u64) -> io::Result<String> {
    let mut log = fs::File::open(log)?;
    let from = from.max(log.metadata()?.len().saturating_sub(LOG_TAIL_BYTES));
    log.seek(io::SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    log.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::ports;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let file = crate::cli::up::new_file(ports::free(2).unwrap());
        let folder = Folder::create(&dir.path().join("d"), &file).unwrap();
        (dir, folder)
    }

    #[test]
    fn what_was_created_is_opened_and_asked_by_name() {
        let (dir, folder) = folder();
        assert_eq!(Folder::open(&dir.path().join("d")).unwrap().file(), folder.file());
        assert_eq!(folder.node("n9").unwrap_err(), "no node \"n9\": the cluster has n1, n2");
        let error = Folder::open(&dir.path().join("e")).unwrap_err();
        assert!(error.ends_with("e/cluster.toml does not exist: no cluster was started in this folder"), "{error}");
    }

    #[test]
    fn a_node_that_does_not_run_is_neither_stopped_nor_killed() {
        let (_dir, folder) = folder();
        let n1 = folder.node("n1").unwrap();
        assert_eq!(folder.stop(&[n1]), [Stopped::NotRunning]);
        assert_eq!(folder.kill("n1").unwrap_err(), "n1 does not run");
        folder.adopt(n1, std::process::id());
        assert_eq!(folder.process(n1), None, "this test is no node");
        let pid_file = folder.home(n1).join("pid");
        fs::create_dir_all(folder.home(n1)).unwrap();
        let own = Process::of(std::process::id()).unwrap();
        fs::write(&pid_file, format!("{own}\n")).unwrap();
        assert_eq!(folder.process(n1), Some(own));
        fs::write(pid_file, format!("{} 1\n", std::process::id())).unwrap();
        assert_eq!(folder.process(n1), None);
        assert_eq!(folder.stop(&[n1]), [Stopped::NotRunning]);
    }

    #[test]
    fn the_reason_of_an_early_end_is_the_error_line_since_the_start() {
        let (_dir, folder) = folder();
        let n1 = folder.node("n1").unwrap();
        fs::create_dir_all(folder.home(n1)).unwrap();
        fs::write(folder.log(n1), "error: of old\n").unwrap();
        assert!(folder.last_words(n1, 14).starts_with("ended at its start without a word"));
        fs::write(folder.log(n1), "error: of old\nstarting\nerror: port taken\nbye\n").unwrap();
        assert_eq!(folder.last_words(n1, 14), "port taken");
        fs::write(folder.log(n1), "error: of old\nstarting\npanic\n").unwrap();
        assert_eq!(folder.last_words(n1, 14), "panic");
    }
}
