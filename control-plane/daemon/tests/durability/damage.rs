//! State files that are not what was written: the daemon says so and how to go on, or serves what
//! was kept. It never panics.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::client::Client;
use super::config;
use super::ledger::{Key, served};
use super::random::Random;
use crate::support::asked;
use crate::support::netns::Netns;
use crate::support::sonde::{SONDE, Sonde};

/// A directory with a state file, what it held, and what is in it.
struct Kept {
    directory: tempfile::TempDir,
    whole: Vec<u8>,
    served: BTreeMap<Key, Value>,
}

/// What became of a daemon that was given a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It said why it does not start.
    Refused,
    /// It serves all that was kept.
    Served,
}

impl Kept {
    /// As a daemon leaves it that was told to stop, or that was killed.
    fn make(random: &mut Random, netns: &Netns, is_killed: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sonde = Sonde::start(&config(directory.path()), directory.path(), Some(netns));
        Client::new(0, random.fork()).fill(sonde.address, 60);
        let served = served(&sonde);
        if is_killed {
            sonde.kill()
        } else {
            sonde.stop()
        }
        let whole = fs::read(file(directory.path())).unwrap();
        Self { directory, whole, served }
    }

    /// Starts a daemon with these bytes in the place of what was written.
    fn outcome(&self, netns: &Netns, what: &str, bytes: &[u8]) -> Outcome {
        let directory = self.directory.path();
        fs::write(file(directory), bytes).unwrap();
        let config = config(directory);
        match Sonde::try_start(netns.command(SONDE), &config, directory) {
            Err((status, log)) => {
                assert_eq!(status.code(), Some(1), "{what}: {log}");
                assert!(log.contains("state.redb: damaged ("), "{what}: {log}");
                assert!(log.contains("move it away to start without"), "{what}: {log}");
                assert!(!log.contains("panicked"), "{what}: {log}");
                Outcome::Refused
            }
            Ok(sonde) => {
                let there = served(&sonde);
                let (status, body) =
                    sonde.post("capture", r#"{"GremlinQuery": "G.V().Has('Name', 'none')"}"#);
                assert_eq!(status, 201, "{what}: {body}");
                sonde.stop();
                let lost = self.served.iter().find(|(key, kept)| there.get(key) != Some(*kept));
                assert_eq!(lost, None, "{what}");
                assert_eq!(there.len(), self.served.len(), "{what}");
                Outcome::Served
            }
        }
    }
}

/// Bytes are flipped at many places; `TEST_FLIPS` says at how many.
#[test]
fn a_state_file_with_other_bytes_is_refused_or_served_right() {
    let mut random = Random::seeded("flipped bytes");
    let flips = asked("TEST_FLIPS").unwrap_or(FLIPS);
    let netns = Netns::new();
    netns.within(|| {
        let mut outcomes = Vec::new();
        for is_killed in [true, false] {
            let kept = Kept::make(&mut random, &netns, is_killed);
            for _ in 0..flips {
                // Most of a file is data; what says where it is stands at its beginning.
                let end = if random.below(4) == 0 { HEADER } else { kept.whole.len() };
                let written: Vec<_> = (0..end).filter(|&at| kept.whole[at] != 0).collect();
                let (at, length) = (*random.of(&written), 1 + random.below(64));
                let mut torn = kept.whole.clone();
                torn[at..].iter_mut().take(length).for_each(|byte| *byte ^= 0xa5);
                let what = format!("{length} bytes at {at}, killed: {is_killed}");
                outcomes.push(kept.outcome(&netns, &what, &torn));
            }
        }
        let refused = outcomes.iter().filter(|outcome| **outcome == Outcome::Refused).count();
        println!("{} files with other bytes, {refused} refused", outcomes.len());
    });
}

#[test]
fn a_state_file_of_another_length_is_refused_or_served_right() {
    let mut random = Random::seeded("lengths");
    let netns = Netns::new();
    netns.within(|| {
        let kept = Kept::make(&mut random, &netns, true);
        let length = kept.whole.len();
        for end in [0, 1, HEADER, 4096, length / 2] {
            let what = format!("{end} of {length} bytes");
            assert_eq!(kept.outcome(&netns, &what, &kept.whole[..end]), Outcome::Refused, "{what}");
        }
        // What is at the end may have been in use, or not.
        for end in [length - 4096, length - 1] {
            kept.outcome(&netns, &format!("{end} of {length} bytes"), &kept.whole[..end]);
        }
        let longer = [&kept.whole[..], &[0; 100]].concat();
        assert_eq!(kept.outcome(&netns, "100 bytes more", &longer), Outcome::Refused);
        assert_eq!(kept.outcome(&netns, "zeros", &vec![0; length]), Outcome::Refused);
        assert_eq!(kept.outcome(&netns, "a text", &b"no state ".repeat(1000)), Outcome::Refused);
    });
}

#[test]
fn a_state_file_that_cannot_be_opened_is_named() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let (at, state) = (directory.path(), directory.path().join("state"));
        let refused = |command: Command, why: &str| {
            let Err((status, log)) = Sonde::try_start(command, &config(at), at) else {
                panic!("it started, expected: {why}");
            };
            assert_eq!(status.code(), Some(1), "{log}");
            assert!(log.contains("state/state.redb: ") && log.contains(why), "{log}");
            assert!(log.contains("; check that the directory is writable"), "{log}");
            assert!(!log.contains("panicked"), "{log}");
        };
        fs::create_dir_all(file(at)).unwrap();
        refused(netns.command(SONDE), "Is a directory");
        fs::remove_dir_all(&state).unwrap();
        fs::write(&state, "").unwrap();
        refused(netns.command(SONDE), "File exists");
        fs::remove_file(&state).unwrap();
        // Root may open anything.
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
        let mut nobody = netns.command("setpriv");
        nobody.args(["--reuid=65534", "--clear-groups", SONDE]);
        refused(nobody, "Permission denied");
    });
}

/// A daemon that is killed while it makes the file starts the next time.
#[test]
fn the_first_start_may_be_killed() {
    let mut random = Random::seeded("first starts");
    let netns = Netns::new();
    netns.within(|| {
        for _ in 0..FIRST {
            let directory = tempfile::tempdir().unwrap();
            let (at, config) = (directory.path(), config(directory.path()));
            let moment = random.up_to(super::START);
            Sonde::start_and_kill(&config, at, &netns, moment);
            Sonde::start(&config, at, Some(&netns)).stop();
        }
    });
}

fn file(directory: &Path) -> PathBuf {
    directory.join("state/state.redb")
}

/// Places at which bytes are flipped, of each file.
const FLIPS: u64 = 15;

/// Bytes at the beginning that say where the rest is.
const HEADER: usize = 320;

/// First starts that are killed.
const FIRST: usize = 8;
