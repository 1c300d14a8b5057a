//! Which cluster is meant, and which of its nodes.
//!
//! The first that is given wins: `--cluster`, `--connect`, `--dir`, `RAFTDECK_CLUSTER`, `RAFTDECK_CONNECT`, `./.raftdeck`.
//! What stands on the command line is always before what stands in the environment.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use raftdeck_shared::{
    client::Client,
    cluster::{ClusterFile, NodeEntry},
    wire::MemberAddress,
};

use super::{
    args::{Place, address},
    failure::{self, Failure},
};
use crate::{
    launch::folder::{CLUSTER_FILE, Folder},
    plain::plain,
};

/// How long a call to the cluster may take, elections included.
pub const CALL_WITHIN: Duration = Duration::from_secs(10);

/// The folder of a cluster on this machine, unless another one is named.
pub const DEFAULT_DIR: &str = ".raftdeck";

/// A cluster to talk to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its nodes, as far as they are known before one was asked.
    pub members: Vec<Member>,
    /// The file that names them, unless they were given by address.
    pub file: Option<ClusterFile>,
    /// The folder that runs them, if it is on this machine: there they can be restarted.
    pub folder: Option<Folder>,
}

/// A node to talk to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name by the cluster file. Without a file only the node itself knows it.
    pub name: Option<String>,
    /// Its number, likewise.
    pub id: Option<u64>,
    /// Where clients and consoles reach it.
    pub api: String,
    /// Where other nodes reach it, by the cluster file.
    pub peer: Option<String>,
}

impl Member {
    /// One that other nodes know.
    #[must_use]
    pub fn of_address(known: &MemberAddress) -> Member {
        let (name, peer) = (Some(plain(&known.name)), Some(plain(&known.peer)));
        Member { name, id: Some(known.node), api: plain(&known.api), peer }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    File(PathBuf),
    Addresses(Vec<String>),
    Folder(PathBuf),
}

impl Target {
    /// The cluster that the command line and the environment mean.
    ///
    /// # Errors
    /// There is none, its file is not taken, or an address is not one.
    pub fn find(place: &Place) -> Result<Target, Failure> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        match find(place, &env) {
            Found::File(path) => Target::of_file(&path),
            Found::Addresses(addresses) => Target::of_addresses(&addresses),
            Found::Folder(dir) => {
                let path = dir.join(CLUSTER_FILE);
                if !path.exists() {
                    return Err(Failure::Refused(format!(
                        "no cluster: {} does not exist; start one with `raftdeck up`, or name one by --cluster or --connect",
                        path.display()
                    )));
                }
                Ok(Target::of_folder(&Folder::open(&dir)?))
            }
        }
    }

    fn of_file(path: &Path) -> Result<Target, Failure> {
        Ok(Target::of(ClusterFile::load(path)?))
    }

    /// The cluster of a folder.
    #[must_use]
    pub fn of_folder(folder: &Folder) -> Target {
        Target { folder: Some(folder.clone()), ..Target::of(folder.file().clone()) }
    }

    fn of(file: ClusterFile) -> Target {
        let member = |node: &NodeEntry| Member {
            name: Some(node.name.clone()),
            id: Some(node.id.0),
            api: node.api.to_string(),
            peer: Some(node.peer.to_string()),
        };
        Target { members: file.nodes.iter().map(member).collect(), file: Some(file), folder: None }
    }

    fn of_addresses(addresses: &[String]) -> Result<Target, Failure> {
        let mut members: Vec<Member> = Vec::new();
        for text in addresses {
            let api = address(text.trim()).map_err(|message| Failure::Usage(format!("--connect: {message}")))?;
            let member = Member { name: None, id: None, api, peer: None };
            if !members.contains(&member) {
                members.push(member);
            }
        }
        Ok(Target { members, file: None, folder: None })
    }

    /// A client that follows the leader.
    ///
    /// # Errors
    /// There is no node.
    pub fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(self.addresses())?)
    }

    /// One for a verb that somebody waits for: it does not wait for nodes that are down, and says what it does wait for.
    ///
    /// # Errors
    /// There is no node.
    pub fn attended_client(&self) -> Result<Client, Failure> {
        Ok(self.client()?.attended(failure::remark))
    }

    /// Every api address.
    pub fn addresses(&self) -> impl Iterator<Item = String> + '_ {
        self.members.iter().map(|member| member.api.clone())
    }
}

/// The folder for the verbs that start and stop processes: those work on `--dir` alone.
///
/// # Errors
/// A cluster elsewhere was named.
pub fn dir(place: &Place, verb: &str) -> Result<PathBuf, Failure> {
    if place.cluster.is_some() || !place.connect.is_empty() {
        return Err(Failure::Usage(format!(
            "`{verb}` works on nodes of this machine: name their folder by --dir, not by --cluster or --connect"
        )));
    }
    Ok(place.dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DIR)))
}

/// The folder, which must hold a cluster.
///
/// # Errors
/// It holds none, or a cluster elsewhere was named.
pub fn folder(place: &Place, verb: &str) -> Result<Folder, Failure> {
    Ok(Folder::open(&dir(place, verb)?)?)
}

fn find(place: &Place, env: &dyn Fn(&str) -> Option<String>) -> Found {
    if let Some(file) = &place.cluster {
        return Found::File(file.clone());
    }
    if !place.connect.is_empty() {
        return Found::Addresses(place.connect.clone());
    }
    if let Some(dir) = &place.dir {
        return Found::Folder(dir.clone());
    }
    if let Some(file) = env("RAFTDECK_CLUSTER") {
        return Found::File(file.into());
    }
    if let Some(addresses) = env("RAFTDECK_CONNECT") {
        return Found::Addresses(addresses.split(',').map(str::to_owned).collect());
    }
    Found::Folder(DEFAULT_DIR.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_before_the_environment() {
        let env = |name: &str| match name {
            "RAFTDECK_CLUSTER" => Some("env.toml".to_owned()),
            _ => Some("h:1,h:2".to_owned()),
        };
        let only_connect = |name: &str| (name == "RAFTDECK_CONNECT").then(|| "h:1,h:2".to_owned());
        let mut place = Place::default();
        assert_eq!(find(&place, &|_| None), Found::Folder(".raftdeck".into()));
        assert_eq!(find(&place, &only_connect), Found::Addresses(vec!["h:1".into(), "h:2".into()]));
        assert_eq!(find(&place, &env), Found::File("env.toml".into()));
        place.dir = Some("d".into());
        assert_eq!(find(&place, &env), Found::Folder("d".into()));
        place.connect = vec!["h:3".into()];
        assert_eq!(find(&place, &env), Found::Addresses(vec!["h:3".into()]));
        place.cluster = Some("c.toml".into());
        assert_eq!(find(&place, &env), Found::File("c.toml".into()));
    }

    #[test]
    fn addresses_are_checked_and_named_once() {
        let target = Target::of_addresses(&["localhost:1".into(), " [::1]:2".into(), "localhost:1".into()]).unwrap();
        assert_eq!(target.addresses().collect::<Vec<_>>(), ["localhost:1", "[::1]:2"]);
        for bad in ["", "localhost", "localhost:", ":1", "h:99999", "http://h:1", "h:1/x"] {
            let error = Target::of_addresses(&[bad.to_owned()]).unwrap_err();
            assert_eq!(error, Failure::Usage(format!("--connect: {bad:?} is not HOST:PORT")), "{bad}");
        }
    }
}
