//! The console in a real terminal (one of tmux), on real nodes: what it shows, and that it leaves the terminal as it was.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::{Cluster, kill_9, wait_for};

const WITHIN: Duration = Duration::from_secs(30);

/// A terminal with a shell in it. Ends with this value.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// None where there is no tmux: CI says so.
    fn open(name: &str, size: (u16, u16)) -> Option<Terminal> {
        let terminal = Terminal { socket: format!("raftdeck-test-{name}-{}", std::process::id()) };
        let (columns, rows) = (size.0.to_string(), size.1.to_string());
        let shell = [
            "-f",
            "/dev/null",
            "new",
            "-d",
            "-x",
            &columns,
            "-y",
            &rows,
            "env",
            "PS1=ready> ",
            "bash",
            "--norc",
            "--noprofile",
        ];
        let opened = Command::new("tmux").args(["-L", &terminal.socket]).args(shell).env_remove("TMUX").output();
        if opened.is_err() {
            eprintln!("no tmux: the console is not looked at");
            return None;
        }
        terminal.until("the shell", |screen| screen.contains("ready>"));
        Some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        Command::new("tmux").args(["-L", &self.socket]).args(arguments).env_remove("TMUX").output().unwrap()
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.tmux(&["capture-pane", "-p"]).stdout).into_owned()
    }

    #[track_caller]
    fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if wanted(&screen) {
                return screen;
            }
            assert!(start.elapsed() < WITHIN, "waited {WITHIN:?} for {what}:\n{screen}");
        }
    }

    fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Runs a line of shell.
    fn run(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.keys(&["Enter"]);
    }

    /// The settings of the terminal, by the shell.
    fn settings(&self, folder: &Path) -> String {
        let file = folder.join("stty");
        let _ = fs::remove_file(&file);
        self.run(&format!("stty -g > {0}.new && mv {0}.new {0}", file.display()));
        let start = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(&file) {
                return text;
            }
            assert!(start.elapsed() < WITHIN, "the shell does not answer:\n{}", self.screen());
        }
    }

    /// The process that the shell runs.
    fn child(&self) -> Pid {
        let shell = String::from_utf8(self.tmux(&["display-message", "-p", "#{pane_pid}"]).stdout).unwrap();
        let shell = shell.trim();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        Pid::from_raw(children.split_whitespace().next().expect("it runs").parse().unwrap()).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

fn console(cluster: &Cluster, more: &str) -> String {
    let program = env!("CARGO_BIN_EXE_raftdeck");
    format!("clear; XDG_CONFIG_HOME=/nowhere LC_ALL=C.UTF-8 {program} --dir {} {more}", cluster.path("").display())
}

/// Quit, told to end, stopped and gone on: each time the terminal is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_out_gives_the_terminal_back() {
    let cluster = Cluster::start(1, "");
    let Some(terminal) = Terminal::open("ways", (100, 30)) else { return };
    let folder = cluster.path("");
    let before = terminal.settings(&folder);
    for way in ["q", "TERM", "HUP", "INT", "ctrl-c", "ctrl-z"] {
        terminal.run(&console(&cluster, ""));
        terminal.until("the console", |screen| screen.contains("LIVE"));
        match way {
            "TERM" => kill_process(terminal.child(), Signal::TERM).unwrap(),
            "HUP" => kill_process(terminal.child(), Signal::HUP).unwrap(),
            "INT" => kill_process(terminal.child(), Signal::INT).unwrap(),
            "ctrl-c" => terminal.keys(&["C-c"]),
            "ctrl-z" => {
                terminal.keys(&["C-z"]);
                terminal.until("the shell", |screen| screen.contains("Stopped") && !screen.contains("LIVE"));
                assert_eq!(terminal.settings(&folder), before, "stopped");
                terminal.run("clear; fg");
                terminal.until("the console again", |screen| screen.contains("LIVE"));
                terminal.keys(&["q"]);
            }
            key => terminal.keys(&[key]),
        }
        terminal.until("the shell", |screen| screen.contains("ready>") && !screen.contains("LIVE"));
        assert_eq!(terminal.settings(&folder), before, "after {way}");
        let modes = terminal.tmux(&["display-message", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag}"]);
        assert_eq!(
            String::from_utf8_lossy(&modes.stdout).trim(),
            "0 1 0",
            "after {way}: alternate screen, cursor, mouse"
        );
    }
}

/// A leader is killed under the console, its votes are shown, a node joins and gets its row; all of it is recorded, and the
/// recording shows it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_shows_what_happens_and_a_recording_shows_it_again() {
    let cluster = Cluster::start(3, "");
    let Some(terminal) = Terminal::open("story", (120, 40)) else { return };
    let file = cluster.path("story.jsonl");
    let mut recorder = cluster.command(&["record", file.to_str().unwrap()]).spawn().unwrap();
    terminal.run(&console(&cluster, ""));
    terminal.until("three live nodes", |screen| screen.contains("LIVE") && screen.matches(" live ").count() == 3);

    let leader = cluster.wait_for_leader().await;
    kill_9([leader.pid]);
    terminal.until("the loss", |screen| screen.contains(&format!("console: lost {}", leader.name)));
    let heir = cluster.wait_for_leader().await;
    terminal.until("the next leader", |screen| screen.contains(&format!("leader {} T{}", heir.name, heir.term)));
    terminal.keys(&["3"]);
    let vote = format!("votes for {}", heir.name);
    let title = format!("Votes for T{}", heir.term);
    let election = terminal.until("the votes", |screen| screen.contains(&title) && screen.contains(&vote));
    terminal.keys(&["7"]);
    terminal.until("the incident", |screen| screen.contains(&format!("{} lost", leader.name)));

    cluster.up();
    let said = cluster.call(&["add", "n4"]);
    assert_eq!(said.code, 0, "{said:?}");
    terminal.keys(&["1"]);
    terminal.until("the node that joined", |screen| screen.matches(" live ").count() == 4 && screen.contains("n4"));
    terminal.keys(&["{"]);
    terminal.until("the past", |screen| screen.contains("PAST"));
    terminal.keys(&["L"]);
    terminal.until("the present", |screen| screen.contains("LIVE") && !screen.contains("PAST"));
    terminal.keys(&["q"]);
    terminal.until("the shell", |screen| screen.contains("ready>") && !screen.contains("LIVE"));

    // The recorder has connections of its own: it hears of the new node when it does.
    let first_word = "\"node\":3,\"snapshot\"";
    wait_for("n4 in the recording", WITHIN, || async {
        fs::read_to_string(&file).ok()?.contains(first_word).then_some(())
    })
    .await;
    kill_process(Pid::from_child(&recorder), Signal::INT).unwrap();
    assert!(recorder.wait().unwrap().success());
    terminal.run(&console(&cluster, &format!("replay {}", file.display())));
    terminal.until("the replay", |screen| screen.contains("REPLAY"));
    terminal.keys(&["L"]);
    terminal.until("its end", |screen| screen.lines().any(|row| row.contains(" n4 ") && row.contains(" live ")));
    terminal.keys(&["3"]);
    // The live screen was looked at while votes still came in, so the recording may have more of them, never fewer.
    let of_line = |line: &str| {
        let before = line.split_at(line.find(&vote)?).0;
        let [voter, at] = before.split_whitespace().rev().take(2).collect::<Vec<_>>()[..] else { return None };
        Some(format!("{at} {voter} {vote}"))
    };
    let cast: Vec<String> = election.lines().filter_map(of_line).collect();
    terminal.until("the same votes", |screen| cast.iter().all(|vote| screen.contains(vote.as_str())));
    terminal.keys(&["q"]);
}

/// A scenario in the console stands still until it is told to go on, goes back, and tells how it ended; in a pipe it is a
/// transcript.
#[test]
fn a_simulation_goes_as_far_as_it_is_told_to() {
    let Some(terminal) = Terminal::open("sim", (120, 40)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let before = terminal.settings(folder.path());
    let program = env!("CARGO_BIN_EXE_raftdeck");
    let scenario = "../node/sim/scenarios/leader_cut_off_acknowledges_nothing.scn";
    let scenario = format!("{}/{scenario}", env!("CARGO_MANIFEST_DIR"));
    terminal.run(&format!("clear; XDG_CONFIG_HOME=/nowhere LC_ALL=C.UTF-8 {program} sim {scenario} --seed 7"));
    terminal.until("its beginning", |screen| screen.contains("SIM seed 7 0.000s") && screen.contains("NO LEADER"));
    terminal.keys(&[":", "until leader", "Enter"]);
    terminal.until("a leader", |screen| screen.contains("leader n1 T1") && screen.contains("SIM seed 7 0.002s"));
    terminal.keys(&["{"]);
    terminal.until("the time before it", |screen| screen.contains("NO LEADER") && screen.contains("SIM seed 7 0.0"));
    terminal.keys(&["L"]);
    terminal.until("as far as it is", |screen| screen.contains("leader n1 T1"));
    terminal.keys(&["p", "+"]);
    terminal.until("its end, played", |screen| {
        screen.contains("the scenario is over") && screen.contains("expect equal: so it is")
    });
    terminal.keys(&["K"]);
    terminal.until("a refusal", |screen| screen.contains("kill: a simulation takes its faults from its scenario"));
    terminal.keys(&["q"]);
    terminal.until("the shell", |screen| screen.contains("ready>") && !screen.contains("SIM seed"));
    assert_eq!(terminal.settings(folder.path()), before);
    terminal.run(&format!("clear; {program} sim {scenario} --seed 7 | grep expect"));
    terminal.until("the transcript", |screen| screen.contains("expect equal") && !screen.contains("SIM seed"));
}
