//! Finds libdpdk by pkg-config, binds what `capsule` and the probe name of it, compiles the shim.

use std::env;
use std::path::PathBuf;
use std::process::exit;

const INSTALL: &str = "apt-get install libdpdk-dev libclang-dev pkg-config";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/shim.c");
    println!("cargo::rerun-if-changed=src/shim.h");

    let dpdk = pkg_config::Config::new()
        .atleast_version("22.11")
        .probe("libdpdk")
        .unwrap_or_else(|_| give_up("libdpdk 22.11 or newer was not found"));
    let flags = compiler_flags();

    let mut shim = cc::Build::new();
    shim.file("src/shim.c").includes(&dpdk.include_paths);
    for flag in &flags {
        shim.flag(flag);
    }
    if shim.try_compile("capsule_ffi_shim").is_err() {
        give_up("the C shim does not compile against libdpdk");
    }

    // Without libclang bindgen does not return an error: it panics.
    let bindings = std::panic::catch_unwind(|| {
        let includes = dpdk.include_paths.iter().map(|path| format!("-I{}", path.display()));
        bindgen::Builder::default()
            .header("src/shim.h")
            .clang_args(includes)
            .clang_args(&flags)
            .allowlist_function(FUNCTIONS)
            .allowlist_type(TYPES)
            .allowlist_var(CONSTANTS)
            // Packed and aligned at once, which Rust has no word for; nobody looks inside.
            .opaque_type("rte_arp_ipv4|rte_arp_hdr")
            .default_enum_style(bindgen::EnumVariation::ModuleConsts)
            .derive_default(true)
            .generate_comments(false)
            .layout_tests(false)
            .rust_edition(bindgen::RustEdition::Edition2024)
            .generate()
    });
    let Ok(Ok(bindings)) = bindings else {
        give_up("libclang was not found, or cannot read DPDK's headers");
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindings.write_to_file(out.join("bindings.rs")).expect("OUT_DIR is writable");
}

/// Flags of libdpdk.pc that the crate pkg-config leaves out. `-march` decides which inline code
/// DPDK's headers offer; without `_GNU_SOURCE` they lack `rte_cpuset_t`.
fn compiler_flags() -> Vec<String> {
    let output = std::process::Command::new("pkg-config")
        .args(["--cflags-only-other", "libdpdk"])
        .output()
        .unwrap_or_else(|_| give_up("pkg-config does not run"));
    let mut flags: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect();
    flags.push("-D_GNU_SOURCE".to_owned());
    flags
}

/// Ends the build with one line that says what to install: cargo fails for the error it is told,
/// and shows the script's whole output only for an exit code.
fn give_up(what: &str) -> ! {
    println!("cargo::error={what}: {INSTALL} (or build with --no-default-features)");
    exit(0);
}

/// Functions of DPDK that are called, and those of the shim.
const FUNCTIONS: &str = "_rte_.*\
    |rte_eal_(init|cleanup|has_hugepages|has_pci)|rte_strerror|rte_socket_(id|count|id_by_idx)\
    |rte_thread_(set_affinity|register|unregister)\
    |rte_pktmbuf_(pool_create|free_bulk)|rte_mempool_free\
    |rte_eth_(allmulticast|promiscuous)_(enable|disable|get)\
    |rte_eth_dev_(adjust_nb_rx_tx_desc|close|configure|get_mtu|get_port_by_name|info_get)\
    |rte_eth_dev_(rss_hash_(conf_get|update)|socket_id|start|stop)\
    |rte_eth_(macaddr_get|rx_queue_setup|tx_queue_setup|stats_get|xstats_get(_names)?)";

/// Types that are named, besides those the functions bring in.
const TYPES: &str =
    "rte_cpuset_t|rte_ether_addr|rte_eth_(conf|dev_info|rx_mq_mode|stats)|rte_mbuf|rte_mempool";

/// Macros with a plain value, and the constants of the shim.
const CONSTANTS: &str =
    "RTE_VER_(YEAR|MONTH|MINOR)|RTE_MBUF_DEFAULT_BUF_SIZE|ETH_RSS_.*|DEV_TX_OFFLOAD_MBUF_FAST_FREE";
