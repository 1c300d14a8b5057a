//! Nodes in tabs and panes of tmux.
//!
//! A place is opened first, with a program that only waits, and the node then takes it over by `respawn-pane`: so the
//! first start and every restart are the same step, in the same place, and `remain-on-exit` is set before the node can
//! end: its last words stay readable. Words after `--` are run without a shell, so the pane's pid is the node's.

use std::{
    fmt,
    path::Path,
    process::{Command, Stdio},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

/// Holds a place open until the node takes it over.
const PLACEHOLDER: &str = "cat";

/// The server has noticed the end of a pane's program within this time.
const DEAD_WITHIN: Duration = Duration::from_secs(2);

/// The pause between two looks whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// A running tmux: the operator's, or one of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `-S` with a socket path, or `-L` with a name.
    flag: Flag,
    socket: String,
    /// Where new tabs go; empty: where the operator is.
    session: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flag {
    Path,
    Name,
}

/// One pane of a server, recorded as `-S SOCKET %3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pane {
    server: Server,
    id: String,
}

/// How a node's place is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A window of its own.
    Tab,
    /// A part of the current window.
    Split,
}

impl Server {
    /// The tmux that this program runs in, if it truly does: the variable may be left over.
    #[must_use]
    pub fn around() -> Option<Server> {
        let variable = std::env::var("TMUX").ok().filter(|value| !value.is_empty())?;
        let socket = variable.split(',').next()?.to_owned();
        let server = Server { flag: Flag::Path, socket, session: String::new() };
        server.run(&["display-message", "-p", "x"]).ok().map(|_| server)
    }

    /// A server of our own for this cluster. It is started with the first tab and ends with the last.
    ///
    /// # Errors
    /// tmux is not installed.
    pub fn own(cluster_id: &str) -> Result<Server, String> {
        let server = Server { flag: Flag::Name, socket: format!("raftdeck-{cluster_id}"), session: "raftdeck".into() };
        match server.command().arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status() {
            Ok(_) => Ok(server),
            Err(_) => Err("tabs and panes need tmux, which is not installed; use --bg".into()),
        }
    }

    /// What the operator types to see the tabs; nothing if they are there already.
    #[must_use]
    pub fn attach(&self) -> Option<String> {
        match self.flag {
            Flag::Path => None,
            Flag::Name => Some(format!("tmux -L {} attach", self.socket)),
        }
    }

    /// Opens a place for a node. It does not take the operator's attention from where it is.
    ///
    /// # Errors
    /// tmux refuses.
    pub fn open(&self, name: &str, shape: Shape, dir: &Path) -> Result<Pane, String> {
        let dir = dir.to_string_lossy();
        let rest = ["-d", "-P", "-F", "#{pane_id}", "-c", &*dir];
        let started = self.session.is_empty() || self.run(&["has-session", "-t", &self.session]).is_ok();
        let target = format!("{}:", self.session);
        let at: &[&str] = if self.session.is_empty() { &[] } else { &["-t", &target] };
        let verb: Vec<&str> = match shape {
            _ if !started => ["new-session", "-s", &self.session, "-n", name, "-x", "200", "-y", "50"].to_vec(),
            Shape::Tab => [&["new-window", "-n", name][..], at].concat(),
            Shape::Split => [&["split-window", "-h"][..], at].concat(),
        };
        let id = self.run(&[&verb[..], &rest[..], &["--", PLACEHOLDER][..]].concat())?;
        let pane = Pane { server: self.clone(), id };
        self.run(&["set-option", "-p", "-t", &pane.id, "remain-on-exit", "on"])?;
        match shape {
            Shape::Tab => {}
            Shape::Split => {
                self.run(&["select-pane", "-t", &pane.id, "-T", name])?;
                self.run(&["select-layout", "-t", &pane.id, "tiled"])?;
            }
        }
        Ok(pane)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        let flag = match self.flag {
            Flag::Path => "-S",
            Flag::Name => "-L",
        };
        // A server of our own must not be taken for a nested one.
        command.args([flag, &self.socket]).env_remove("TMUX");
        command
    }

    fn run(&self, words: &[&str]) -> Result<String, String> {
        let output = self.command().args(words).stdin(Stdio::null()).output();
        let output = output.map_err(|e| format!("cannot run tmux: {e}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("tmux {}: {}", words.first().unwrap_or(&""), said.trim()))
    }
}

impl Pane {
    /// Whether it is still open, with or without a running program.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.says("#{pane_id}").is_some_and(|id| id == self.id)
    }

    /// Runs a command here, in place of whatever runs, and gives its pid.
    ///
    /// # Errors
    /// tmux refuses.
    pub fn start(&self, command: &[String], dir: &Path) -> Result<u32, String> {
        let dir = dir.to_string_lossy();
        let mut words = vec!["respawn-pane", "-k", "-t", &self.id, "-c", &*dir, "--"];
        words.extend(command.iter().map(String::as_str));
        // What the one before has said must not be taken for the words of this one.
        self.server.run(&["clear-history", "-t", &self.id])?;
        self.server.run(&words)?;
        let pid = self.server.run(&["display-message", "-p", "-t", &self.id, "#{pane_pid}"])?;
        pid.parse().map_err(|_| format!("tmux gave the pid {pid:?}"))
    }

    /// What a program that has ended said in it since its start, as far as the server has read it: what still stands in
    /// the terminal's buffer when the server sees the process end is lost, so a node says its reason in its log as well.
    #[must_use]
    pub fn last_words(&self) -> String {
        // The end of the process shows before the server has noticed it; until then it may still be reading.
        let deadline = Instant::now() + DEAD_WITHIN;
        while self.says("#{pane_dead}").is_some_and(|dead| dead == "0") && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        let text = self.server.run(&["capture-pane", "-p", "-J", "-S", "-", "-t", &self.id]).unwrap_or_default();
        // The server's own remark, which it puts below.
        text.lines().filter(|line| !line.starts_with("Pane is dead")).collect::<Vec<_>>().join("\n")
    }

    fn says(&self, format: &str) -> Option<String> {
        self.server.run(&["display-message", "-p", "-t", &self.id, format]).ok()
    }

    /// Closes it, and its tab with it. One that is closed already is as well.
    pub fn close(&self) {
        let _ = self.server.run(&["kill-pane", "-t", &self.id]);
    }

    /// The server it is on.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }
}

impl fmt::Display for Pane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = match self.server.flag {
            Flag::Path => "-S",
            Flag::Name => "-L",
        };
        write!(f, "{flag} {} {}", self.server.socket, self.id)
    }
}

impl FromStr for Pane {
    type Err = ();

    /// A socket path may hold spaces: it is what stands between the first and the last word.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (flag, rest) = text.trim().split_once(' ').ok_or(())?;
        let (socket, id) = rest.rsplit_once(' ').ok_or(())?;
        let (flag, session) = match flag {
            "-S" => (Flag::Path, ""),
            "-L" => (Flag::Name, "raftdeck"),
            _ => return Err(()),
        };
        let server = Server { flag, socket: socket.to_owned(), session: session.to_owned() };
        Ok(Pane { server, id: id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pane_is_recorded_and_found_again() {
        for text in ["-S /tmp/a b/default %3", "-L raftdeck-x %12"] {
            assert_eq!(text.parse::<Pane>().unwrap().to_string(), text);
        }
        for text in ["", "%3", "-L %3", "-X a %3"] {
            assert_eq!(text.parse::<Pane>(), Err(()), "{text:?}");
        }
    }
}
