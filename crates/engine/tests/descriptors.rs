//! Sockets leave no descriptor: a program of its own, so that every open descriptor is this test's.

#![cfg(target_os = "linux")]

mod support;

use support::{LOOPBACKS, bound};
use wasi_udp_engine::socket::UdpSocket;

#[test]
fn ten_thousand_sockets_leave_no_descriptor() {
    let count = || std::fs::read_dir("/proc/self/fd").expect("/proc").count();
    let before = count();
    for i in 0..10_000 {
        let (mut socket, address) = bound(LOOPBACKS[i % 2]);
        socket.connect(address).expect("connect");
        // A failure on the way leaves none either.
        let mut second = UdpSocket::open(address.is_ipv6()).expect("open");
        assert!(second.bind(address).is_err());
        if i == 5000 {
            assert_eq!(count(), before + 2);
        }
    }
    assert_eq!(count(), before);
}
