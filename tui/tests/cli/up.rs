//! `up` and its family with programs that are not a node: what is said when one does not come up.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use raftdeck::launch::{folder::Folder, process};

use crate::{raftdeck, said};

/// A program in place of the node.
fn program(dir: &Path, script: &str) -> String {
    let path = dir.join("node");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn call(dir: &Path, node: &str, arguments: &[&str]) -> (i32, String, String) {
    said(&raftdeck(arguments).current_dir(dir).env("RAFTDECK_NODE", node).output().unwrap())
}

#[test]
fn a_node_that_ends_at_its_start_is_told_in_its_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let node = program(dir.path(), "echo starting >&2; echo error: port 7101 is in use >&2; echo bye >&2; exit 1");
    let (code, stdout, stderr) = call(dir.path(), &node, &["up", "--nodes", "1", "--json"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (1, "", "error: n1: port 7101 is in use\n"));
    let (code, stdout, _) = call(dir.path(), &node, &["logs", "-n", "2"]);
    assert_eq!((code, stdout.as_str()), (0, "n1 | error: port 7101 is in use\nn1 | bye\n"));
    let (code, stdout, _) = call(dir.path(), &node, &["down", "--json"]);
    assert_eq!(
        (code, stdout.as_str()),
        (0, "{\"nodes\":[{\"id\":\"n1\",\"pid\":null,\"ended\":\"was not running\"}]}\n")
    );
}

#[test]
fn a_second_up_that_contradicts_the_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = program(dir.path(), "echo error: no >&2; exit 1");
    let handlers = dir.path().join("handlers.toml");
    fs::write(&handlers, "[handlers.count]\ncommand = [\"wc\", \"-w\"]\n").unwrap();
    assert_eq!(call(dir.path(), &node, &["up", "--nodes", "3", "--dir", "d"]).0, 1);
    let made = fs::read_to_string(dir.path().join("d/cluster.toml")).unwrap();
    assert!(made.starts_with("cluster_id = \"raftdeck-"), "{made}");
    for (arguments, line) in [
        (&["--nodes", "5"][..], "d/cluster.toml has 3 nodes, --nodes 5 contradicts it"),
        (&["--enable-faults"], "d/cluster.toml has enable_faults = false, --enable-faults contradicts it"),
        (
            &["--handlers", handlers.to_str().unwrap()],
            &format!("d/cluster.toml has other handlers, --handlers {} contradicts it", handlers.display()),
        ),
    ] {
        let (code, _, stderr) = call(dir.path(), &node, &[&["up", "--dir", "d"], arguments].concat());
        assert_eq!((code, stderr), (1, format!("error: {line}\n")));
    }
    assert_eq!(fs::read_to_string(dir.path().join("d/cluster.toml")).unwrap(), made);
}

#[test]
fn a_stubborn_program_is_killed_by_down_and_an_unknown_node_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let node = program(dir.path(), "exec sleep 600");
    let mut up = raftdeck(&["up", "--nodes", "1"]).current_dir(dir.path()).env("RAFTDECK_NODE", &node).spawn().unwrap();
    // The program is there as soon as its pid is recorded; it never answers, and `up` need not be waited for.
    let pid = dir.path().join(".raftdeck/n1/pid");
    while !fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')) {
        std::thread::yield_now();
    }
    up.kill().unwrap();
    up.wait().unwrap();
    let (code, _, stderr) = call(dir.path(), &node, &["restart", "n2"]);
    assert_eq!((code, stderr.as_str()), (1, "error: no node \"n2\": the cluster has n1\n"));
    let (code, stdout, _) = call(dir.path(), &node, &["kill", "n1", "--hard", "--json"]);
    assert!(code == 0 && stdout.starts_with("{\"node\":\"n1\",\"killed\":true,\"pid\":"), "{stdout}");
    let (code, _, stderr) = call(dir.path(), &node, &["kill", "n1", "--hard"]);
    assert_eq!((code, stderr.as_str()), (1, "error: n1 does not run\n"));
}

/// With a tmux of our own, for there is none around. Without tmux installed there is nothing to see but the refusal.
#[test]
fn a_node_in_a_tab_is_told_by_its_last_words_and_down_closes_it() {
    let dir = tempfile::tempdir().unwrap();
    // As a node does: in the tab, and in the log, for tmux may lose what is said just before an end.
    let node = program(dir.path(), "for log; do :; done; echo \"error: in a tab: $*\" | tee -a \"$log\"; exit 1");
    let up = || call(dir.path(), &node, &["up", "--nodes", "1", "--tabs"]);
    if Command::new("tmux").arg("-V").output().is_err() {
        let (code, stdout, _) = up();
        let line = "no terminal takes tabs, and tmux is not installed: the nodes run in the background\n";
        assert_eq!((code, stdout.as_str()), (1, line));
        return;
    }
    // More than once: the later starts are in the same pane.
    let home = dir.path().canonicalize().unwrap().join(".raftdeck");
    let (data, log) = (home.join("n1"), home.join("n1/node.log"));
    let words = format!(
        "error: n1: in a tab: --cluster {} --node n1 --data {} --log-file {}\n",
        home.join("cluster.toml").display(),
        data.display(),
        log.display()
    );
    let tab = || fs::read_to_string(data.join("tab")).unwrap();
    assert_eq!(up(), (1, String::new(), words.clone()));
    let first = tab();
    assert_eq!(up(), (1, String::new(), words));
    assert_eq!(tab(), first);
    // Neither the words of the run before nor tmux's own remark are those of a program that says nothing.
    program(dir.path(), "exit 1");
    let none = format!("error: n1: ended at its start without a word (log: {})\n", log.display());
    assert_eq!(up(), (1, String::new(), none));
    let socket = first.split(' ').nth(2).unwrap();
    let panes = || Command::new("tmux").args(["-L", socket, "list-panes", "-a"]).output().unwrap();
    assert!(panes().status.success());
    assert_eq!(call(dir.path(), &node, &["down"]).1, "n1 was not running\n");
    // Gone, or about to go: a server without a pane ends.
    assert!(!data.join("tab").exists() && panes().stdout.is_empty());
}

/// Looks again until there is something.
fn wait_for<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(Instant::now() < deadline, "never came: {what}"),
        }
        std::thread::yield_now();
    }
}

/// Begins a call that starts n1, and gives the new pid line once that is there. The program never answers, so the call need
/// not be waited for.
fn started(mut call: Command, home: &Path, before: &str) -> String {
    let mut call = call.spawn().unwrap();
    let pid = wait_for("a pid", || {
        let pid = fs::read_to_string(home.join("pid")).ok()?;
        (pid.ends_with('\n') && pid != before).then_some(pid)
    });
    call.kill().unwrap();
    call.wait().unwrap();
    pid
}

/// A tmux server, which ends with this value.
struct Server(String);

impl Server {
    fn run(&self, words: &[&str]) -> std::io::Result<Output> {
        Command::new("tmux").args(["-L", &self.0]).args(words).env_remove("TMUX").output()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.run(&["kill-server"]);
    }
}

/// A tmux around, as the operator's is.
#[test]
fn inside_tmux_a_node_restarts_in_its_tab_which_is_shown_and_outlives_it() {
    let tmux = Server(format!("raftdeck-test-tabs-{}", std::process::id()));
    let Ok(made) = tmux.run(&["-f", "/dev/null", "new", "-d", "-n", "mine", "-P", "-F", "#{socket_path}", "cat"])
    else {
        eprintln!("no tmux: its tabs are not looked at");
        return;
    };
    let variable = format!("{},1,0", String::from_utf8(made.stdout).unwrap().trim());
    let windows = |format: &str| String::from_utf8(tmux.run(&["list-windows", "-F", format]).unwrap().stdout).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let node = program(dir.path(), "exec sleep 600");
    let call = |arguments: &[&str]| {
        let mut call = raftdeck(arguments);
        call.current_dir(dir.path()).env("RAFTDECK_NODE", &node).env("TMUX", &variable);
        call
    };
    let home = dir.path().join(".raftdeck/n1");
    let first = started(call(&["up", "--nodes", "1"]), &home, "");
    assert_eq!(windows("#{window_name} #{window_active}"), "mine 1\nn1 0\n", "it does not come to the front by itself");
    let tab = fs::read_to_string(home.join("tab")).unwrap();
    let second = started(call(&["restart", "n1"]), &home, &first);
    assert_eq!(fs::read_to_string(home.join("tab")).unwrap(), tab, "in its place");
    let (code, _, stderr) = said(&call(&["kill", "n1", "--hard"]).output().unwrap());
    assert_eq!((code, stderr.as_str()), (0, ""), "{second}");
    // The server notices it soon, and keeps the pane. Of which signal it died, tmux 3.3 often does not know: it sees the end of
    // the terminal before that of the process.
    let dead = || windows("#{window_name} #{pane_dead}");
    wait_for("a dead pane", || (dead() == "mine 0\nn1 1\n").then_some(()));
    let folder = Folder::open(&dir.path().join(".raftdeck")).unwrap();
    let n1 = folder.node("n1").unwrap();
    assert_eq!(folder.show_tab(n1), Ok("it is in tmux".into()));
    assert_eq!(windows("#{window_name} #{window_active}"), "mine 0\nn1 1\n");
    let third = started(call(&["restart", "n1"]), &home, &second);
    let pid = third.split(' ').next().unwrap();
    assert_eq!(folder.close_ended_tab(n1), Err(format!("n1 runs there, pid {pid}: kill it first")));
    assert_eq!(said(&call(&["down"]).output().unwrap()).1, format!("n1 stopped (pid {pid})\n"));
    assert_eq!(windows("#{window_name}"), "mine\n", "the operator's own stays");
    assert_eq!(folder.show_tab(n1), Err("n1 runs in no tab".into()));
}

/// Programs that stand in for terminals that are not here: each writes down what it was told, opens a "tab" by running the
/// command, and answers as the real one does.
fn fake_terminals(dir: &Path) -> std::path::PathBuf {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let fake = |name: &str, script: &str| {
        let path = bin.join(name);
        let log = dir.join("said");
        let head = format!("#!/bin/sh\nlog={}\necho \"{name} $*\" >> $log\n", log.display());
        // The command is what stands behind the options; it is left to itself, as in a tab.
        fs::write(&path, format!("{head}{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let run = "(exec \"$@\" >/dev/null 2>&1 </dev/null &)";
    fake(
        "zellij",
        &format!(
            "echo \"in $ZELLIJ_SESSION_NAME\" >> $log; case $2 in\n\
             list-tabs) echo 'TAB_ID POSITION NAME'; [ -e $log.open ] && echo '7 1 n1'; exit 0;;\n\
             new-tab) while [ $1 != -- ]; do shift; done; shift; {run}; touch $log.open; echo 7;;\n\
             close-tab-by-id) rm $log.open;; esac"
        ),
    );
    fake(
        "wezterm",
        &format!(
            "case $2 in\n\
             list) echo 'WINID TABID PANEID WORKSPACE'; [ -e $log.open ] && echo '0 4 7 default'; exit 0;;\n\
             spawn) while [ $1 != -- ]; do shift; done; shift; {run}; touch $log.open; echo 7;;\n\
             kill-pane) rm $log.open;; esac"
        ),
    );
    fake(
        "kitten",
        &format!(
            "case $2 in\n\
             ls) [ $# = 2 ] || [ -e $log.open ] || {{ echo 'No matching windows' >&2; exit 1; }};;\n\
             launch) while [ $1 != --hold ]; do shift; done; shift; {run}; touch $log.open; echo 7;;\n\
             close-window) rm $log.open;; esac"
        ),
    );
    bin
}

#[test]
fn a_node_runs_in_a_tab_of_each_terminal_and_leaves_it_only_when_it_has_ended() {
    for (name, variables, words) in [
        (
            "zellij",
            &[("ZELLIJ", "0"), ("ZELLIJ_SESSION_NAME", "mine")][..],
            ["zellij action list-tabs", "zellij action new-tab --name n1 --cwd ", "zellij action close-tab-by-id 7"],
        ),
        (
            "wezterm",
            &[("WEZTERM_PANE", "0")],
            ["wezterm cli list", "wezterm cli set-tab-title --pane-id 7 n1", "wezterm cli kill-pane --pane-id 7"],
        ),
        (
            "kitty",
            &[("KITTY_WINDOW_ID", "1"), ("KITTY_LISTEN_ON", "unix:/tmp/k")],
            ["kitten @ ls", "kitten @ launch --type=tab --tab-title n1 --cwd ", "kitten @ close-window --match id:7"],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let bin = fake_terminals(dir.path());
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let node = program(dir.path(), "exec sleep 600");
        let call = |arguments: &[&str]| {
            let mut call = raftdeck(arguments);
            call.current_dir(dir.path()).env("RAFTDECK_NODE", &node).env("PATH", &path).envs(variables.iter().copied());
            call
        };
        let home = dir.path().join(".raftdeck/n1");
        let first = started(call(&["up", "--nodes", "1", "--tabs"]), &home, "");
        let launched = fs::read_to_string(home.join("launched")).unwrap();
        assert_eq!(first.split(' ').next(), Some(launched.trim()), "{name}");
        let own = launched.trim().parse().unwrap();
        wait_for("the program", || (process::program(own)? == "sleep").then_some(()));
        let record = fs::read_to_string(home.join("tab")).unwrap();
        assert!(record.starts_with(&format!("{name} tab ")) && record.ends_with(" 7\n"), "{record}");
        // A restart ends the node, then its tab, and opens another.
        let second = started(call(&["restart", "n1"]), &home, &first);
        assert_ne!(first, second, "{name}");
        let (code, stdout, stderr) = said(&call(&["down"]).output().unwrap());
        assert_eq!((code, stderr.as_str()), (0, ""), "{name}: {stdout}");
        assert!(stdout.starts_with("n1 stopped (pid "), "{name}: {stdout}");
        let told = fs::read_to_string(dir.path().join("said")).unwrap();
        for words in words {
            assert!(told.contains(words), "{name}: {words} is not in\n{told}");
        }
        let closed = told.lines().filter(|line| line.starts_with(words[2])).count();
        assert_eq!(closed, 2, "{name}: closed by the restart and by down\n{told}");
        assert!(!dir.path().join("said.open").exists() && !home.join("tab").exists(), "{name}");
        if name == "zellij" {
            assert!(told.contains("in mine\n"), "it is told which session: {told}");
        }
    }
}

#[test]
fn a_dry_run_says_what_would_be_run_and_runs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bin = fake_terminals(dir.path());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let node = program(dir.path(), "exit 1");
    let call = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut call = raftdeck(&[&["up", "--nodes", "2", "--dry-run"], arguments].concat());
        call.current_dir(dir.path()).env("RAFTDECK_NODE", &node).env("PATH", &path).envs(variables.iter().copied());
        said(&call.output().unwrap())
    };
    let folder = dir.path().join(".raftdeck");
    let (code, stdout, stderr) = call(&["--bg"], &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let line = |n: u8| {
        let (file, data) = (folder.join("cluster.toml"), folder.join(format!("n{n}")));
        format!("{node} --cluster {} --node n{n} --data {}\n", file.display(), data.display())
    };
    assert_eq!(stdout, line(1) + &line(2));
    // The variable of a tmux that is gone is left over; the next that answers is taken.
    let left_over = [("TMUX", "/nonexistent/socket,1,0"), ("KITTY_WINDOW_ID", "1")];
    let (code, stdout, _) = call(&["--tabs"], &left_over);
    let mut lines = stdout.lines();
    let first = lines.next().unwrap();
    assert!(code == 0 && first.starts_with("TMUX is set, but tmux cannot be used: "), "{stdout}");
    let opens = lines.filter(|line| line.starts_with("kitten @ launch --type=tab --tab-title n")).count();
    assert_eq!(opens, 2, "{stdout}");
    let (code, _, stderr) = call(&["--terminal", "screen"], &[]);
    let known = "error: \"screen\" is no terminal: tmux, zellij, wezterm, kitty, own-tmux, background\n";
    assert_eq!((code, stderr.as_str()), (1, known));
    let (code, stdout, _) = call(&["--terminal", "wezterm", "--json"], &[]);
    assert!(code == 0 && stdout.contains("[\"wezterm\",\"cli\",\"spawn\",\"--cwd\","), "{stdout}");
    assert!(!folder.exists(), "nothing was made");
    let told = fs::read_to_string(dir.path().join("said")).unwrap();
    assert!(told.lines().all(|line| ["kitten @ ls", "wezterm cli list"].contains(&line)), "only asked: {told}");
}
