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

impl Terminal {
    /// Opens the list of keys and closes it: the console answers.
    #[track_caller]
    fn answers(&self) {
        self.keys(&["?"]);
        self.until("the list of keys", |screen| screen.contains("Keys (type to find"));
        self.keys(&["Escape"]);
        self.until("its end", |screen| !screen.contains("Keys (type to find"));
    }

    /// Waits as [`Terminal::until`] does, for a console that stays on the screen all the while.
    #[track_caller]
    fn sees(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        self.until(what, |screen| {
            assert!(screen.contains("Nodes") && screen.contains("quit"), "blank or gone:\n{screen}");
            wanted(screen)
        });
    }

    fn resize(&self, (columns, rows): (u16, u16)) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }
}

/// Quit, told to end, broken, stopped and gone on, of another size: each time the terminal is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_out_gives_the_terminal_back() {
    let cluster = Cluster::start(1, "");
    let Some(terminal) = Terminal::open("ways", (100, 30)) else { return };
    let folder = cluster.path("");
    let before = terminal.settings(&folder);
    for way in ["q", "TERM", "HUP", "INT", "ctrl-c", "ctrl-z", "panic", "panic beside", "resize"] {
        let panics = if way == "panic" { "here" } else { "beside" };
        terminal.run(&format!("export RAFTDECK_TEST_PANIC={panics}; {}", console(&cluster, "")));
        terminal.until("the console", |screen| screen.contains("LIVE"));
        match way {
            "panic" | "panic beside" => {
                terminal.keys(&["F12"]);
                terminal
                    .until("what went wrong", |screen| screen.contains("panicked at") && screen.contains("asked to"));
            }
            // Too fast for each to be drawn, the last one smaller than anything has room in.
            "resize" => {
                for size in [(200, 60), (40, 10), (61, 17), (2, 2), (120, 40), (30, 50), (5, 3)] {
                    terminal.resize(size);
                    terminal.keys(&["z", "Tab"]);
                }
                terminal.resize((100, 30));
                terminal.until("the console in the size before", |screen| screen.contains("quit"));
                terminal.answers();
                terminal.keys(&["q"]);
            }
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
    // A screen may be caught between two views, with the rows of the one before below: those are not of this list.
    let list = |screen: &str| screen.split_once("as they were cast").map_or(String::new(), |(_, list)| list.to_owned());
    let is_drawn =
        |screen: &str| screen.contains(&title) && list(screen).lines().nth(1).is_some_and(|row| row.contains(&vote));
    let election = terminal.until("the votes", is_drawn);
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
        Some(format!("{} {voter} {vote}", at.trim_start_matches('│')))
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

/// Nodes that stand still, are cut off, die, and come back elsewhere: the console shows each, and answers all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_the_nodes_the_console_stays_and_answers() {
    let mut cluster = Cluster::start(3, "");
    let Some(terminal) = Terminal::open("nodes", (120, 40)) else { return };
    terminal.run(&console(&cluster, ""));
    let live = |count: usize| move |screen: &str| screen.matches(" live ").count() == count;
    terminal.until("three live nodes", live(3));

    let leader = cluster.wait_for_leader().await;
    let one = cluster.statuses().await.into_iter().find(|s| s.node != leader.node).unwrap();
    let pid = Pid::from_raw(i32::try_from(one.pid).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    terminal.sees("that one stands still", live(2));
    terminal.answers();
    kill_process(pid, Signal::CONT).unwrap();
    terminal.sees("that it goes on", live(3));

    let said = cluster.call(&["cut", &one.name, "--for", "60s"]);
    assert_eq!(said.code, 0, "{said:?}");
    terminal.sees("the cut", |screen| screen.contains("2 links cut"));
    terminal.answers();
    assert_eq!(cluster.call(&["heal"]).code, 0);
    terminal.sees("that it is healed", |screen| !screen.contains("links cut"));

    kill_9([one.pid]);
    terminal.sees("that it is lost", live(2));
    // It comes back at another address, of which the console hears by a leader whose cluster file has it.
    let (api, _) = raftdeck::launch::ports::free(1).unwrap()[0];
    let old = cluster.file.node(&one.name).unwrap().api.to_string();
    let text = fs::read_to_string(cluster.path("cluster.toml")).unwrap();
    assert!(text.contains(&old));
    fs::write(cluster.path("cluster.toml"), text.replace(&old, &api.to_string())).unwrap();
    cluster.reload();
    cluster.up();
    terminal.answers();
    for other in cluster.file.nodes.iter().filter(|n| n.name != one.name) {
        let said = cluster.call(&["restart", &other.name]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    terminal.sees("it, elsewhere", live(3));
    terminal.answers();

    let pids: Vec<u32> = cluster.statuses().await.iter().map(|s| s.pid).collect();
    kill_9(pids);
    terminal.sees("that nobody is left", |screen| screen.contains("no node answers"));
    terminal.answers();
    cluster.up();
    terminal.sees("that all are back", live(3));
    terminal.keys(&["q"]);
    terminal.until("the shell", |screen| screen.contains("ready>") && !screen.contains("LIVE"));
}
