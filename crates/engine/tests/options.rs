//! What a new socket has, and what its options do to the system's own.

#![cfg(all(target_os = "linux", not(feature = "portable")))]

mod support;

use std::mem;
use std::os::fd::AsRawFd;
use support::{LOOPBACKS, bound};
use wasi_udp_engine::socket::UdpSocket;
use wasi_udp_engine::sys;

/// The system's value of an option of UDP, an integer.
fn option(socket: &UdpSocket, name: libc::c_int) -> libc::c_int {
    let mut value: libc::c_int = -1;
    let mut length = mem::size_of::<libc::c_int>() as libc::socklen_t;
    let fd = socket.as_socket().as_raw_fd();
    // SAFETY: both pointers are to locals of the size that `length` says, which live through the call.
    let result = unsafe { libc::getsockopt(fd, libc::SOL_UDP, name, (&raw mut value).cast(), &raw mut length) };
    assert_eq!(result, 0, "the kernel has the option");
    value
}

#[test]
fn segmentation_is_on_where_the_system_has_it_and_turned_on_and_off() {
    for loopback in LOOPBACKS {
        let (mut socket, _) = bound(loopback);
        let has = sys::segmentation(socket.as_socket());
        assert!(has, "every Linux from 4.18 on");
        assert_eq!(socket.segmentation(), has && std::env::var_os("WASI_UDP_GSO").is_none_or(|value| value != "0"));
        for on in [false, true, false] {
            socket.set_segmentation(on);
            assert_eq!(socket.segmentation(), on);
        }
    }
}

#[test]
fn receives_are_coalesced_by_the_system_where_they_are_asked_to_be() {
    for loopback in LOOPBACKS {
        let (mut socket, _) = bound(loopback);
        for on in [true, false, true] {
            socket.coalesce_receives(on).expect("Linux has it from 5.0 on");
            assert_eq!(option(&socket, libc::UDP_GRO), libc::c_int::from(on));
        }
    }
}
