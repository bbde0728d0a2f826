use super::keys::{AUTH_KEYS, KEYS, Meaning};
use crate::config::keys::keys;
use crate::config::{Config, Loaded};

fn load(text: &str) -> anyhow::Result<Loaded> {
    let file = tempfile::Builder::new().suffix(".yml").tempfile()?;
    std::fs::write(&file, text)?;
    Loaded::new(Some(file.path()), [])
}

#[test]
fn the_table_names_keys_that_there_are_and_none_twice() {
    let ours = keys().unwrap();
    for (name, meaning) in KEYS.iter().chain(AUTH_KEYS) {
        let Meaning::Ours(key) = meaning else { continue };
        let found = ours.iter().any(|other| {
            other.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        assert!(found, "{name}: {key}");
    }
    for (i, (name, _)) in KEYS.iter().enumerate() {
        let clash = KEYS.iter().skip(i + 1).find(|(other, _)| {
            let nested = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|c| c.starts_with('.'));
            name == other || nested(name, other) || nested(other, name)
        });
        assert!(clash.is_none(), "{name} and {clash:?}", clash = clash.map(|(key, _)| key));
    }
}

#[test]
fn each_key_is_the_same_as_ours() {
    for (yaml, toml) in [
        ("", ""),
        ("# nothing\n", ""),
        ("host_id: a", "host_id = 'a'"),
        ("host_id: 42", "host_id = '42'"),
        ("host_id:\nflow:\ntls:\n  server_cert: ''\n  ca_cert:\nauth:\n  a:", ""),
        ("analyzer:\n  listen: 0.0.0.0:1", "listen = '0.0.0.0:1'"),
        ("analyzer:\n  listen: :8083", "listen = '127.0.0.1:8083'"),
        (
            "flow:\n  expire: 7\n  update: 3\n  max_entries: 9",
            "flow = { expire = 7, update = 3, max_flows = 9 }",
        ),
        (
            "flow:\n  application_ports:\n    tcp:\n      8080: HTTP\n    udp:",
            "flow.application_ports.tcp.8080 = 'HTTP'",
        ),
        (
            "flow:\n  application_timeout: {arp: 1, dns: 2}",
            "flow.application_timeout = { arp = 1, dns = 2 }",
        ),
        (
            "analyzer:\n  startup:\n    capture_bpf: tcp\n    capture_gremlin: G.V()\n    capture_type: pcap",
            "startup_capture = { gremlin = 'G.V()', bpf = 'tcp', type = 'pcap' }",
        ),
        ("analyzer:\n  startup:\n    capture_bpf: ''\n    capture_gremlin: ''", ""),
        (
            "agent:\n  flow:\n    pcapsocket: {bind_address: 0.0.0.0, min_port: 1, max_port: 2}",
            "pcap_socket = { address = '0.0.0.0', min_port = 1, max_port = 2 }",
        ),
        ("flow:\n  default_layer_key_mode: L3", "flow.layer_key_mode = 'L3'"),
        ("agent:\n  topology:\n    netns:\n      run_path: /a", "discovery.netns_dir = '/a'"),
        ("netns:\n  run_path: /a", "discovery.netns_dir = '/a'"),
        (
            "tls:\n  server_cert: a\n  server_key: b\n  ca_cert: c\n  require_client_cert: true",
            "tls = { server_cert = 'a', server_key = 'b', ca_cert = 'c', require_client_cert = true }",
        ),
        ("rbac:\n  policy:\n    - g, ann, guest", "rbac.policy = ['g, ann, guest']"),
        ("etcd:\n  data_dir: /a", "state_dir = '/a'"),
        ("logging:\n  level: WARNING", "log.level = 'warn'"),
        (
            "ui:\n  topology:\n    favorites:\n      all: G.V()\n    limit: 3",
            "ui.topology = { favorites = { all = 'G.V()' }, limit = 3 }",
        ),
        (
            "analyzer:\n  auth:\n    api:\n      backend: mine\n\
             auth:\n  mine:\n    type: basic\n    users: {ann: hunter2}\n    file: f\n    role: guest",
            "auth = { backend = 'basic', users = { ann = 'hunter2' }, file = 'f', role = 'guest' }",
        ),
        (
            "analyzer:\n  auth:\n    api:\n      backend: basic\nauth:\n  basic:\n    file: f",
            "auth = { backend = 'basic', file = 'f' }",
        ),
        ("analyzer:\n  auth:\n    api:\n      backend: noauth", ""),
    ] {
        let Loaded { config, warnings } =
            load(yaml).unwrap_or_else(|error| panic!("{yaml}: {error:#}"));
        let expected = Config::parse(toml).unwrap();
        assert_eq!(format!("{config:?}"), format!("{expected:?}"), "{yaml}");
        assert!(warnings.is_empty(), "{yaml}: {warnings:?}");
    }
}

#[test]
fn what_means_nothing_here_is_warned_of() {
    let text = "analyzers:\n  - 127.0.0.1:8082\nlogging:\n  color: true\n\
                agent:\n  topology:\n    probes: [ovsdb]\n    ovs:\n\
                auth:\n  other:\n    type: basic\n    users: {ann: hunter2}\n";
    let warnings = load(text).unwrap().warnings;
    let mut keys: Vec<_> = warnings.iter().filter_map(|line| line.split(": ").next()).collect();
    keys.sort_unstable();
    let expected = [
        "agent.topology.probes",
        "analyzers",
        "auth.other.type",
        "auth.other.users",
        "logging.color",
    ];
    assert_eq!(keys, expected);
    assert!(!format!("{warnings:?}").contains("hunter2"));
}

#[test]
fn what_is_wrong_is_named() {
    for (text, part) in [
        ("flow:\n  updaet: 3", "flow.updaet: Skydive has no such key; did you mean `update`?"),
        ("flow:\n  updaet:", "flow.updaet: Skydive has no such key"),
        ("folw:\n  update: 3", "folw: Skydive has no such key; did you mean `flow`?"),
        ("listen: a", "listen: Skydive has no such key"),
        (
            "auth:\n  a:\n    user: {}",
            "auth.a.user: Skydive has no such key; did you mean `users`?",
        ),
        ("analyzer.auth.api.backend: a", "expected one name a level"),
        ("analyzer: {auth: {api: {backend: 3}}}", "backend: expected the name of a section"),
        ("flow: 3", "flow: expected keys below it, found a value"),
        ("- flow", "the file: expected keys below it"),
        ("flow:\n  update: soon", "flow.update: invalid type: string \"soon\""),
        ("flow:\n  update: 18446744073709551615", "flow.update: "),
        ("flow:\n  update: 99999999999999999999", "flow.update: "),
        ("flow:\n  update: 0", "flow.update: expected at least 1 second"),
        ("flow:\n  application_ports:\n    tpc: {}", "did you mean `tcp`?"),
        ("analyzer:\n  listen: nowhere", "analyzer.listen: invalid socket address"),
        (
            "analyzer:\n  auth:\n    api:\n      backend: keystone",
            "analyzer.auth.api.backend: unknown variant `keystone`, expected `noauth` or `basic`",
        ),
        ("flow:\n  update: [", "line 2, column 11"),
        ("flow: {}\nflow: {}", "line 2, column 1"),
    ] {
        let error = format!("{:#}", load(text).unwrap_err());
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn no_error_shows_a_password() {
    let start = "analyzer: {auth: {api: {backend: a}}}\nauth:\n  a:\n    type: basic\n    users:";
    for rest in [
        " ann:hunter2",
        " 4711",
        " [hunter2]",
        "\n      ann: 4711",
        "\n      ann: 47.11",
        "\n      ann: 471199999999999999999999",
        "\n      ann: [hunter2]",
        "\n      ann: {hunter2: 1}",
        "\n      ann: 'hunter2",
        "\n      ann: *hunter2",
        "\n      ann: hunter2: 4711",
        "\n      ann: {hunter2",
        "\n      ann: !!int hunter2",
    ] {
        let error = format!("{:?}", load(&format!("{start}{rest}")).unwrap_err());
        assert!(!error.contains("hunter2") && !error.contains("4711"), "{rest}: {error}");
    }
}
