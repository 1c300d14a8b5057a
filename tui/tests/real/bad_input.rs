//! Bad input against a real cluster: one clear line, the right exit code, and nothing lost.

use std::fs;

use crate::cluster::{Cluster, Said, node_program};

fn refused(said: &Said, code: i32, line: &str) {
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (code, "", format!("error: {line}\n").as_str()));
}

fn node(cluster: &Cluster, arguments: &[&str]) -> Said {
    let output = std::process::Command::new(node_program()).args(arguments).env("RUST_LOG", "off").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&*cluster.path("").to_string_lossy(), "DIR/");
    Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

#[test]
fn bad_input_is_one_line_and_nothing_is_lost() {
    let cluster = Cluster::start(1, "");
    assert_eq!(cluster.call(&["submit", "echo", "kept", "--wait"]).code, 0);
    let before = cluster.call(&["status", "--json"]).json();

    let line = "there is no handler \"nope\" in the cluster file; it has echo, fail, sleep";
    refused(&cluster.call(&["submit", "nope", "x"]), 1, line);
    let large = cluster.path("large");
    fs::write(&large, vec![b'x'; (1 << 20) + 1]).unwrap();
    let said = cluster.call(&["submit", "echo", "--file", large.to_str().unwrap()]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("1048577 bytes, the limit is 1048576"), "{said:?}");
    refused(&cluster.call(&["kill", "n9"]), 1, "no node \"n9\": the cluster has n1");
    refused(&cluster.call(&["job", "999"]), 1, "there is no job 999");

    let file = cluster.path("cluster.toml");
    let (file, data) = (file.to_str().unwrap(), cluster.path("other"));
    let n1 = &cluster.file.nodes[0];
    let said = node(&cluster, &["--cluster", file, "--node", "n1", "--data", data.to_str().unwrap()]);
    refused(&said, 1, &format!("api address {}: Address already in use (os error 98)", n1.api));
    let said = node(&cluster, &["--cluster", file, "--node", "n9", "--data", data.to_str().unwrap()]);
    refused(&said, 1, "DIR/cluster.toml: there is no node \"n9\"; it has n1");

    let text = fs::read_to_string(file).unwrap();
    let broken = cluster.path("broken.toml");
    fs::write(&broken, text.replace("peer = ", "pear = ")).unwrap();
    let said = node(&cluster, &["--cluster", broken.to_str().unwrap(), "--node", "n1", "--data", "x"]);
    refused(&said, 1, "DIR/broken.toml:8: unknown field `pear`, expected one of `id`, `name`, `api`, `peer`");

    // The log has grown by the sessions in which the nonsense was asked; nothing else changed.
    let after = cluster.call(&["status", "--json"]).json();
    for what in ["leader", "queues", "quorum", "term"] {
        assert_eq!(after[what], before[what], "something changed");
    }
    assert_eq!(cluster.call(&["down"]).code, 0);
    let said = cluster.call(&["status"]);
    refused(&said, 1, &format!("no node reachable: tried {}", n1.api));
    let said = cluster.call(&["submit", "echo", "x"]);
    assert_eq!((said.code, said.err.lines().count()), (1, 1), "{said:?}");
    assert!(said.err.starts_with("error: no node reachable"), "{said:?}");

    // The directory of n1 given to a node of another cluster.
    let other = cluster.path("other.toml");
    fs::write(&other, text.replace("\"test\"", "\"other\"")).unwrap();
    let data = cluster.path("n1");
    let said =
        node(&cluster, &["--cluster", other.to_str().unwrap(), "--node", "n1", "--data", data.to_str().unwrap()]);
    refused(
        &said,
        1,
        "DIR/n1: this data directory belongs to node n1 of cluster test, not to node n1 of cluster other",
    );

    cluster.up();
    let job = cluster.call(&["job", "1", "--json"]).json();
    assert_eq!((job["state"].as_str(), job["result"].as_str()), (Some("completed"), Some("kept")));

    // A node that was robbed of its memory does not vote again: it waits to be taken in, and here there is nobody else.
    assert_eq!(cluster.call(&["down"]).code, 0);
    fs::remove_dir_all(&data).unwrap();
    let said = cluster.call(&["up", "--bg"]);
    assert_eq!((said.code, said.err.lines().count()), (1, 1), "{said:?}");
    assert!(said.err.contains("no leader was elected"), "{said:?}");
}
