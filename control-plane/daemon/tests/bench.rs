//! `sonde bench`: figures of this machine.

use serde_json::Value;

use crate::support::sonde::run;

#[test]
fn figures_account_for_every_frame() {
    let output = run(&[
        "bench",
        "--traffic",
        "mix",
        "--flows",
        "100",
        "--packets",
        "20000",
        "--output",
        "json",
    ]);
    assert!(output.status.success());
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(figures["packets"], 20_000);
    assert_eq!(figures["unaccounted"], 0);
    assert_eq!(figures["through"], "memory");
    assert!(figures["ns_per_packet"].as_f64() > Some(0.0));
    assert!(figures["flows_in_table"].as_u64() > Some(100));
    assert!(figures["resident_bytes"].as_u64() > Some(1 << 20));
    assert!(figures["machine"]["cores"].as_u64() > Some(0));
}

#[test]
fn a_plot_has_a_point_for_each_number_of_flows() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("flows.svg");
    let path = file.to_str().unwrap();
    let output = run(&["bench", "--plot", path, "--flows", "10000", "--packets", "1000"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 4);
    let svg = std::fs::read_to_string(&file).unwrap();
    assert_eq!(svg.matches("<circle").count(), 3);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    for (arguments, part) in [
        (&["--packets", "1", "--seconds", "1"][..], "expected --packets or --seconds"),
        (&["--plot", "/dev/null", "--traffic", "flood"][..], "not a flood"),
    ] {
        let output = run(&[&["bench"][..], arguments].concat());
        assert!(!output.status.success());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(part), "{error}");
    }
}

#[cfg(feature = "dpdk")]
#[test]
fn ports_are_measured_as_the_daemon_polls_them() {
    for arguments in
        [&["--through", "net_null"][..], &["--through", "net_pcap", "--packets", "1000"][..]]
    {
        let words = [&["bench", "--seconds", "1", "--output", "json"][..], arguments].concat();
        let output = run(&words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(figures["through"], arguments[1]);
        assert!(figures["packets"].as_u64() > Some(1000), "{figures}");
        assert!(figures["flows_in_table"].as_u64() > Some(0), "{figures}");
        assert_eq!(figures["unaccounted"], 0);
    }
}
