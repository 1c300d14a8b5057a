//! Which `raftdeck-node` is started: the one that was named, else the one that was built with this program, else the
//! one that is installed. Never a guess that is not told: if there is none, the error says where it was looked for.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// File name of the node's program.
pub const NAME: &str = "raftdeck-node";

/// Names the program, before all other places.
pub const VARIABLE: &str = "RAFTDECK_NODE";

/// The node's program: RAFTDECK_NODE, beside this program or one folder above, PATH.
///
/// # Errors
/// One line that says where it looked.
pub fn find() -> Result<PathBuf, String> {
    let own = env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
    search(env::var_os(VARIABLE), own.as_deref(), env::var_os("PATH").as_deref())
}

fn search(named: Option<OsString>, own: Option<&Path>, path: Option<&OsStr>) -> Result<PathBuf, String> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        return match std::path::absolute(&named) {
            Ok(whole) if runnable(&whole) => Ok(whole),
            Ok(_) | Err(_) => Err(format!("{VARIABLE}={} is not a program", named.display())),
        };
    }
    let near = [own, own.and_then(Path::parent)].into_iter().flatten().map(Path::to_owned);
    let installed = path.into_iter().flat_map(env::split_paths).filter(|dir| dir.is_absolute());
    if let Some(found) = near.chain(installed).map(|dir| dir.join(NAME)).find(|file| runnable(file)) {
        return Ok(found);
    }
    let near = own.map_or_else(String::new, |own| format!(" beside {}", own.join("raftdeck").display()));
    Err(format!("no {NAME} found: looked{near}, one folder above and in PATH; {VARIABLE} can name it"))
}

fn runnable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn the_named_one_then_the_near_one_then_the_installed_one() {
        let dir = tempfile::tempdir().unwrap();
        let place = |folder: &str, mode: u32| {
            let folder = dir.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            let file = folder.join(NAME);
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            file
        };
        let named = place("named", 0o755);
        let near = place("target", 0o755);
        let installed = place("bin", 0o755);
        let own = dir.path().join("target/deps");
        let bin = dir.path().join("bin");
        let path = Some(bin.as_os_str());
        assert_eq!(search(Some(named.clone().into()), Some(&own), path), Ok(named.clone()));
        assert_eq!(search(None, Some(&own), path), Ok(near.clone()));
        place("target", 0o644);
        assert_eq!(search(None, Some(&own), path), Ok(installed));
        place("named", 0o644);
        let error = search(Some(named.clone().into()), None, None).unwrap_err();
        assert_eq!(error, format!("RAFTDECK_NODE={} is not a program", named.display()));
        let error = search(None, Some(Path::new("/x/y")), None).unwrap_err();
        assert_eq!(
            error,
            "no raftdeck-node found: looked beside /x/y/raftdeck, one folder above and in PATH; RAFTDECK_NODE can name it"
        );
    }
}
