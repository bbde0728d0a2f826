//! The kernel NIC interface, which DPDK gave up (deprecated in 22.11, removed in 23.11).
//!
//! Its types and calls are kept so that capsule compiles. [`rte_kni_init`] answers ENOTSUP, and
//! capsule calls it before all others.

use std::ffi::{c_char, c_int, c_uint};
use std::ptr;

use crate::bindings::{rte_mbuf, rte_mempool};

/// A kernel interface; there are none.
#[derive(Debug)]
#[repr(C)]
pub struct rte_kni {
    _opaque: [u8; 0],
}

/// What a kernel interface is made from.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct rte_kni_conf {
    /// Name of the interface.
    pub name: [c_char; 32],
    /// Port it stands for.
    pub group_id: u16,
    /// Size of an mbuf in bytes.
    pub mbuf_size: c_uint,
    /// Its Ethernet address.
    pub mac_addr: [u8; 6],
}

/// What the kernel may ask of a port.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct rte_kni_ops {
    /// The port that is asked.
    pub port_id: u16,
    /// Change the MTU.
    pub change_mtu: Option<extern "C" fn(u16, c_uint) -> c_int>,
    /// Bring the interface up or down.
    pub config_network_if: Option<extern "C" fn(u16, u8) -> c_int>,
    /// Change the Ethernet address.
    pub config_mac_address: Option<extern "C" fn(u16, *mut u8) -> c_int>,
    /// Change promiscuous mode.
    pub config_promiscusity: Option<extern "C" fn(u16, u8) -> c_int>,
}

/// Declares calls that do nothing and answer that they cannot.
macro_rules! unsupported {
    ($(fn $name:ident($($argument:ty),*) -> $type:ty { $answer:expr })*) => {$(
        /// Answers that there are no kernel interfaces.
        ///
        /// # Safety
        ///
        /// Safe to call; capsule expects a foreign function.
        pub unsafe fn $name($(_: $argument),*) -> $type {
            $answer
        }
    )*};
}

unsupported! {
    fn rte_kni_init(c_uint) -> c_int { -libc::ENOTSUP }
    fn rte_kni_alloc(*mut rte_mempool, *const rte_kni_conf, *mut rte_kni_ops) -> *mut rte_kni {
        ptr::null_mut()
    }
    fn rte_kni_release(*mut rte_kni) -> c_int { -libc::ENOTSUP }
    fn rte_kni_handle_request(*mut rte_kni) -> c_int { -libc::ENOTSUP }
    fn rte_kni_rx_burst(*mut rte_kni, *mut *mut rte_mbuf, c_uint) -> c_uint { 0 }
    fn rte_kni_tx_burst(*mut rte_kni, *mut *mut rte_mbuf, c_uint) -> c_uint { 0 }
}

/// Nothing to close.
///
/// # Safety
///
/// Safe to call; capsule expects a foreign function.
pub unsafe fn rte_kni_close() {}
