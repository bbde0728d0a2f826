//! Many links at once.

use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use crate::netns::{Netns, node, within, within_a_second};

/// Bytes of memory this process has (proc(5), statm).
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Set in a process that runs one test: the memory of others is not counted there.
const ALONE: &str = "SONDE_TEST_ALONE";

#[test]
fn thousands_of_links_leave_nothing_behind() {
    if env::var_os(ALONE).is_none() {
        let test = "many::thousands_of_links_leave_nothing_behind";
        let mut alone = Command::new(env::current_exe().unwrap());
        let output = alone.args(["--exact", test]).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    const PAIRS: usize = 2000;
    let netns = Netns::new("many");
    netns.discover(Vec::new(), async |graph| {
        within_a_second(&graph, "lo", |graph| node(graph, "lo")).await;
        let add: String = (0..PAIRS)
            .map(|n| format!("link add a{n} group 7 type veth peer name b{n}\n"))
            .collect();
        let mut after_first = 0;
        for round in 0..3 {
            netns.ip_batch(&add);
            within(Duration::from_secs(60), &graph, "all links", |graph| {
                let pairs = graph.edges().filter(|edge| edge.metadata["RelationType"] == "layer2");
                (graph.nodes().count() == 2 + 2 * PAIRS && pairs.count() == PAIRS).then_some(())
            })
            .await;
            netns.ip("link del group 7");
            within(Duration::from_secs(60), &graph, "no links", |graph| {
                (graph.nodes().count() == 2 && graph.edges().count() == 1).then_some(())
            })
            .await;
            if round == 0 {
                after_first = resident();
            }
        }
        let grown = resident().saturating_sub(after_first);
        assert!(grown < 32 << 20, "{grown} bytes more after two more rounds");
    });
}
