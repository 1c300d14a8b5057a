//! A cluster that ends with the call that started it, and leaves nothing behind.

use std::path::Path;

use raftdeck_shared::cluster::ClusterFile;

use super::{
    folder::{Folder, Place},
    ready,
};
use crate::cli::{status::View, up::start_all};

/// Nodes that end with this value, and their folder with them.
#[derive(Debug)]
pub struct Temporary {
    folder: Folder,
    _dir: tempfile::TempDir,
}

impl Temporary {
    /// A folder for nodes of a verb, in `parent` or where the system has such folders. Nothing runs yet.
    ///
    /// # Errors
    /// It cannot be written, or the file would not be taken.
    pub fn create(verb: &str, parent: Option<&Path>, file: &ClusterFile) -> Result<Temporary, String> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let dir = tempfile::Builder::new().prefix(&format!("raftdeck-{verb}-")).tempdir_in(&parent);
        let dir = dir.map_err(|e| format!("{verb}: cannot make a folder in {}: {}", parent.display(), cause(&e)))?;
        Ok(Temporary { folder: Folder::create(dir.path(), file)?, _dir: dir })
    }

    /// Where they run.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Starts all, and waits for their leader.
    ///
    /// # Errors
    /// One does not start, or there is no leader in time.
    pub async fn start(&self) -> Result<View, String> {
        let nodes: Vec<_> = self.folder.file().nodes.iter().collect();
        let started = start_all(&self.folder, &nodes, &Place::Background)?;
        ready::all(&self.folder, &started).await
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nodes may have been taken in since: the file says who runs here by now.
        let folder = Folder::open(self.folder.dir()).unwrap_or_else(|_| self.folder.clone());
        let all: Vec<_> = folder.file().nodes.iter().collect();
        let _ = folder.stop(&all);
    }
}

/// The system's words; the temporary name that could not be made says nothing to anyone.
fn cause(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |code| std::io::Error::from_raw_os_error(code).to_string())
}
