//! A scripted kernel that refuses: whatever it refuses, whenever, the counts and the deliveries are those of plain sends.

#![cfg(unix)]

mod support;

use proptest::prelude::*;
use std::net::SocketAddr;
use support::Owned;
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::outgoing::{Kernel, Outgoing, RunScratch, Taken};
use wasi_udp_engine::runs::Run;
use wasi_udp_engine::table::Batch;

/// What the script has the kernel do.
#[derive(Clone, Copy, Debug, Default)]
struct Script {
    /// Refuses segmented messages with this error: those that it meets as the i-th, where bit i of the mask is set; the
    /// last bit stands for all that follow.
    refuse: Option<(u64, Errno)>,
    /// Segments above this size are refused as by an MTU.
    mtu: Option<usize>,
    /// Meets this error at this datagram: for good, or once.
    fail: Option<(usize, Errno, bool)>,
    /// Is found pending by whoever asks, once, after a call that was cut short.
    pending: Option<Errno>,
    /// Names the error behind accepted messages, as a loop of sendmsg can; else forgets it, as sendmmsg does.
    names: bool,
}

struct Scripted {
    script: Script,
    /// Segmented messages that it met.
    met: usize,
    /// Segmented messages that it accepted.
    segmented: usize,
    delivered: Vec<Vec<u8>>,
    /// Whether an error that is told once has been told.
    told: bool,
    calls: usize,
}

impl Scripted {
    /// Whether it refuses the message for being segmented, whatever the script says of this size.
    fn will_refuse(&self, run: Run) -> bool {
        run.is_segmented() && self.script.refuse.is_some_and(|(mask, _)| mask & (1 << self.met.min(63)) != 0)
    }

    fn message(&mut self, batch: &Batch<'_>, run: Run) -> Result<(), Errno> {
        if let Some((at, errno, once)) = self.script.fail
            && run.datagrams().contains(&at)
            && !(once && (self.told || self.will_refuse(run)))
        {
            self.told = true;
            return Err(errno);
        }
        if run.is_segmented() {
            let turn = self.met.min(63);
            self.met += 1;
            if self.script.mtu.is_some_and(|mtu| run.segment as usize > mtu) {
                return Err(Errno(libc::EMSGSIZE));
            }
            if let Some((mask, errno)) = self.script.refuse
                && mask & (1 << turn) != 0
            {
                return Err(errno);
            }
            self.segmented += 1;
        }
        let bytes: Vec<u8> = batch.pieces(run.place, run.count as usize).flatten().copied().collect();
        assert_eq!(bytes.len(), run.bytes as usize);
        let segment = run.segment as usize;
        self.delivered.extend((0..run.count as usize).map(|index| {
            let end = bytes.len().min((index + 1) * segment);
            bytes[index * segment..end].to_vec()
        }));
        Ok(())
    }
}

impl Kernel for Scripted {
    fn send_messages(&mut self, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        self.calls += 1;
        assert!(!runs.is_empty(), "no call without a message");
        assert!(self.calls < 4000, "no end of calls");
        for (messages, &run) in runs.iter().enumerate() {
            if let Err(errno) = self.message(batch, run) {
                return Taken { messages, error: (messages == 0 || self.script.names).then_some(errno) };
            }
        }
        Taken { messages: runs.len(), error: None }
    }

    fn take_error(&mut self) -> Option<Errno> {
        self.script.pending.take()
    }
}

/// Sends by the script; what came of it, and the kernel as it was left.
fn send(outgoing: &mut Outgoing, script: Script, owned: &Owned) -> (Result<usize, Errno>, Scripted) {
    let mut kernel = Scripted { script, met: 0, segmented: 0, delivered: Vec::new(), told: false, calls: 0 };
    let result = outgoing.send(&mut kernel, &owned.batch(), &mut RunScratch::default());
    (result, kernel)
}

/// A batch of groups, each of one destination and one size.
fn batch(groups: &[(bool, usize, usize)]) -> Owned {
    Owned::new(&datagrams(groups))
}

fn datagrams(groups: &[(bool, usize, usize)]) -> Vec<(Option<SocketAddr>, Vec<u8>)> {
    let destinations: [SocketAddr; 2] = ["127.0.0.1:9", "127.0.0.1:10"].map(|text| text.parse().expect("an address"));
    let mut list = Vec::new();
    for &(second, size, count) in groups {
        for _ in 0..count {
            let bytes = (0..size).map(|at| (at + list.len()) as u8).collect();
            list.push((Some(destinations[usize::from(second)]), bytes));
        }
    }
    list
}

/// Batches of several shapes: runs alone, runs between plain datagrams, runs that end short, several destinations; with an
/// entry for those that are alike, and with one for each datagram.
fn shapes() -> Vec<Owned> {
    let shapes: [&[(bool, usize, usize)]; 5] = [
        &[(false, 100, 200)],
        &[(false, 100, 5), (false, 50, 1), (false, 200, 4), (true, 200, 4), (false, 0, 2), (false, 7, 1)],
        &[(false, 1, 1), (false, 1200, 130), (true, 2, 1), (true, 8000, 20)],
        &[(false, 10, 1), (true, 10, 1), (false, 10, 1), (true, 10, 3)],
        &SEVERAL_SIZES,
    ];
    shapes.map(datagrams).iter().flat_map(|list| [Owned::new(list), Owned::apart(list)]).collect()
}

const SEVERAL_SIZES: [(bool, usize, usize); 6] =
    [(false, 2000, 3), (false, 1000, 3), (false, 500, 3), (false, 2000, 3), (false, 1000, 3), (false, 500, 3)];

/// One run after the other.
fn runs() -> Owned {
    batch(&[(false, 100, 200)])
}

const REFUSALS: [i32; 5] = [libc::EINVAL, libc::EIO, libc::EMSGSIZE, libc::EOPNOTSUPP, libc::ENOPROTOOPT];
const ERRORS: [i32; 9] = [
    libc::EAGAIN,
    libc::ENOBUFS,
    libc::ECONNREFUSED,
    libc::EACCES,
    libc::EPERM,
    libc::ENETUNREACH,
    libc::EHOSTUNREACH,
    libc::EMSGSIZE,
    libc::EINVAL,
];
/// The errors that only an ICMP message brings: told once.
const TOLD_ONCE: [i32; 4] = [libc::ECONNREFUSED, libc::EHOSTDOWN, libc::EPROTO, libc::ENOPROTOOPT];

/// A kernel that forgets errors, as sendmmsg does, and one that names them, as a loop of sendmsg can.
fn forgetting_or_naming(base: Script) -> [Script; 2] {
    [false, true].map(|names| Script { names, ..base })
}

#[test]
fn a_refused_run_goes_plainly_where_it_stood() {
    for owned in shapes() {
        let (plain, expected) = send(&mut Outgoing::new(false), Script::default(), &owned);
        assert_eq!(plain, Ok(owned.batch().len()));
        for k in 0..12 {
            // The k-th alone, the k-th twice, the k-th and all behind it.
            for mask in [1 << k, 3 << k, u64::MAX << k] {
                for errno in REFUSALS.map(Errno) {
                    for script in forgetting_or_naming(Script { refuse: Some((mask, errno)), ..Script::default() }) {
                        let (result, kernel) = send(&mut Outgoing::new(true), script, &owned);
                        assert_eq!(result, plain, "{script:?}");
                        assert!(kernel.delivered == expected.delivered, "{script:?}");
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn refusals_of_any_pattern_change_neither_counts_nor_deliveries(
        groups in prop::collection::vec(
            (any::<bool>(), prop_oneof![Just(0), Just(100), Just(99), Just(1500), Just(30_000)], 1usize..80), 1..12),
        mask in any::<u64>(), errno in prop::sample::select(REFUSALS.to_vec()), names in any::<bool>(),
        mtu in prop::option::of(1usize..2000), apart in any::<bool>(),
    ) {
        let owned = if apart { Owned::apart(&datagrams(&groups)) } else { batch(&groups) };
        let (plain, expected) = send(&mut Outgoing::new(false), Script::default(), &owned);
        let script = Script { refuse: Some((mask, Errno(errno))), mtu, names, ..Script::default() };
        let mut outgoing = Outgoing::new(true);
        let (result, kernel) = send(&mut outgoing, script, &owned);
        prop_assert_eq!(result, plain);
        prop_assert!(kernel.delivered == expected.delivered);
        prop_assert_eq!(outgoing.statistics.datagrams, owned.batch().len() as u64);
        prop_assert_eq!(outgoing.statistics.segmented_runs, kernel.segmented as u64);
        prop_assert_eq!(outgoing.statistics.calls, kernel.calls as u64);
    }
}

#[test]
fn every_error_at_every_datagram_ends_the_batch_as_it_ends_plain_sends() {
    for owned in shapes() {
        for at in 0..owned.batch().len() {
            for errno in ERRORS.map(Errno) {
                for refuse in [None, Some((u64::MAX, Errno(libc::EIO))), Some((u64::MAX << 1, Errno(libc::EINVAL)))] {
                    let base = Script { fail: Some((at, errno, false)), refuse, ..Script::default() };
                    for script in forgetting_or_naming(base) {
                        let (plain, expected) = send(&mut Outgoing::new(false), script, &owned);
                        assert_eq!(plain, if at == 0 && !errno.would_block() { Err(errno) } else { Ok(at) });
                        let (result, kernel) = send(&mut Outgoing::new(true), script, &owned);
                        // A run fails whole where plain sends would have sent what it holds before the failing datagram: the
                        // next call does. No kernel has such half-bad runs; the count stays that of a prefix.
                        let sent = result.unwrap_or(0);
                        assert!(sent <= plain.unwrap_or(0));
                        assert!(kernel.delivered[..] == expected.delivered[..sent]);
                        if plain.is_err() {
                            assert_eq!(result, plain);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn an_error_that_the_second_call_consumed_is_told_by_the_next() {
    // The kernel takes the first run, fails at the second, and says why only when asked again.
    for errno in ERRORS.into_iter().chain(TOLD_ONCE).map(Errno) {
        let script = Script { fail: Some((64, errno, false)), ..Script::default() };
        let mut outgoing = Outgoing::new(true);
        assert_eq!(send(&mut outgoing, script, &runs()).0, Ok(64));
        let kept = TOLD_ONCE.contains(&errno.0);
        assert_eq!(outgoing.take_deferred(), kept.then_some(errno), "{errno}");
    }
}

#[test]
fn an_error_that_is_pending_is_taken_before_the_second_call_whatever_it_is() {
    for errno in [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::EACCES, libc::EMSGSIZE].map(Errno) {
        let fail = Some((64, Errno(libc::EAGAIN), true));
        let mut outgoing = Outgoing::new(true);
        let (result, kernel) = send(&mut outgoing, Script { fail, pending: Some(errno), ..Script::default() }, &runs());
        assert_eq!((result, kernel.calls), (Ok(64), 1), "it stopped where the error was met");
        assert_eq!(send(&mut outgoing, Script::default(), &runs()).0, Err(errno));
        assert_eq!(send(&mut outgoing, Script::default(), &runs()).0, Ok(200));
    }
}

#[test]
fn an_error_that_a_call_consumed_and_forgot_is_told_by_the_next() {
    // Plain datagrams: the first raises an error, the second consumes it, and the call tells neither.
    let owned = batch(&[(false, 100, 1), (true, 100, 1), (false, 100, 1)]);
    let fail = Some((1, Errno(libc::ECONNREFUSED), true));
    let script = Script { fail, pending: Some(Errno(libc::ECONNREFUSED)), ..Script::default() };
    let mut outgoing = Outgoing::new(true);
    let (result, kernel) = send(&mut outgoing, script, &owned);
    assert_eq!((result, kernel.calls), (Ok(1), 1), "it stopped where the error was met");
    assert_eq!(send(&mut outgoing, Script::default(), &owned).0, Err(Errno(libc::ECONNREFUSED)));
    assert_eq!(send(&mut outgoing, Script::default(), &owned).0, Ok(3));
}

#[test]
fn an_error_that_a_run_sent_plainly_consumed_is_told_by_the_next() {
    // The run is refused; of its datagrams the first raises an error, and the second consumes it.
    for errno in [libc::EIO, libc::EMSGSIZE].map(Errno) {
        let script = Script {
            refuse: Some((u64::MAX, errno)),
            fail: Some((1, Errno(libc::ECONNREFUSED), true)),
            pending: Some(Errno(libc::ECONNREFUSED)),
            ..Script::default()
        };
        let mut outgoing = Outgoing::new(true);
        assert_eq!(send(&mut outgoing, script, &runs()).0, Ok(1));
        assert_eq!(outgoing.take_deferred(), Some(Errno(libc::ECONNREFUSED)));
    }
}

#[test]
fn errors_that_wait_to_be_told_are_told_one_by_one_and_each_once() {
    let mut outgoing = Outgoing::new(true);
    for errno in [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::ECONNREFUSED] {
        outgoing.keep(Errno(errno));
    }
    assert_eq!(send(&mut outgoing, Script::default(), &runs()).0, Err(Errno(libc::ECONNREFUSED)));
    assert_eq!(outgoing.take_deferred(), Some(Errno(libc::EHOSTUNREACH)));
    assert!(!outgoing.has_deferred());
    outgoing.keep(Errno(libc::ECONNREFUSED));
    outgoing.forget_peer();
    assert_eq!(send(&mut outgoing, Script::default(), &runs()).0, Ok(200), "another peer has refused nothing");
}

#[test]
fn an_error_that_looks_like_a_refusal_and_was_pending_is_told_and_not_remembered() {
    // ICMP "protocol unreachable", which the first call consumes. The run itself is fine.
    let script = Script { refuse: Some((1, Errno(libc::ENOPROTOOPT))), ..Script::default() };
    let mut outgoing = Outgoing::new(true);
    let (result, kernel) = send(&mut outgoing, script, &runs());
    assert_eq!((result, kernel.segmented, outgoing.statistics.refused_runs), (Ok(200), 4, 0));
    assert_eq!(send(&mut outgoing, Script::default(), &runs()).0, Err(Errno(libc::ENOPROTOOPT)));
    // ICMP "fragmentation needed": the next datagrams are cut by the new MTU, and there is nothing to tell.
    let script = Script { refuse: Some((1, Errno(libc::EMSGSIZE))), ..Script::default() };
    let (result, kernel) = send(&mut outgoing, script, &runs());
    assert_eq!((result, kernel.segmented, outgoing.statistics.refused_runs), (Ok(200), 4, 0));
    assert_eq!(outgoing.take_deferred(), None);
}

#[test]
fn a_refused_size_is_remembered_and_smaller_ones_still_segment() {
    let owned = batch(&SEVERAL_SIZES);
    let mut outgoing = Outgoing::new(true);
    let script = Script { mtu: Some(1000), ..Script::default() };
    assert_eq!(send(&mut outgoing, script, &owned).0, Ok(owned.batch().len()));
    assert_eq!(outgoing.statistics.refused_runs, 1, "the second run of 2,000 bytes was not tried");
    assert_eq!(outgoing.statistics.segmented_runs, 4);
    let (_, second) = send(&mut outgoing, script, &owned);
    assert_eq!(outgoing.statistics.refused_runs, 1, "nothing is tried again in the next batch");
    assert_eq!(second.calls, 1, "and so one call takes all");
    outgoing.forget_refusals();
    assert_eq!(send(&mut outgoing, script, &owned).0, Ok(owned.batch().len()));
    assert_eq!(outgoing.statistics.refused_runs, 2, "a new connection tries again");
}

#[test]
fn eio_turns_segmentation_off_however_late_it_comes() {
    let mut outgoing = Outgoing::new(true);
    for _ in 0..10 {
        assert_eq!(send(&mut outgoing, Script::default(), &runs()).0, Ok(200));
    }
    let refuses = Script { refuse: Some((u64::MAX << 2, Errno(libc::EIO))), ..Script::default() };
    let (result, kernel) = send(&mut outgoing, refuses, &runs());
    assert_eq!((result, kernel.delivered.len(), kernel.segmented), (Ok(200), 200, 2));
    let (result, kernel) = send(&mut outgoing, Script::default(), &runs());
    assert_eq!((result, kernel.met, kernel.calls), (Ok(200), 0, 1));
    assert!(outgoing.segmentation(), "what was asked for stays so, and a new connection tries again");
}

#[test]
fn an_error_of_the_destination_is_not_held_against_segmentation() {
    let mut outgoing = Outgoing::new(true);
    let script = Script { fail: Some((0, Errno(libc::EINVAL), false)), ..Script::default() };
    assert_eq!(send(&mut outgoing, script, &runs()).0, Err(Errno(libc::EINVAL)));
    assert_eq!(send(&mut outgoing, Script::default(), &runs()).0, Ok(200));
    assert_eq!((outgoing.statistics.segmented_runs, outgoing.statistics.refused_runs), (4, 0));
}

#[test]
fn a_fallback_that_blocks_is_continued_by_the_next_send() {
    // The run is refused, and the socket's buffer is full after ten of its datagrams.
    let script = Script {
        refuse: Some((u64::MAX, Errno(libc::EIO))),
        fail: Some((10, Errno(libc::EAGAIN), false)),
        ..Script::default()
    };
    let mut outgoing = Outgoing::new(true);
    let owned = batch(&[(false, 100, 10), (true, 100, 10)]);
    let (result, kernel) = send(&mut outgoing, script, &owned);
    assert_eq!((result, kernel.delivered.len()), (Ok(10), 10));
    let full = Script { fail: Some((0, Errno(libc::EAGAIN), false)), ..Script::default() };
    assert_eq!(send(&mut outgoing, full, &owned).0, Ok(0), "blocked at the first datagram");
}
