//! The engine on real sockets: what is sent arrives, whole and in order, by either backend.

mod support;

use proptest::prelude::*;
use std::collections::HashSet;
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{LOOPBACKS, Owned, PATIENCE, bound, ready, receive, received, refusing, send_all, unspecified};
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::socket::{Buffers, Interest, Ready, UdpSocket, poll};

/// Datagrams whose bytes tell them apart.
fn datagrams(sizes: &[usize]) -> Vec<Vec<u8>> {
    sizes.iter().enumerate().map(|(i, &size)| (0..size).map(|at| (at * 7 + i) as u8).collect()).collect()
}

fn addressed(to: Option<SocketAddr>, datagrams: &[Vec<u8>]) -> Owned {
    Owned::new(&datagrams.iter().map(|bytes| (to, bytes.clone())).collect::<Vec<_>>())
}

/// Many sizes: runs of equal ones, shorter ends, empty ones, the largest.
const MIXTURE: [usize; 18] = [64, 64, 64, 10, 0, 0, 1200, 1200, 1200, 1200, 1201, 8192, 8192, 1, 65_507, 5, 5, 5];

#[test]
fn a_mixed_batch_arrives_whole_and_in_order() {
    for loopback in LOOPBACKS {
        for coalesce in [false, true] {
            for connected in [false, true] {
                for max in [1, 3, 1024] {
                    let (mut receiver, to) = bound(loopback);
                    let (mut sender, from) = bound(loopback);
                    if coalesce && receiver.coalesce_receives(true).is_err() {
                        continue;
                    }
                    if connected {
                        sender.connect(to).expect("connect");
                    }
                    let datagrams = datagrams(&MIXTURE);
                    let batch = addressed((!connected).then_some(to), &datagrams);
                    assert_eq!(sender.send(&mut Buffers::default(), &batch.batch()), Ok(datagrams.len()));
                    let arrived = receive(&mut receiver, datagrams.len(), max);
                    let expected: Vec<_> = datagrams.into_iter().map(|bytes| (from, bytes)).collect();
                    assert!(arrived == expected, "{loopback}, coalesce {coalesce}, connected {connected}, max {max}");
                }
            }
        }
    }
}

#[test]
fn each_datagram_goes_to_its_own_destination() {
    for loopback in LOOPBACKS {
        let mut receivers: Vec<_> = (0..3).map(|_| bound(loopback)).collect();
        let (mut sender, from) = bound(loopback);
        // In turn, in pairs, in runs.
        let order = [0, 1, 2, 0, 1, 2, 0, 0, 1, 1, 0, 2, 2, 2, 2, 1, 1, 1, 0];
        let datagrams: Vec<_> =
            order.iter().zip(0u8..).map(|(&to, byte)| (Some(receivers[to].1), vec![byte; 20])).collect();
        for segmentation in [true, false] {
            sender.set_segmentation(segmentation);
            let batch = Owned::new(&datagrams);
            assert_eq!(sender.send(&mut Buffers::default(), &batch.batch()), Ok(order.len()));
            for (receiver, address) in &mut receivers {
                let expected: Vec<_> = datagrams
                    .iter()
                    .filter(|(to, _)| *to == Some(*address))
                    .map(|(_, bytes)| (from, bytes.clone()))
                    .collect();
                assert_eq!(receive(receiver, expected.len(), 1024), expected);
            }
        }
    }
}

/// One round of the property below: datagrams that lie anywhere in the payload, and overlap.
fn lies_anywhere(loopback: SocketAddr, places: &[(usize, usize)], coalesce: bool, max: usize) {
    let (mut receiver, to) = bound(loopback);
    let (mut sender, _) = bound(loopback);
    let _ = receiver.coalesce_receives(coalesce);
    let mut batch = Owned::apart(&vec![(Some(to), Vec::new()); places.len()]);
    batch.payload = (0..20_000).map(|at| (at % 251) as u8).collect();
    for (index, &(offset, length)) in places.iter().enumerate() {
        batch.set_entry(index, [offset as u32, length as u32, 0, 1]);
    }
    assert_eq!(sender.send(&mut Buffers::default(), &batch.batch()), Ok(places.len()));
    let arrived: Vec<_> = receive(&mut receiver, places.len(), max).into_iter().map(|(_, bytes)| bytes).collect();
    let expected: Vec<_> =
        places.iter().map(|&(offset, length)| batch.payload[offset..offset + length].to_vec()).collect();
    assert!(arrived == expected, "{places:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn datagrams_may_lie_anywhere_in_the_payload(
        places in prop::collection::vec(
            (0usize..10_000, prop_oneof![4 => Just(100), 1 => Just(99), 1 => Just(0), 1 => 1usize..3000]), 1..100),
        in_order in any::<bool>(), coalesce in any::<bool>(), max in 1usize..130, ipv6 in any::<bool>(),
    ) {
        let mut places = places;
        if in_order {
            let mut end = 0;
            for (offset, length) in &mut places {
                // Mostly one behind the other, now and then with a gap.
                *offset = (end + usize::from(*offset % 10 == 0)) % 15_000;
                end = *offset + *length;
            }
        }
        lies_anywhere(LOOPBACKS[usize::from(ipv6)], &places, coalesce, max);
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
        assert_eq!((sender.statistics().calls, sender.statistics().datagrams), (1, 200));
        sender.set_segmentation(false);
        assert_eq!(sender.send(&mut buffers, &owned.batch()), Ok(200));
        assert_eq!(sender.statistics().segmented_runs, if can { 4 } else { 0 });
    }
}

#[test]
fn the_environment_turns_segmentation_off() {
    const TEST: &str = "the_environment_turns_segmentation_off";
    if env::var_os("WASI_UDP_GSO").is_some() {
        let (mut sender, to) = bound(LOOPBACKS[0]);
        let owned = Owned::new(&vec![(Some(to), vec![7; 100]); 200]);
        assert_eq!(sender.send(&mut Buffers::default(), &owned.batch()), Ok(200));
        assert_eq!((sender.statistics().segmented_runs, sender.segmentation()), (0, false));
        return;
    }
    let program = env::current_exe().expect("this program");
    let status = Command::new(program).args(["--exact", TEST]).env("WASI_UDP_GSO", "0").status();
    assert!(status.expect("this program runs").success());
}

#[test]
fn a_datagram_that_the_kernel_finds_too_large_ends_the_batch_there() {
    for loopback in LOOPBACKS {
        let (mut receiver, to) = bound(loopback);
        let (mut sender, _) = bound(loopback);
        let mut buffers = Buffers::default();
        let owned = addressed(Some(to), &datagrams(&[100, 100, 100, 66_000, 100]));
        assert_eq!(sender.send(&mut buffers, &owned.batch()), Ok(3));
        assert_eq!(receive(&mut receiver, 3, 1024).len(), 3);
        assert_eq!(sender.check_send(), Ok(true), "the error will recur, and is not kept");
        let rest = addressed(Some(to), &datagrams(&[66_000, 100]));
        let errno = sender.send(&mut buffers, &rest.batch()).expect_err("too large");
        assert_eq!((errno.name().as_str(), errno.error_code().name()), ("EMSGSIZE", "datagram-too-large"));
    }
}

#[test]
fn the_bound_address_survives_reconnecting_and_disconnecting() {
    for loopback in LOOPBACKS {
        for local in [loopback, unspecified(loopback)] {
            let (mut socket, address) = bound(local);
            let (mut one, first) = bound(loopback);
            let (mut two, second) = bound(loopback);
            let here = SocketAddr::new(loopback.ip(), address.port());
            for _ in 0..3 {
                // What arrives before the connection, or from its peer, is received; what others send later is not.
                send_all(&mut two, &[(Some(here), vec![1])]).expect("send");
                assert!(ready(&socket, true, false, PATIENCE));
                socket.connect(first).expect("connect");
                send_all(&mut two, &[(Some(here), vec![2])]).expect("send");
                send_all(&mut one, &[(Some(here), vec![3])]).expect("send");
                assert_eq!(receive(&mut socket, 2, 9), [(second, vec![1]), (first, vec![3])]);
                socket.connect(second).expect("reconnect");
                assert_eq!(socket.local_address(), Ok(here));
                send_all(&mut socket, &[(None, vec![4])]).expect("send");
                assert_eq!(receive(&mut two, 1, 9), [(here, vec![4])]);
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
fn a_connect_that_fails_leaves_a_socket_that_hears_of_no_refusal() {
    let (_refusing, closed) = refusing(LOOPBACKS[0]);
    let (mut socket, _) = bound(unspecified(LOOPBACKS[0]));
    // Broadcast takes an option that is not set: EACCES.
    let broadcast = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
    socket.connect(broadcast).expect_err("a connect that fails");
    for _ in 0..3 {
        assert_eq!(send_all(&mut socket, &[(Some(closed), vec![1])]), Ok(()), "nobody is told: it has no peer");
    }
    assert_eq!(socket.check_send(), Ok(true));
}

/// Whatever becomes of a socket's connection, a datagram of the peer that it had, has and will have is for it. (A socket bound
/// to the unspecified address changes its local address as it connects, and Linux has it out of its tables for that instant.)
#[test]
fn no_datagram_is_lost_while_the_socket_reconnects() {
    const COUNT: usize = 20_000;
    // So many datagrams fit into any receive buffer.
    const IN_FLIGHT: usize = 50;
    for loopback in LOOPBACKS {
        let (mut socket, address) = bound(loopback);
        let (mut peer, from) = bound(loopback);
        let counted = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..COUNT {
                    let started = Instant::now();
                    while counted.load(Ordering::Acquire) + IN_FLIGHT < i {
                        if started.elapsed() > PATIENCE {
                            return;
                        }
                        thread::yield_now();
                    }
                    send_all(&mut peer, &[(Some(address), vec![1])]).expect("send");
                }
            });
            while counted.load(Ordering::Acquire) < COUNT {
                socket.connect(from).expect("connect");
                socket.connect(from).expect("reconnect");
                socket.disconnect().expect("disconnect");
                let arrived = receive(&mut socket, 1, 1024).len();
                assert!(arrived > 0, "{address}: {} of {COUNT} arrived", counted.load(Ordering::Acquire));
                counted.fetch_add(arrived, Ordering::AcqRel);
            }
        });
    }
}

#[test]
fn sockets_bound_at_the_same_moment_share_no_port() {
    for loopback in LOOPBACKS {
        for _ in 0..10 {
            let barrier = Barrier::new(4);
            let sockets: Vec<_> = thread::scope(|scope| {
                let bind_many = || {
                    barrier.wait();
                    (0..50).map(|_| bound(loopback)).collect::<Vec<_>>()
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(bind_many)).collect();
                threads.into_iter().flat_map(|thread| thread.join().expect("every bind succeeds")).collect()
            });
            let ports: HashSet<_> = sockets.iter().map(|(_, address)| address.port()).collect();
            assert_eq!(ports.len(), sockets.len());
        }
    }
}

#[test]
fn a_poll_waits_for_as_long_as_asked_and_names_who_is_ready() {
    let (mut one, to_one) = bound(LOOPBACKS[0]);
    let (two, _) = bound(LOOPBACKS[1]);
    let started = Instant::now();
    assert!(!ready(&one, true, false, Duration::from_millis(30)));
    assert!(started.elapsed() >= Duration::from_millis(30));
    assert!(ready(&one, true, true, Duration::ZERO), "it can send");
    let (mut sender, _) = bound(LOOPBACKS[0]);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(30));
            send_all(&mut sender, &[(Some(to_one), vec![1])]).expect("send");
        });
        let interest = |socket| Interest { socket, readable: true, writable: false, ready: Ready::default() };
        let mut interests = [interest(&two), interest(&one)];
        assert_eq!(poll(&mut interests, None), Ok(1));
        assert_eq!(interests.map(|one| one.ready.readable), [false, true]);
    });
    assert_eq!(receive(&mut one, 1, 9).len(), 1);
}

#[test]
fn an_error_that_was_kept_is_told_behind_the_datagrams_that_were_kept() {
    for loopback in LOOPBACKS {
        let (mut receiver, to) = bound(loopback);
        let (mut sender, from) = bound(loopback);
        if receiver.coalesce_receives(true).is_err() {
            return; // Then nothing is kept of a single message.
        }
        sender.connect(to).expect("connect");
        let datagrams = datagrams(&[64; 10]);
        assert_eq!(sender.send(&mut Buffers::default(), &addressed(None, &datagrams).batch()), Ok(10));
        let (mut buffers, mut payload) = (Buffers::default(), vec![0; 16 * 65_536]);
        let mut receive = |max| {
            let mut result = Ok(());
            let datagrams = received(&mut payload, max, |payload, table| {
                result = receiver.receive(&mut buffers, payload, table);
                if max == 1 {
                    receiver.defer_error(Errno(libc::ECONNREFUSED));
                }
            });
            (datagrams, result, receiver.left())
        };
        let expected: Vec<_> = datagrams.into_iter().map(|bytes| (from, bytes)).collect();
        let (first, result, left) = receive(1);
        assert_eq!((first, result), (expected[..1].to_vec(), Ok(())));
        assert_eq!((left.datagrams, left.error), (sender.segmentation(), true));
        if !sender.segmentation() {
            continue;
        }
        let (others, result, left) = receive(1024);
        assert_eq!((others, result), (expected[1..].to_vec(), Ok(())));
        assert_eq!((left.datagrams, left.error), (false, true));
        let (none, result, left) = receive(1024);
        assert_eq!((none, result), (vec![], Err(Errno(libc::ECONNREFUSED))));
        assert_eq!((left.datagrams, left.error), (false, false));
    }
}
