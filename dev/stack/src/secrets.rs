//! The secrets of one data folder: made once, kept in a file that only its owner may read.

use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::StackError;

/// The name of the file in the data folder.
const FILE: &str = "secrets.json";

/// What a local stack keeps from others: the key that signs users' tokens, the database's passwords, the schedule's token, and the
/// keys that seal tenants' secrets.
///
/// All but the keyring are hexadecimal text, so that they stand in URLs and SQL literals as they are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    jwt_secret: String,
    database_admin_password: String,
    database_functions_password: String,
    service_token: String,
    credential_keyring: String,
}

/// Makes a secret.
type Make = fn() -> Result<String, StackError>;

/// What a file may lack that was written before it was kept, and how it is made.
const LATER: [(&str, Make); 2] = [
    ("service_token", random_hex::<32>),
    ("credential_keyring", random_keyring),
];

impl Secrets {
    /// Reads the secrets of `data`, or makes them if there are none yet.
    pub fn load_or_create(data: &Path) -> Result<Self, StackError> {
        fs::create_dir_all(data).map_err(StackError::file("create", data))?;
        let path = data.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => Self::read(&path, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(&path),
            Err(error) => Err(StackError::file("read", &path)(error)),
        }
    }

    /// The key that signs users' tokens with HS256.
    pub fn jwt_secret(&self) -> &str {
        &self.jwt_secret
    }

    /// The password of the database's owner.
    pub fn database_admin_password(&self) -> &str {
        &self.database_admin_password
    }

    /// The password of the functions' login role.
    pub fn database_functions_password(&self) -> &str {
        &self.database_functions_password
    }

    /// What the schedule shows when it asks for the sweep.
    pub fn service_token(&self) -> &str {
        &self.service_token
    }

    /// The keys that seal tenants' secrets, as the setting `credential_keyring` has them.
    pub fn credential_keyring(&self) -> &str {
        &self.credential_keyring
    }

    /// Takes what the file holds, and adds to it what it lacks.
    fn read(path: &Path, bytes: &[u8]) -> Result<Self, StackError> {
        let damaged = |error: serde_json::Error| {
            StackError::Failed(format!(
                "{} is damaged ({error}): remove the data folder to start anew",
                path.display()
            ))
        };
        let mut stored: Map<String, Value> = serde_json::from_slice(bytes).map_err(damaged)?;
        let known = stored.len();
        for (name, make) in LATER {
            if !stored.contains_key(name) {
                stored.insert(name.to_owned(), make()?.into());
            }
        }
        let added = stored.len() > known;
        let secrets: Self = serde_json::from_value(stored.into()).map_err(damaged)?;
        if added {
            let draft = secrets.draft(path)?;
            fs::rename(&draft, path).map_err(StackError::file("write", path))?;
        }
        Ok(secrets)
    }

    /// Makes new secrets; whoever writes the file first wins, and the others read what it holds.
    fn create(path: &Path) -> Result<Self, StackError> {
        let secrets = Self {
            jwt_secret: random_hex::<32>()?,
            database_admin_password: random_hex::<16>()?,
            database_functions_password: random_hex::<16>()?,
            service_token: random_hex::<32>()?,
            credential_keyring: random_keyring()?,
        };

        // Linked to its place: no file is replaced.
        let draft = secrets.draft(path)?;
        let linked = fs::hard_link(&draft, path);
        let removed = fs::remove_file(&draft);
        match linked {
            Ok(()) => {
                removed.map_err(StackError::file("remove", &draft))?;
                Ok(secrets)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let bytes = fs::read(path).map_err(StackError::file("read", path))?;
                Self::read(path, &bytes)
            }
            Err(error) => Err(StackError::file("write", path)(error)),
        }
    }

    /// Writes the file whole beside its place: a reader never sees half of one.
    fn draft(&self, path: &Path) -> Result<PathBuf, StackError> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| StackError::Failed(format!("the secrets cannot be written as JSON: {error}")))?;
        let draft = path.with_extension(format!("json.{}", random_hex::<8>()?));
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| fs::set_permissions(&draft, Permissions::from_mode(0o600)))
            .map_err(StackError::file("write", &draft))?;
        Ok(draft)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// `N` random bytes.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], StackError> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| StackError::Failed(format!("the system gives no randomness: {error}")))?;
    Ok(bytes)
}

/// `N` random bytes as hexadecimal text.
pub(crate) fn random_hex<const N: usize>() -> Result<String, StackError> {
    Ok(hex(&random_bytes::<N>()?))
}

/// A keyring of one key.
fn random_keyring() -> Result<String, StackError> {
    let key = STANDARD.encode(random_bytes::<32>()?);
    Ok(format!("local-{}:{key}", random_hex::<4>()?))
}

/// Bytes as lower-case hexadecimal text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use agentopia_domain::secrets::Keyring;

    use super::*;

    #[test]
    fn secrets_are_made_once_and_readable_by_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();

        let first = Secrets::load_or_create(folder.path()).unwrap();
        let second = Secrets::load_or_create(folder.path()).unwrap();

        assert_eq!(first.jwt_secret(), second.jwt_secret());
        assert_eq!(first.jwt_secret().len(), 64);
        assert_ne!(first.database_admin_password(), first.database_functions_password());
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no draft is left behind"
        );
    }

    #[test]
    fn what_an_older_file_lacks_is_added_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let older = r#"{"jwt_secret":"a","database_admin_password":"b","database_functions_password":"c"}"#;
        fs::write(&path, older).unwrap();

        let first = Secrets::load_or_create(folder.path()).unwrap();
        let second = Secrets::load_or_create(folder.path()).unwrap();

        assert_eq!((first.jwt_secret(), first.database_admin_password()), ("a", "b"));
        assert_eq!(first.service_token().len(), 64);
        assert_eq!(first.service_token(), second.service_token());
        assert!(Keyring::parse(first.credential_keyring()).is_ok());
        assert_eq!(first.credential_keyring(), second.credential_keyring());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no draft is left behind"
        );
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::load_or_create(folder.path()).unwrap();

        let shown = format!("{secrets:?}");

        assert!(!shown.contains(secrets.jwt_secret()), "{shown}");
        assert!(!shown.contains(secrets.credential_keyring()), "{shown}");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["{", "{\"jwt_secret\":\"a\"}"] {
            fs::write(folder.path().join(FILE), text).unwrap();

            let refusal = Secrets::load_or_create(folder.path()).unwrap_err().to_string();

            assert!(refusal.contains("secrets.json is damaged"), "{refusal}");
        }
    }
}
