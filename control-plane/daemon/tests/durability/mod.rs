//! What was acknowledged survives `kill -9`, and what was deleted stays away.

mod client;
mod damage;
mod ledger;
mod random;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::asked;
use crate::support::netns::Netns;
use crate::support::sonde::Sonde;

use client::Client;
use ledger::served;
use random::Random;

/// Clients create, change and delete resources of every kind while the daemon is killed again and
/// again, a quarter of the time once more while it starts. `TEST_KILLS` says how often.
#[test]
fn nothing_acknowledged_is_lost_and_nothing_deleted_returns() {
    let kills = asked("TEST_KILLS").unwrap_or(KILLS);
    let mut random = Random::seeded("durability");
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let mut clients: Vec<_> = (0..CLIENTS).map(|n| Client::new(n, random.fork())).collect();
        let mut sonde = start(directory.path(), &netns);
        let filled = Instant::now();
        at_once(&mut clients, |client| client.fill(sonde.address, RESOURCES / CLIENTS));
        println!("{RESOURCES} resources took {:?}", filled.elapsed());
        let (mut acknowledged, mut open, mut ready) = (0, 0, Vec::new());
        for round in 0..kills {
            let moment = random.up_to(LATEST);
            let address = sonde.address;
            acknowledged += std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(moment);
                    sonde.kill();
                });
                let trouble = |client: &mut Client| client.trouble(address, RESOURCES / CLIENTS);
                at_once(&mut clients, trouble).into_iter().sum::<u32>()
            });
            open += clients.iter().filter(|client| client.ledger.open.is_some()).count();
            if random.below(4) == 0 {
                let moment = random.up_to(START);
                Sonde::start_and_kill(&config(directory.path()), directory.path(), &netns, moment);
            }
            let begun = Instant::now();
            sonde = start(directory.path(), &netns);
            ready.push(begun.elapsed());
            let mut all = served(&sonde);
            for client in &mut clients {
                let prefix = client.prefix();
                let theirs = all.extract_if(.., |(_, name), _| name.starts_with(&prefix));
                if let Err(fault) = client.ledger.settle(theirs.collect()) {
                    panic!("round {round}, killed after {moment:?}: {fault}");
                }
            }
            assert!(all.is_empty(), "round {round}: who created {all:?}?");
        }
        report(kills, acknowledged, open, ready);
        sonde.stop();
    });
}

/// A daemon that keeps its state, and has nothing to capture.
fn start(directory: &Path, netns: &Netns) -> Sonde {
    Sonde::start(&config(directory), directory, Some(netns))
}

fn config(directory: &Path) -> String {
    format!("state_dir = '{}'\n", directory.join("state").display())
}

fn at_once<T: Send>(
    clients: &mut [Client],
    work: impl Fn(&mut Client) -> T + Copy + Send,
) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            clients.iter_mut().map(|client| scope.spawn(move || work(client))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn report(kills: u64, acknowledged: u32, open: usize, mut ready: Vec<Duration>) {
    ready.sort();
    let at = |percent: usize| ready[(ready.len() - 1) * percent / 100];
    println!(
        "{kills} kills, {acknowledged} requests acknowledged, {open} open; ready after {:?} (median), \
         {:?} (90 %), {:?} (most)",
        at(50),
        at(90),
        at(100),
    );
    // Some machines are slow, or busy.
    let most = Duration::from_millis(asked("TEST_READY_MS").unwrap_or(10_000));
    assert!(at(100) <= most, "ready after {:?}", at(100));
}

/// How often the daemon is killed.
const KILLS: u64 = 20;

/// Clients at once.
const CLIENTS: usize = 5;

/// Resources that there are, about.
const RESOURCES: usize = 1000;

/// How long clients have until the daemon is killed, at most.
const LATEST: Duration = Duration::from_millis(500);

/// The same of a daemon that has just been started.
const START: Duration = Duration::from_millis(150);
