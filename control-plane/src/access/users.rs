//! Who may log in: the users of the configuration, and those of an htpasswd file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;

use super::password::{Hash, HashError};
use super::secret::Secret;
use super::token::Credentials;

/// The users, and how each proves who he is.
#[derive(Debug, Default)]
pub(super) struct Users {
    hashes: HashMap<Arc<str>, Hash>,
    /// The costliest of them.
    decoy: Option<Hash>,
}

/// Why there are no users to be had.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file cannot be read.
    #[error("cannot read the users in {}", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// The file is larger than any that makes sense.
    #[error("the users in {}: larger than {MAX_FILE} bytes", .0.display())]
    Large(PathBuf),
    /// A line of the file is wrong.
    #[error("the users in {}, line {line}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        #[source]
        why: UserError,
    },
    /// An entry of the configuration is wrong.
    #[error("auth.users")]
    Listed(#[source] UserError),
}

/// What is wrong with one user. The password is not in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// The line has no colon.
    #[error("expected <user>:<password hash>")]
    NoColon,
    /// The name cannot be part of a token.
    #[error(
        "expected a user name of 1 to {MAX_NAME} characters without colons and control characters"
    )]
    Name,
    /// The name is there twice.
    #[error("user '{0}' is there already")]
    Twice(String),
    /// The hash is none.
    #[error("user '{0}'")]
    Hash(String, #[source] HashError),
}

impl Users {
    /// Reads the users: those of the file have hashes, `listed` may have plain passwords too.
    pub(super) fn load(
        listed: &BTreeMap<String, Secret>,
        file: Option<&Path>,
    ) -> Result<Self, UsersError> {
        let mut users = Self::default();
        for (name, text) in listed {
            users.add(name, Hash::of_config(text)).map_err(UsersError::Listed)?;
        }
        if let Some(path) = file {
            let text = read(path)?;
            for (at, line) in text.lines().enumerate() {
                users.add_line(line).map_err(|why| UsersError::Line {
                    path: path.to_owned(),
                    line: at + 1,
                    why,
                })?;
            }
        }
        let costliest = users.hashes.values().max_by_key(|hash| hash.cost());
        users.decoy = costliest.cloned();
        Ok(users)
    }

    /// The user's name when the password is his. An unknown user, and a wrong password, take as
    /// long as the costliest hash.
    pub(super) fn verify(&self, credentials: &Credentials) -> Option<Arc<str>> {
        let password = credentials.password.expose().as_bytes();
        let known = self.hashes.get_key_value(credentials.user.as_str());
        if let Some((name, hash)) = known
            && hash.verify(password)
        {
            return Some(name.clone());
        }
        let paid = known.map_or(0, |(_, hash)| hash.cost());
        if let Some(decoy) = self.decoy.as_ref().filter(|decoy| decoy.cost() > paid) {
            // The one it belongs to is somebody else.
            std::hint::black_box(decoy.verify(password));
        }
        None
    }

    /// The name, if it is one of a user. What else is given as a name may be a password.
    pub(super) fn known(&self, name: &str) -> Option<&str> {
        self.hashes.get_key_value(name).map(|(name, _)| &**name)
    }

    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Those whose password is in the configuration as it is.
    pub(super) fn plain(&self) -> impl Iterator<Item = &str> {
        self.hashes.iter().filter(|(_, hash)| hash.is_plain()).map(|(name, _)| &**name)
    }

    fn add_line(&mut self, line: &str) -> Result<(), UserError> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (name, hash) = line.split_once(':').ok_or(UserError::NoColon)?;
        self.add(name, hash.parse())
    }

    fn add(&mut self, name: &str, hash: Result<Hash, HashError>) -> Result<(), UserError> {
        let fits = (1..=MAX_NAME).contains(&name.chars().count());
        if !fits || name.contains(|c: char| c == ':' || c.is_control()) {
            return Err(UserError::Name);
        }
        let hash = hash.map_err(|error| UserError::Hash(name.to_owned(), error))?;
        match self.hashes.insert(name.into(), hash) {
            None => Ok(()),
            Some(_) => Err(UserError::Twice(name.to_owned())),
        }
    }
}

fn read(path: &Path) -> Result<String, UsersError> {
    let unreadable = |error| UsersError::Unreadable(path.to_owned(), error);
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    match text.len() as u64 > MAX_FILE {
        true => Err(UsersError::Large(path.to_owned())),
        false => Ok(text),
    }
}

/// Bytes of a file of users at most: ten thousand of them.
const MAX_FILE: u64 = 1 << 20;

/// Characters of a user's name at most.
const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::Causes;

    /// Made by `htpasswd` and `openssl passwd` for the password `secret`.
    const FILE: &str = include_str!("users.htpasswd");

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials { user: user.into(), password: Secret::new(password) }
    }

    fn write(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn every_kind_of_hash_is_known() {
        let file = write(FILE);
        let listed = [
            ("plain".to_owned(), Secret::new("secret")),
            ("hashed".to_owned(), Secret::new("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=")),
        ];
        let users = Users::load(&listed.into(), Some(file.path())).unwrap();
        assert_eq!(users.len(), 9);
        assert_eq!(users.plain().collect::<Vec<_>>(), ["plain"]);
        for name in [
            "apache",
            "short",
            "sha",
            "bcrypt",
            "old-bcrypt",
            "argon2id",
            "argon2i",
            "plain",
            "hashed",
        ] {
            assert_eq!(users.verify(&credentials(name, "secret")).as_deref(), Some(name));
            for wrong in ["", "Secret", "secret ", "secre", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="] {
                assert_eq!(users.verify(&credentials(name, wrong)), None, "{name} {wrong}");
            }
        }
        assert_eq!(users.verify(&credentials("nobody", "secret")), None);
        let shown = format!("{users:?}");
        for part in ["5en6", "$2y$", "$argon2", "secret\""] {
            assert!(!shown.contains(part), "{shown}");
        }
    }

    #[test]
    fn the_costliest_hash_stands_for_unknown_users() {
        let file = write(FILE);
        let users = Users::load(&BTreeMap::new(), Some(file.path())).unwrap();
        let costliest = users.decoy.as_ref().unwrap().cost();
        assert!(users.hashes.values().all(|hash| hash.cost() <= costliest));
        assert!(costliest > 1_000);
        assert!(Users::default().verify(&credentials("nobody", "")).is_none());
    }

    #[test]
    fn a_wrong_line_is_named_without_what_is_in_it() {
        for (line, part) in [
            ("no colon", "line 2: expected <user>:<password hash>"),
            (":$apr1$a$b", "line 2: expected a user name"),
            ("ann:secret", "line 2: user 'ann': expected a password hash that begins"),
            ("ann:$2y$10$short", "user 'ann': expected a bcrypt hash"),
            (
                "ann:$2y$20$abcdefghijklmnopqrstuuSTLWvAqzDbJmXWqnIfHDCYNVNPW0H/O",
                "between 4 and 16",
            ),
            ("ann:$apr1$salt", "expected a $apr1$ hash"),
            ("ann:$apr1$toolongsalt$cVtBtjxFPNwBHwBhA5ezK0", "expected a $apr1$ hash"),
            ("ann:{SHA}secret", "expected a {SHA} hash"),
            ("ann:$argon2id$v=19$m=9999999,t=1,p=1$c2FsdHNhbHQ$c2VjcmV0c2VjcmV0", "262144 KiB"),
            ("ann:$argon2id$secret", "expected a argon2 hash"),
            ("bob:$1$salt$x", "user 'bob': expected a password hash"),
            ("sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "user 'sha' is there already"),
        ] {
            let file = write(&format!("sha:{{SHA}}5en6G6MezRroT3XKqkdPOmY/BfQ=\n{line}\n"));
            let error = Users::load(&BTreeMap::new(), Some(file.path())).unwrap_err();
            let error = Causes(&error).to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{line}: {error}");
        }
        let file = write(&"#\n".repeat(600_000));
        assert!(matches!(
            Users::load(&BTreeMap::new(), Some(file.path())),
            Err(UsersError::Large(_))
        ));
        let gone = Users::load(&BTreeMap::new(), Some(Path::new("/nonexistent"))).unwrap_err();
        let gone = Causes(&gone).to_string();
        assert!(gone.contains("/nonexistent: No such file"), "{gone}");
        let listed = [("a:b".to_owned(), Secret::new("secret"))].into();
        assert!(matches!(Users::load(&listed, None), Err(UsersError::Listed(UserError::Name))));
    }
}
