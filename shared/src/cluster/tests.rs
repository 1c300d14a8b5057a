//! What a cluster file may say, and how a bad one is refused.

use super::*;

const GOOD: &str = r#"
cluster_id = "demo"

[[nodes]]
id = 1
api = "127.0.0.1:7101"
peer = "127.0.0.1:7201"

[[nodes]]
id = 2
name = "two"
api = "127.0.0.1:7102"
peer = "127.0.0.1:7202"

[handlers.count]
command = ["wc", "-w"]
"#;

fn load(text: &str) -> Result<ClusterFile, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cluster.toml");
    fs::write(&path, text).unwrap();
    ClusterFile::load(&path).map_err(|e| e.to_string().replace(&*dir.path().to_string_lossy(), "DIR"))
}

#[test]
fn a_good_file_is_read_and_written_back_the_same() {
    let file = load(GOOD).unwrap();
    assert_eq!(file.nodes[0].name, "n1");
    assert_eq!(file.node("two").unwrap().id, NodeId(2));
    assert_eq!(file.node("2").unwrap().name, "two");
    assert!(file.knows_handler("count") && file.knows_handler("echo") && !file.knows_handler("nope"));
    assert_eq!(load(&file.to_toml()).unwrap(), file);
    let later = load(&GOOD.replace("id = 2", "id = 2\njoins = true")).unwrap();
    assert_eq!(later.founders().map(|n| n.id).collect::<Vec<_>>(), [NodeId(1)]);
    assert_eq!(load(&later.to_toml()).unwrap(), later);
}

#[test]
fn an_address_is_a_host_and_a_port() {
    for good in ["127.0.0.1:1", "[::1]:2", "a-host.example:65535"] {
        assert_eq!(check_address(good), Ok(()));
    }
    for bad in ["", "h", "h:", ":1", "h:65536", "http://h:1", "h:1/x", "h h:1"] {
        assert_eq!(check_address(bad), Err(format!("{bad:?} is not HOST:PORT")));
    }
}

#[test]
fn each_error_names_the_file_and_the_line() {
    for (from, to, error) in [
        ("id = 2", "id = 1", "DIR/cluster.toml:10: node id 1 is used twice"),
        ("7202", "7101", "DIR/cluster.toml:13: address 127.0.0.1:7101 is used twice"),
        (
            "127.0.0.1:7102",
            "10.1.1.1:1",
            "DIR/cluster.toml:12: address 10.1.1.1:1 is not loopback; allow_remote = true permits it",
        ),
        (
            "name = \"two\"",
            "nmae = \"two\"",
            "DIR/cluster.toml:11: unknown field `nmae`, expected one of `id`, `name`, `api`, `peer`, `joins`",
        ),
        ("name = \"two\"", "joins = \"yes\"", "DIR/cluster.toml:11: invalid type: string \"yes\", expected a boolean"),
        ("127.0.0.1:7102", "127.0.0.1:x", "DIR/cluster.toml:12: invalid socket address syntax"),
        ("handlers.count", "handlers.echo", "DIR/cluster.toml:15: handler \"echo\" is built in and cannot be replaced"),
        (
            "command = [\"wc\", \"-w\"]",
            "",
            "DIR/cluster.toml:15: a handler needs command = [\"PROGRAM\", \"ARG\", ..] or external = true",
        ),
        (
            "[handlers.count]",
            "[log]\nkeep_entries = 0\n[handlers.count]",
            "DIR/cluster.toml:16: keep_entries = 0: a follower that lags by one entry would need all the tables",
        ),
        (
            "[handlers.count]",
            "[log]\nkeep_bytes = 9\n[handlers.count]",
            "DIR/cluster.toml:16: keep_bytes 9: 1024 or more",
        ),
    ] {
        assert_eq!(load(&GOOD.replace(from, to)).unwrap_err(), error);
    }
    assert!(load("cluster_id = \"x\"\nnodes = [\n").unwrap_err().starts_with("DIR/cluster.toml:2: "));
}
