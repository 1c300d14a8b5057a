//! `up` and its family with programs that are not a node: what is said when one does not come up.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

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
    if std::process::Command::new("tmux").arg("-V").output().is_err() {
        assert_eq!(up().2, "error: tabs and panes need tmux, which is not installed; use --bg\n");
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
    let pane = || fs::read_to_string(data.join("pane")).unwrap();
    assert_eq!(up(), (1, String::new(), words.clone()));
    let first = pane();
    assert_eq!(up(), (1, String::new(), words));
    assert_eq!(pane(), first);
    // Neither the words of the run before nor tmux's own remark are those of a program that says nothing.
    program(dir.path(), "exit 1");
    let none = format!("error: n1: ended at its start without a word (log: {})\n", log.display());
    assert_eq!(up(), (1, String::new(), none));
    let socket = first.split(' ').nth(1).unwrap();
    let panes = || std::process::Command::new("tmux").args(["-L", socket, "list-panes", "-a"]).output().unwrap();
    assert!(panes().status.success());
    assert_eq!(call(dir.path(), &node, &["down"]).1, "n1 was not running\n");
    // Gone, or about to go: a server without a pane ends.
    assert!(!data.join("pane").exists() && panes().stdout.is_empty());
}
