//! The engine on real sockets: what is sent arrives, whole and in order, by either backend.

mod support;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use support::{Owned, received};
use wasi_udp_engine::socket::{Buffers, Interest, UdpSocket, poll};

const LOOPBACKS: [SocketAddr; 2] = [
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];

fn bound(loopback: SocketAddr) -> (UdpSocket, SocketAddr) {
    let mut socket = UdpSocket::open(loopback.is_ipv6()).expect("open");
    socket.bind(loopback).expect("bind");
    let address = socket.local_address().expect("an address");
    (socket, address)
}

fn readable(socket: &UdpSocket, timeout: Duration) -> bool {
    let mut interests = [Interest { socket, readable: true, writable: false, ready: false }];
    poll(&mut interests, Some(timeout)).expect("poll") == 1
}

/// Everything that arrives within a moment of silence.
fn drain(socket: &mut UdpSocket, buffers: &mut Buffers, max: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut payload = vec![0; 16 * 65_536];
    let mut all = Vec::new();
    while readable(socket, Duration::from_millis(200)) {
        all.extend(received(&mut payload, max, |payload, table| {
            socket.receive(buffers, payload, table).expect("receive")
        }));
    }
    all
}

/// Datagrams of many sizes: runs of equal ones, shorter ends, empty ones, the largest.
fn mixture() -> Vec<Vec<u8>> {
    let sizes = [64, 64, 64, 10, 0, 0, 1200, 1200, 1200, 1200, 1201, 8192, 8192, 1, 65_507, 5, 5, 5];
    sizes.iter().enumerate().map(|(i, &size)| (0..size).map(|at| (at * 7 + i) as u8).collect()).collect()
}

#[test]
fn a_mixed_batch_arrives_whole_and_in_order() {
    for loopback in LOOPBACKS {
        for coalesce in [false, true] {
            for max in [1, 3, 1024] {
                let (mut receiver, to) = bound(loopback);
                if receiver.coalesce_receives(coalesce).is_err() {
                    continue;
                }
                let (mut sender, from) = bound(loopback);
                let mut buffers = Buffers::default();
                let datagrams = mixture();
                let owned = Owned::new(&datagrams.iter().map(|bytes| (Some(to), bytes.clone())).collect::<Vec<_>>());
                assert_eq!(sender.send(&mut buffers, &owned.batch()), Ok(datagrams.len()));
                let expected: Vec<_> = datagrams.into_iter().map(|bytes| (from, bytes)).collect();
                assert!(
                    drain(&mut receiver, &mut buffers, max) == expected,
                    "{loopback}, coalesce {coalesce}, max {max}"
                );
            }
        }
    }
}

#[test]
fn runs_leave_segmented_where_the_backend_can_and_plainly_where_it_is_turned_off() {
    for loopback in LOOPBACKS {
        let (_receiver, to) = bound(loopback);
        let (mut sender, _) = bound(loopback);
        let mut buffers = Buffers::default();
        let owned = Owned::new(&vec![(Some(to), vec![7; 100]); 200]);
        let can = sender.segmentation();
        assert_eq!(sender.send(&mut buffers, &owned.batch()), Ok(200));
        assert_eq!(sender.statistics().segmented_runs, if can { 4 } else { 0 });
        sender.set_segmentation(false);
        assert_eq!(sender.send(&mut buffers, &owned.batch()), Ok(200));
        assert_eq!(sender.statistics().segmented_runs, if can { 4 } else { 0 });
    }
}

#[test]
fn a_refused_connection_is_reported_once() {
    for loopback in LOOPBACKS {
        // Nothing listens on port 1, and no system gives it to a socket that asks for any.
        let mut to = loopback;
        to.set_port(1);
        let (mut sender, _) = bound(loopback);
        sender.connect(to).expect("connect");
        let mut buffers = Buffers::default();
        let owned = Owned::new(&[(None, vec![1])]);
        assert_eq!(sender.send(&mut buffers, &owned.batch()), Ok(1));
        // The ICMP message comes in its own time.
        let mut interests = [Interest { socket: &sender, readable: true, writable: false, ready: false }];
        assert_eq!(poll(&mut interests, Some(Duration::from_secs(5))), Ok(1));
        let errno = sender.check_send().expect_err("the refusal is pending");
        assert_eq!(errno.name(), "ECONNREFUSED");
        assert_eq!(sender.check_send(), Ok(true));
        assert_eq!(sender.send(&mut buffers, &owned.batch()), Ok(1));
    }
}

#[test]
fn the_bound_port_survives_reconnecting_and_disconnecting() {
    for loopback in LOOPBACKS {
        for unspecified in [false, true] {
            let mut local = loopback;
            if unspecified {
                local.set_ip(if loopback.is_ipv4() {
                    Ipv4Addr::UNSPECIFIED.into()
                } else {
                    Ipv6Addr::UNSPECIFIED.into()
                });
            }
            let (mut socket, address) = bound(local);
            let (_one, first) = bound(loopback);
            let (_two, second) = bound(loopback);
            for _ in 0..3 {
                socket.connect(first).expect("connect");
                socket.connect(second).expect("reconnect");
                assert_eq!(socket.local_address().expect("an address").port(), address.port());
                socket.disconnect().expect("disconnect");
                assert_eq!(socket.local_address(), Ok(address));
            }
            // The port is held: nobody else gets it.
            let mut other = UdpSocket::open(loopback.is_ipv6()).expect("open");
            assert_eq!(other.bind(address).expect_err("in use").name(), "EADDRINUSE");
        }
    }
}

#[test]
fn ten_thousand_sockets_leave_no_descriptor() {
    let count = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // Other tests open sockets at the same time, so a leak is told from them by its size.
    let before = count();
    for i in 0..10_000 {
        bound(LOOPBACKS[i % 2]);
    }
    assert!(count() < before + 1000);
}
