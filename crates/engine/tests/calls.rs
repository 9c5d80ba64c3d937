//! Which answers of a kernel are asked about again, and which end a batch in the very call that met them.

#![cfg(unix)]

mod support;

use std::net::SocketAddr;
use support::Owned;
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::outgoing::{Kernel, Outgoing, RunScratch, Taken};
use wasi_udp_engine::runs::Run;
use wasi_udp_engine::table::Batch;

/// A kernel of answers that are written down: one a call, and after them it takes everything.
struct Answers {
    left: Vec<Taken>,
    /// The first datagram, and how many messages, of each call.
    calls: Vec<(usize, usize)>,
}

impl Kernel for Answers {
    fn send_messages(&mut self, _: &Batch<'_>, runs: &[Run]) -> Taken {
        self.calls.push((runs[0].first as usize, runs.len()));
        assert!(self.calls.len() < 100, "no end of calls");
        if self.left.is_empty() { Taken { messages: runs.len(), error: None } } else { self.left.remove(0) }
    }

    fn take_error(&mut self) -> Option<Errno> {
        None
    }
}

/// Sends by those answers; the result, and the calls.
fn send(outgoing: &mut Outgoing, owned: &Owned, answers: &[Taken]) -> (Result<usize, Errno>, Vec<(usize, usize)>) {
    let mut kernel = Answers { left: answers.to_vec(), calls: Vec::new() };
    let result = outgoing.send(&mut kernel, &owned.batch(), &mut RunScratch::default());
    (result, kernel.calls)
}

fn refuses(messages: usize, errno: i32) -> Taken {
    Taken { messages, error: Some(Errno(errno)) }
}

/// Datagrams of those sizes, each to another host than the one before where `apart`.
fn batch(sizes: &[usize], apart: bool) -> Owned {
    let hosts: [SocketAddr; 2] = ["127.0.0.1:9", "127.0.0.2:9"].map(|text| text.parse().expect("an address"));
    let datagrams = sizes.iter().enumerate();
    Owned::new(
        &datagrams
            .map(|(index, &size)| (Some(hosts[if apart { index % 2 } else { 0 }]), vec![7; size]))
            .collect::<Vec<_>>(),
    )
}

/// The errors by which a kernel may refuse a segmented message, and those that speak of something else.
const REFUSALS: [i32; 6] = [libc::EINVAL, libc::EIO, libc::EMSGSIZE, libc::EOPNOTSUPP, libc::ENOPROTOOPT, libc::ENOSYS];
const OTHERS: [i32; 5] = [libc::EAGAIN, libc::EACCES, libc::ECONNREFUSED, libc::ENETUNREACH, libc::EPERM];

#[test]
fn an_error_of_a_plain_datagram_ends_the_batch_in_the_call_that_met_it() {
    let owned = batch(&[10; 4], true);
    for errno in REFUSALS.into_iter().chain(OTHERS) {
        let (result, calls) = send(&mut Outgoing::new(true), &owned, &[refuses(2, errno)]);
        assert_eq!((result, calls), (Ok(2), vec![(0, 4)]), "{}", Errno(errno));
    }
}

#[test]
fn an_error_of_a_run_that_is_no_refusal_of_segmentation_ends_the_batch_in_the_call_that_met_it() {
    let owned = batch(&[[10; 64], [10; 64]].concat(), false);
    for errno in OTHERS {
        let mut outgoing = Outgoing::new(true);
        let (result, calls) = send(&mut outgoing, &owned, &[refuses(1, errno)]);
        assert_eq!((result, calls), (Ok(64), vec![(0, 2)]), "{}", Errno(errno));
        assert_eq!(outgoing.statistics.refused_runs, 0);
    }
    for errno in REFUSALS {
        let (result, calls) = send(&mut Outgoing::new(true), &owned, &[refuses(1, errno)]);
        assert_eq!(result, Ok(128), "{}", Errno(errno));
        assert!(calls.len() > 1 && calls[1].0 == 64, "{}: {calls:?}", Errno(errno));
    }
}

#[test]
fn a_kernel_that_takes_nothing_and_names_nothing_is_not_asked_again() {
    let nothing = Taken { messages: 0, error: None };
    for owned in [batch(&[10; 100], false), batch(&[10; 4], true), batch(&[10], false)] {
        let (result, calls) = send(&mut Outgoing::new(true), &owned, &[nothing; 50]);
        assert_eq!((result, calls.len()), (Ok(0), 1));
    }
}

#[test]
fn a_run_behind_accepted_messages_is_asked_for_once_more() {
    let owned = batch(&[[10; 64], [10; 64]].concat(), false);
    let cut_short = Taken { messages: 1, error: None };
    let (result, calls) = send(&mut Outgoing::new(true), &owned, &[cut_short, refuses(0, libc::EAGAIN)]);
    assert_eq!((result, calls), (Ok(64), vec![(0, 2), (64, 1)]));
    let (result, calls) = send(&mut Outgoing::new(true), &owned, &[cut_short]);
    assert_eq!((result, calls), (Ok(128), vec![(0, 2), (64, 1)]));
}

#[test]
fn an_error_is_kept_until_it_is_taken() {
    let mut outgoing = Outgoing::new(true);
    assert!(!outgoing.has_deferred());
    outgoing.defer(Errno(libc::EACCES));
    assert!(!outgoing.has_deferred(), "it recurs by itself");
    outgoing.defer(Errno(libc::ECONNREFUSED));
    assert!(outgoing.has_deferred());
    assert_eq!(outgoing.take_deferred(), Some(Errno(libc::ECONNREFUSED)));
    assert!(!outgoing.has_deferred());
}

#[test]
fn an_empty_batch_makes_no_call_and_leaves_what_is_kept() {
    let mut outgoing = Outgoing::new(true);
    assert_eq!(send(&mut outgoing, &batch(&[], false), &[]), (Ok(0), vec![]));
    outgoing.defer(Errno(libc::ECONNREFUSED));
    assert_eq!(send(&mut outgoing, &batch(&[], false), &[]), (Ok(0), vec![]));
    assert!(batch(&[], false).batch().is_empty() && !batch(&[10], false).batch().is_empty());
    assert!(outgoing.has_deferred());
}
