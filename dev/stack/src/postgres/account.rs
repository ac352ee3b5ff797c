//! The user that the server runs as. Postgres refuses to run as root, so root lends it another account.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use crate::StackError;
use crate::secrets::hex;

/// Where root keeps what the server's account must reach; every system has it, and it outlives a reboot.
const SHARED_FOLDER: &str = "/var/tmp";

/// How such folders are named.
const PREFIX: &str = "agentopia-";

/// The note in a folder of [`SHARED_FOLDER`] that names what it belongs to.
const BELONGS_TO: &str = "belongs-to";

/// Who runs the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// Whoever runs this program.
    Caller,
    /// This program runs as root: `postgres` if the machine has that user, else `nobody`.
    Lent { uid: u32, gid: u32 },
}

impl Account {
    /// The account for the current user.
    pub(super) fn detect() -> Result<Self, StackError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Caller);
        }
        let passwd = Path::new("/etc/passwd");
        let users = fs::read_to_string(passwd).map_err(StackError::file("read", passwd))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| find_user(&users, name))
            .ok_or_else(|| {
                StackError::Prerequisite(
                    "Postgres does not run as root, and there is no user `postgres` or `nobody`: add one".to_owned(),
                )
            })
    }

    /// Makes `command` run as this account.
    pub(super) fn lend_to(self, command: &mut Command) {
        if let Self::Lent { uid, gid } = self {
            command.gid(gid).uid(uid);
        }
    }

    /// Gives a file or folder to this account.
    pub(super) fn own(self, path: &Path) -> Result<(), StackError> {
        match self {
            Self::Caller => Ok(()),
            Self::Lent { uid, gid } => std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .map_err(StackError::file("change the owner of", path)),
        }
    }

    /// Whether root or this account has a file.
    fn is_ours(self, found: &fs::Metadata) -> bool {
        found.uid() == 0 || matches!(self, Self::Lent { uid, .. } if uid == found.uid())
    }

    /// A folder that this account can reach, for what belongs to `wanted`: `wanted` itself unless root's choice of it
    /// is below a folder that only root may enter (a home, a temporary folder). Then it is
    /// `/var/tmp/agentopia-<hash>`, with a note in it that names `wanted`.
    ///
    /// The folder is there then, and nothing in it is given away yet.
    pub(super) fn reachable(self, wanted: &Path) -> Result<PathBuf, StackError> {
        fs::create_dir_all(wanted).map_err(StackError::file("create", wanted))?;
        let wanted = wanted.canonicalize().map_err(StackError::file("resolve", wanted))?;
        if self == Self::Caller || wanted.ancestors().all(anyone_may_enter) {
            return Ok(wanted);
        }

        let name = wanted.to_string_lossy();
        let hash = hex(&Sha256::digest(name.as_bytes()));
        let hash = hash.get(..16).unwrap_or(&hash);
        let folder = Path::new(SHARED_FOLDER).join(format!("{PREFIX}{hash}"));
        match fs::create_dir(&folder) {
            Ok(()) => {}
            // Anyone may write in this place: a folder that another user prepared is not ours.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let owner = fs::symlink_metadata(&folder).map_err(StackError::file("read", &folder))?;
                if !owner.is_dir() || !self.is_ours(&owner) {
                    return Err(StackError::Failed(format!(
                        "{} belongs to another user: remove it",
                        folder.display()
                    )));
                }
            }
            Err(error) => return Err(StackError::file("create", &folder)(error)),
        }
        set_mode(&folder, 0o755)?;
        let note = folder.join(BELONGS_TO);
        fs::write(&note, name.as_bytes()).map_err(StackError::file("write", &note))?;
        Ok(folder)
    }
}

/// Removes the folders in `/var/tmp` whose data folder is gone, such as those of tests in temporary folders. Best
/// effort: what cannot be removed stays until the next time.
pub(super) fn remove_abandoned(account: Account, is_in_use: impl Fn(&Path) -> bool) {
    for entry in fs::read_dir(SHARED_FOLDER).into_iter().flatten().flatten() {
        let folder = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir() && account.is_ours(&found));
        let Ok(owner) = fs::read_to_string(folder.join(BELONGS_TO)) else {
            continue;
        };
        if !is_ours || Path::new(&owner).exists() || is_in_use(&folder) {
            continue;
        }
        if let Err(error) = fs::remove_dir_all(&folder) {
            tracing::debug!(%error, folder = %folder.display(), "an abandoned folder stays");
        }
    }
}

/// Sets a file's permissions whatever the umask.
pub(super) fn set_mode(path: &Path, mode: u32) -> Result<(), StackError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(StackError::file("change the permissions of", path))
}

/// Whether every user may pass through a folder.
fn anyone_may_enter(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|found| found.mode() & 0o001 != 0)
}

/// Finds a user in the text of `/etc/passwd`. macOS writes the ids of `nobody` as -2, which is a `u32` all the same.
fn find_user(passwd: &str, name: &str) -> Option<Account> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut ids = line
        .split(':')
        .skip(2)
        .map(|id| u32::try_from(id.parse::<i64>().ok()? & 0xffff_ffff).ok());
    Some(Account::Lent {
        uid: ids.next()??,
        gid: ids.next()??,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody2:x:7:7::/:/bin/false\nnobody:*:-2:-2::/:/usr/bin/false\n";

        assert_eq!(
            find_user(passwd, "nobody"),
            Some(Account::Lent {
                uid: u32::MAX - 1,
                gid: u32::MAX - 1
            })
        );
        assert_eq!(find_user(passwd, "postgres"), None);
    }

    #[test]
    fn a_folder_that_everyone_may_enter_is_used_as_it_is() {
        let lent = Account::Lent { uid: 65534, gid: 65534 };
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o755).unwrap();
        let wanted = folder.path().join("data");

        assert_eq!(lent.reachable(&wanted).unwrap(), wanted.canonicalize().unwrap());
    }
}
