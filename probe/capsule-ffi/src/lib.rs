//! capsule-ffi for DPDK 22.11 and newer.
