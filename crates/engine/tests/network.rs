//! The engine in a network of its own: a small MTU, routes and peers that refuse, a slow link, several local addresses.

#![cfg(target_os = "linux")]

mod support;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};
use support::namespace::{entered, joined, sh};
use support::{LOOPBACKS, Owned, PATIENCE, bound, ready, receive, received, refusing, send_all};
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::socket::{Buffers, UdpSocket};

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The addresses of the far end of `joined`, port chosen.
fn far() -> [SocketAddr; 2] {
    ["10.9.0.2:0", "[fd09::2]:0"].map(address)
}

fn numbered(count: usize, size: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| (0..size).map(|at| if at < 4 { (number as u32).to_ne_bytes()[at] } else { at as u8 }).collect())
        .collect()
}

#[test]
fn sizes_above_the_mtu_arrive_as_plain_sends_would_and_smaller_ones_segmented() {
    if !entered("sizes_above_the_mtu_arrive_as_plain_sends_would_and_smaller_ones_segmented") {
        return;
    }
    for (mut receiver, to) in joined(1500, far()) {
        for coalesce in [false, true] {
            if receiver.coalesce_receives(coalesce).is_err() {
                continue;
            }
            let mut sender = UdpSocket::open(to.is_ipv6()).expect("open");
            let can = sender.segmentation();
            let sizes = [(1200, 8), (2000, 4), (1200, 8), (9000, 2), (2000, 2), (1200, 8)];
            let datagrams: Vec<_> = sizes.iter().flat_map(|&(size, count)| numbered(count, size)).collect();
            let owned = Owned::new(&datagrams.iter().map(|bytes| (Some(to), bytes.clone())).collect::<Vec<_>>());
            assert_eq!(sender.send(&mut Buffers::default(), &owned.batch()), Ok(datagrams.len()));
            let statistics = sender.statistics();
            let expected = if can { (3, 1) } else { (0, 0) };
            assert_eq!((statistics.segmented_runs, statistics.refused_runs), expected, "{statistics:?}");
            let arrived: Vec<_> =
                receive(&mut receiver, datagrams.len(), 7).into_iter().map(|(_, bytes)| bytes).collect();
            assert!(arrived == datagrams, "{to}, coalesce {coalesce}: {} arrived", arrived.len());
        }
    }
}

#[test]
fn a_socket_that_reconnects_takes_the_local_address_of_its_new_route() {
    if !entered("a_socket_that_reconnects_takes_the_local_address_of_its_new_route") {
        return;
    }
    for (mut receiver, to) in joined(1500, far()) {
        let (loopback, unspecified, near) =
            if to.is_ipv4() { ("127.0.0.1:0", "0.0.0.0:0", "10.9.0.1") } else { ("[::1]:0", "[::]:0", "fd09::1") };
        let (mut local, here) = bound(address(loopback));
        let (mut socket, first) = bound(address(unspecified));
        for _ in 0..2 {
            socket.connect(here).expect("connect");
            assert_eq!(socket.local_address(), Ok(SocketAddr::new(here.ip(), first.port())));
            send_all(&mut socket, &[(None, vec![1])]).expect("send");
            assert_eq!(receive(&mut local, 1, 1), [(SocketAddr::new(here.ip(), first.port()), vec![1])]);
            socket.connect(to).expect("reconnect");
            let source = SocketAddr::new(near.parse().expect("an address"), first.port());
            assert_eq!(socket.local_address(), Ok(source));
            send_all(&mut socket, &[(None, vec![2])]).expect("send");
            assert_eq!(receive(&mut receiver, 1, 1), [(source, vec![2])]);
        }
        socket.disconnect().expect("disconnect");
        assert_eq!(socket.local_address(), Ok(first));
    }
}

#[test]
fn a_route_that_refuses_is_the_error_of_its_datagram_alone() {
    if !entered("a_route_that_refuses_is_the_error_of_its_datagram_alone") {
        return;
    }
    sh("ip route add prohibit 10.8.0.0/24; ip route add unreachable 10.7.0.0/24
        ip route add prohibit fd08::/64; ip route add unreachable fd07::/64");
    let routes = [
        ("10.8.0.1:9", "EACCES", "access-denied"),
        ("10.7.0.1:9", "EHOSTUNREACH", "remote-unreachable"),
        ("10.6.0.1:9", "ENETUNREACH", "remote-unreachable"),
        ("[fd08::1]:9", "EACCES", "access-denied"),
        ("[fd07::1]:9", "EHOSTUNREACH", "remote-unreachable"),
        ("[fd06::1]:9", "ENETUNREACH", "remote-unreachable"),
    ];
    for (to, name, code) in routes {
        let to = address(to);
        let (mut receiver, fine) = bound(address(if to.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }));
        let mut sender = UdpSocket::open(to.is_ipv6()).expect("open");
        let mut buffers = Buffers::default();
        // Runs, so that the second call is made, and learns of an error that recurs: it is not kept.
        let list: Vec<_> =
            [fine, to, fine].iter().flat_map(|&to| (0..5).map(move |byte| (Some(to), vec![byte; 10]))).collect();
        assert_eq!(sender.send(&mut buffers, &Owned::new(&list).batch()), Ok(5));
        assert_eq!(receive(&mut receiver, 5, 9).len(), 5);
        assert_eq!(sender.check_send(), Ok(true));
        let errno = sender.send(&mut buffers, &Owned::new(&list[5..]).batch()).expect_err("the route refuses");
        assert_eq!((errno.name().as_str(), errno.error_code().name()), (name, code));
        assert_eq!(sender.send(&mut buffers, &Owned::new(&list[10..]).batch()), Ok(5));
        assert_eq!(sender.statistics().refused_runs, 0, "the error is not held against segmentation");
    }
}

#[test]
fn a_slow_link_blocks_and_every_accepted_datagram_arrives_once() {
    if !entered("a_slow_link_blocks_and_every_accepted_datagram_arrives_once") {
        return;
    }
    let receivers = joined(1500, far());
    // Slow enough for the receiver to keep up on any machine.
    sh("tc qdisc add dev near root tbf rate 4mbit burst 20kb limit 200kb");
    for (mut receiver, to) in receivers {
        for segmentation in [true, false] {
            let mut sender = UdpSocket::open(to.is_ipv6()).expect("open");
            sender.set_segmentation(segmentation);
            // No more than the link's queue holds: what it drops, the kernel reports as ENOBUFS or not at all.
            sender.as_socket().set_send_buffer_size(30_000).expect("SO_SNDBUF");
            sender.connect(to).expect("connect");
            let datagrams = numbered(250, 1000);
            let arrived = thread::scope(|scope| {
                let receiving = scope.spawn(|| receive(&mut receiver, datagrams.len(), 1024));
                let (mut blocked, mut partial) = (0, 0);
                let mut buffers = Buffers::default();
                let mut left = &datagrams[..];
                while !left.is_empty() {
                    let batch: Vec<_> = left.iter().take(256).map(|bytes| (None, bytes.clone())).collect();
                    let sent = sender.send(&mut buffers, &Owned::new(&batch).batch()).expect("send");
                    left = &left[sent..];
                    partial += usize::from(sent > 0 && sent < batch.len());
                    if sent < batch.len() && sender.check_send() == Ok(false) {
                        // The link may drain between the check and a look.
                        blocked += usize::from(!ready(&sender, false, true, Duration::ZERO));
                        assert!(ready(&sender, false, true, PATIENCE));
                        assert_eq!(sender.check_send(), Ok(true));
                    }
                }
                assert!(
                    blocked > 0 && partial > 0,
                    "blocked {blocked} times, {partial} times in the middle of a batch"
                );
                receiving.join().expect("the receiver")
            });
            let arrived: Vec<_> = arrived.into_iter().map(|(_, bytes)| bytes).collect();
            assert!(arrived == datagrams, "{to}, segmentation {segmentation}: {} arrived", arrived.len());
        }
    }
}

/// Sends to a connected peer that refuses, until its ICMP message has come: the kernel limits how many it sends.
fn provoke(sender: &mut UdpSocket) {
    let started = Instant::now();
    loop {
        // A new thread each time: each processor has a socket of its own for ICMP, and one of them may be busy elsewhere.
        thread::scope(|scope| {
            scope.spawn(|| send_all(sender, &[(None, vec![1])]).expect("the datagram leaves")).join()
        })
        .expect("the sender");
        if ready(sender, true, false, Duration::from_millis(500)) {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "no refusal comes");
    }
}

/// How the error of a refused datagram is learned.
type Learn = fn(&mut UdpSocket) -> Result<(), Errno>;

#[test]
fn a_refused_connection_is_reported_once_by_whichever_call_comes_next() {
    if !entered("a_refused_connection_is_reported_once_by_whichever_call_comes_next") {
        return;
    }
    let learn: [Learn; 3] = [
        |socket| socket.check_send().map(|writable| assert!(writable)),
        |socket| socket.send(&mut Buffers::default(), &Owned::new(&[(None, vec![1])]).batch()).map(|_| ()),
        |socket| {
            let mut result = Ok(());
            let arrived = received(&mut vec![0; 65_536], 1024, |payload, table| {
                result = socket.receive(&mut Buffers::default(), payload, table);
            });
            assert!(arrived.is_empty());
            result
        },
    ];
    for loopback in LOOPBACKS {
        for learn in learn {
            let (_refusing, to) = refusing(loopback);
            let (mut sender, _) = bound(loopback);
            sender.connect(to).expect("connect");
            provoke(&mut sender);
            let errno = learn(&mut sender).expect_err("the refusal is pending");
            assert_eq!((errno.name().as_str(), errno.error_code().name()), ("ECONNREFUSED", "connection-refused"));
            assert_eq!(sender.check_send(), Ok(true), "once");
        }
    }
}

#[test]
fn an_error_that_is_deferred_is_ready_and_reported_once() {
    if !entered("an_error_that_is_deferred_is_ready_and_reported_once") {
        return;
    }
    let (mut socket, to) = bound(LOOPBACKS[0]);
    let (_refusing, refusing) = refusing(LOOPBACKS[0]);
    socket.connect(refusing).expect("connect");
    provoke(&mut socket);
    let refused = socket.check_send().expect_err("refused");
    socket.disconnect().expect("disconnect");
    assert!(!ready(&socket, true, false, Duration::ZERO));
    socket.defer_error(refused);
    assert!(ready(&socket, true, false, Duration::ZERO));
    assert_eq!(socket.send(&mut Buffers::default(), &Owned::new(&[]).batch()), Ok(0), "an empty list is no send");
    assert_eq!(socket.send(&mut Buffers::default(), &Owned::new(&[(Some(to), vec![1])]).batch()), Err(refused));
    assert_eq!(socket.check_send(), Ok(true));
}
