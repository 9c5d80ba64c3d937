//! The engine where a filter refuses system calls, seccomp(2): each is in a thread of its own, which the filter is for.

#![cfg(all(target_os = "linux", not(any(feature = "portable", feature = "simulated"))))]

mod support;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;
use support::{LOOPBACKS, Owned, bound, ready, receive, received, refusing};
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::socket::Buffers;
use wasi_udp_engine::sys;

/// What a filter looks at: the number of a system call, and a bit of its third argument, 0 for any.
type Call = (i64, i32);

const SENDTO: Call = (libc::SYS_sendto, 0);
const SENDMMSG: Call = (libc::SYS_sendmmsg, 0);
const SENDMSG: Call = (libc::SYS_sendmsg, 0);
const RECVMMSG: Call = (libc::SYS_recvmmsg, 0);
const RECVMSG: Call = (libc::SYS_recvmsg, 0);
const ERROR_QUEUE: Call = (libc::SYS_recvmsg, libc::MSG_ERRQUEUE);

/// The refusals to try: each call, and those together that do each other's work, but for the last of them.
const CASES: &[&[Call]] = &[
    &[],
    &[SENDTO],
    &[SENDMMSG],
    &[SENDMSG],
    &[SENDMMSG, SENDMSG],
    &[SENDTO, SENDMMSG],
    &[RECVMMSG],
    &[RECVMSG],
    &[RECVMMSG, RECVMSG],
    &[ERROR_QUEUE],
    &[SENDMMSG, RECVMMSG, ERROR_QUEUE],
    &[SENDMMSG, SENDMSG, RECVMMSG, RECVMSG],
];

const ERRORS: [i32; 2] = [libc::ENOSYS, libc::EPERM];

/// Has the system refuse those calls to this thread, with that error.
fn refuse(calls: &[Call], errno: i32) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const HAS_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    /// Where seccomp_data has the number, and the low half of the third argument.
    const NUMBER: u32 = 0;
    const THIRD: u32 = 32;
    let line = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = Vec::new();
    for &(number, bit) in calls {
        filter.push(line(LOAD, 0, 0, NUMBER));
        filter.push(line(EQUAL, 0, if bit == 0 { 1 } else { 3 }, number as u32));
        if bit != 0 {
            filter.push(line(LOAD, 0, 0, THIRD));
            filter.push(line(HAS_BIT, 0, 1, bit as u32));
        }
        filter.push(line(ANSWER, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32));
    }
    filter.push(line(ANSWER, 0, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program points to as many instructions as it says, which live through the call; the kernel copies them.
    let answer = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    assert_eq!(answer, 0, "a filter: {}", Errno::last());
}

/// Runs a body for each of the cases, with nothing refused to any other thread.
fn in_each_case(body: impl Fn(&str) + Sync) {
    for calls in CASES {
        for errno in ERRORS {
            let run = || {
                refuse(calls, errno);
                body(&format!("{calls:?} {}", Errno(errno)));
            };
            thread::scope(|scope| scope.spawn(run).join()).expect("the case");
        }
    }
}

/// Datagrams of those sizes, numbered.
fn datagrams(sizes: impl Iterator<Item = usize>) -> Vec<Vec<u8>> {
    sizes.enumerate().map(|(number, size)| (0..size).map(|at| (number * 31 + at) as u8).collect()).collect()
}

/// Sends a list to a receiver, in as many calls as it takes, and receives it; whether it arrived whole, in order, once.
fn passes(buffers: &mut Buffers, loopback: SocketAddr, connected: bool, coalesce: bool, max: usize, list: &[Vec<u8>]) {
    let (mut receiver, to) = bound(loopback);
    let (mut sender, from) = bound(loopback);
    let _ = receiver.coalesce_receives(coalesce);
    if connected {
        sender.connect(to).expect("connect");
    }
    let mut sent = 0;
    let mut arrived = Vec::new();
    while sent < list.len() {
        // No more at a time than a receive buffer holds.
        let part: Vec<_> =
            list[sent..].iter().take(100).map(|bytes| ((!connected).then_some(to), bytes.clone())).collect();
        assert_eq!(sender.send(buffers, &Owned::new(&part).batch()), Ok(part.len()));
        sent += part.len();
        arrived.extend(receive(&mut receiver, part.len(), max));
    }
    assert!(!ready(&receiver, true, false, Duration::ZERO), "more than was sent");
    let expected: Vec<_> = list.iter().map(|bytes| (from, bytes.clone())).collect();
    assert!(arrived == expected, "{} of {} arrived", arrived.len(), expected.len());
    assert_eq!(sender.check_send(), Ok(true), "nothing is left to tell");
}

#[test]
fn lists_arrive_whole_in_order_and_once() {
    in_each_case(|case| {
        let mut buffers = Buffers::default();
        let lists = [vec![7], vec![64; 100], vec![64; 1000], (0..100).map(|i| i % 23 * 50).collect(), vec![0, 0, 1, 0]];
        for loopback in LOOPBACKS {
            for list in &lists {
                let list = datagrams(list.iter().copied());
                for (connected, coalesce, max) in [(true, true, 1024), (false, true, 1), (false, false, 1024)] {
                    println!("{case}, {loopback}, {} datagrams, {connected} {coalesce} {max}", list.len());
                    passes(&mut buffers, loopback, connected, coalesce, max, &list);
                }
            }
        }
    });
}

#[test]
fn the_refusal_of_a_peer_is_told_and_no_other_error() {
    in_each_case(|case| {
        let mut buffers = Buffers::default();
        for loopback in LOOPBACKS {
            for size in [1, 2] {
                let (_refusing, to) = refusing(loopback);
                let (mut sender, _) = bound(loopback);
                sender.connect(to).expect("connect");
                // Without runs: the second of a list meets what the first left.
                let list: Vec<_> = (1..=size).map(|bytes| (None, vec![1; bytes])).collect();
                let mut told = HashSet::new();
                // The kernel limits how many refusals it sends.
                for _ in 0..200 {
                    match sender.send(&mut buffers, &Owned::new(&list).batch()) {
                        Ok(sent) => assert!((1..=size).contains(&sent)),
                        Err(errno) => drop(told.insert(errno.name())),
                    }
                    let answer = received(&mut vec![0; 65_536], 1024, |payload, table| {
                        if let Err(errno) = sender.receive(&mut Buffers::default(), payload, table) {
                            told.insert(errno.name());
                        }
                    });
                    assert!(answer.is_empty());
                    if !told.is_empty() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(20));
                }
                assert_eq!(told, HashSet::from(["ECONNREFUSED".to_owned()]), "{case}, lists of {size}");
            }
        }
    });
}

#[test]
fn what_no_other_call_does_is_told_as_it_is() {
    for errno in ERRORS {
        let run = || {
            let (mut socket, to) = bound(LOOPBACKS[0]);
            refuse(&[SENDTO, SENDMMSG, SENDMSG, RECVMMSG, RECVMSG, (libc::SYS_recvfrom, 0)], errno);
            for count in [1, 2, 100] {
                let list = Owned::new(&vec![(Some(to), vec![1]); count]);
                assert_eq!(socket.send(&mut Buffers::default(), &list.batch()), Err(Errno(errno)));
            }
            let arrived = received(&mut vec![0; 65_536], 1024, |payload, table| {
                assert_eq!(socket.receive(&mut Buffers::default(), payload, table), Err(Errno(errno)));
            });
            assert!(arrived.is_empty());
        };
        thread::scope(|scope| scope.spawn(run).join()).expect("the case");
    }
}

#[test]
fn the_calls_that_are_refused_are_told_by_name() {
    assert_eq!(sys::refusals(), []);
    for errno in ERRORS {
        let run = || {
            refuse(&[SENDMMSG, ERROR_QUEUE, (libc::SYS_epoll_create1, 0)], errno);
            let told: Vec<_> = sys::refusals().iter().map(|refusal| (refusal.call, refusal.errno)).collect();
            let names = ["sendmmsg", "recvmsg with MSG_ERRQUEUE", "epoll_create1"];
            assert_eq!(told, names.map(|name| (name, Errno(errno))));
        };
        thread::scope(|scope| scope.spawn(run).join()).expect("the case");
    }
}

#[test]
fn an_error_of_a_datagram_is_told_as_it_is_and_nothing_is_remembered() {
    for errno in ERRORS {
        let run = || {
            let (mut receiver, to) = bound(LOOPBACKS[0]);
            let (mut sender, _) = bound(LOOPBACKS[0]);
            let list = |count| Owned::new(&(0..count).map(|size| (Some(to), vec![1; size % 2])).collect::<Vec<_>>());
            let mut buffers = Buffers::default();
            // As a firewall answers: not to every call of that name. Here to lists of 8 to 15 messages.
            refuse(&[(libc::SYS_sendmmsg, 8)], errno);
            assert_eq!(sender.send(&mut buffers, &list(8).batch()), Err(Errno(errno)));
            assert!(!ready(&receiver, true, false, Duration::ZERO), "nothing was sent");
            refuse(&[SENDTO, SENDMSG], errno);
            assert_eq!(sender.send(&mut buffers, &list(4).batch()), Ok(4), "by sendmmsg, as before");
            assert_eq!(receive(&mut receiver, 4, 1024).len(), 4);
        };
        thread::scope(|scope| scope.spawn(run).join()).expect("the case");
    }
}
