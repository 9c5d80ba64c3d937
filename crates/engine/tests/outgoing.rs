//! A scripted kernel that refuses: whatever it refuses, whenever, the counts and the deliveries are those of plain sends.

mod support;

use std::net::SocketAddr;
use support::Owned;
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::outgoing::{Kernel, Outgoing, RunScratch, Taken};
use wasi_udp_engine::runs::Run;
use wasi_udp_engine::table::Batch;

/// What the script has the kernel do.
#[derive(Clone, Copy, Default)]
struct Script {
    /// Refuses the k-th segmented message that it meets, and all after it, with this error.
    refuse_segmented: Option<(usize, Errno)>,
    /// Segments above this size are refused as by an MTU.
    mtu: Option<usize>,
    /// Meets this error at this datagram: for good, or once.
    fail: Option<(usize, Errno, bool)>,
    /// Forgets the error behind accepted messages, as sendmmsg does; else names it, as a loop of sendmsg can.
    forgets: bool,
}

struct Scripted {
    script: Script,
    segmented: usize,
    delivered: Vec<Vec<u8>>,
    /// Whether an error that is told once has been told.
    told: bool,
    calls: usize,
}

impl Scripted {
    fn new(script: Script) -> Self {
        Self { script, segmented: 0, delivered: Vec::new(), told: false, calls: 0 }
    }

    fn message(&mut self, batch: &Batch<'_>, run: Run) -> Result<(), Errno> {
        if let Some((at, errno, once)) = self.script.fail
            && run.datagrams().contains(&at)
            && !(once && self.told)
        {
            self.told = true;
            return Err(errno);
        }
        if run.is_segmented() {
            if self.script.mtu.is_some_and(|mtu| run.segment as usize > mtu) {
                return Err(Errno(libc::EMSGSIZE));
            }
            if let Some((from, errno)) = self.script.refuse_segmented
                && self.segmented >= from
            {
                return Err(errno);
            }
            self.segmented += 1;
        }
        self.delivered.extend(run.datagrams().map(|index| batch.bytes(batch.entry(index)).to_vec()));
        Ok(())
    }
}

impl Kernel for Scripted {
    fn send_messages(&mut self, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        self.calls += 1;
        assert!(!runs.is_empty(), "no call without a message");
        for (messages, &run) in runs.iter().enumerate() {
            if let Err(errno) = self.message(batch, run) {
                return Taken { messages, error: (messages == 0 || !self.script.forgets).then_some(errno) };
            }
        }
        Taken { messages: runs.len(), error: None }
    }

    fn take_error(&mut self) -> Option<Errno> {
        None
    }
}

fn send(outgoing: &mut Outgoing, script: Script, owned: &Owned) -> (Result<usize, Errno>, Scripted) {
    let mut kernel = Scripted::new(script);
    let result = outgoing.send(&mut kernel, &owned.batch(), &mut RunScratch::default());
    (result, kernel)
}

/// Batches of several shapes: runs alone, runs between plain datagrams, runs that end short, several destinations.
fn shapes() -> Vec<Owned> {
    let one: SocketAddr = "127.0.0.1:9".parse().expect("an address");
    let two: SocketAddr = "127.0.0.1:10".parse().expect("an address");
    let of = |sizes: &[(SocketAddr, usize, usize)]| {
        let mut list = Vec::new();
        for &(to, size, count) in sizes {
            for _ in 0..count {
                list.push((Some(to), (0..size).map(|at| (at + list.len()) as u8).collect()));
            }
        }
        Owned::new(&list)
    };
    vec![
        of(&[(one, 100, 200)]),
        of(&[(one, 100, 5), (one, 50, 1), (one, 200, 4), (two, 200, 4), (one, 0, 2), (one, 7, 1)]),
        of(&[(one, 1, 1), (one, 1200, 130), (two, 2, 1), (two, 8000, 20)]),
        of(&[(one, 10, 1), (two, 10, 1), (one, 10, 1), (two, 10, 3)]),
        of(&[(one, 2000, 3), (one, 1000, 3), (one, 500, 3), (one, 2000, 3), (one, 1000, 3), (one, 500, 3)]),
    ]
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

/// A kernel that forgets errors, as sendmmsg does, and one that names them, as a loop of sendmsg can.
fn scripts(base: Script) -> [Script; 2] {
    [true, false].map(|forgets| Script { forgets, ..base })
}

#[test]
fn a_refused_run_goes_plainly_from_exactly_that_datagram_on() {
    for owned in shapes() {
        let (plain, expected) = send(&mut Outgoing::new(false), scripts(Script::default())[0], &owned);
        assert_eq!(plain, Ok(owned.count));
        for from in 0..12 {
            for errno in REFUSALS {
                for script in scripts(Script { refuse_segmented: Some((from, Errno(errno))), ..Script::default() }) {
                    let (result, kernel) = send(&mut Outgoing::new(true), script, &owned);
                    assert_eq!(result, plain);
                    assert!(kernel.delivered == expected.delivered);
                }
            }
        }
    }
}

#[test]
fn every_error_at_every_datagram_ends_the_batch_as_it_ends_plain_sends() {
    for owned in shapes() {
        for at in 0..owned.count {
            for errno in ERRORS {
                for refuse_segmented in [None, Some((0, Errno(libc::EIO))), Some((1, Errno(libc::EINVAL)))] {
                    for script in
                        scripts(Script { fail: Some((at, Errno(errno), false)), refuse_segmented, ..Script::default() })
                    {
                        let (plain, expected) = send(&mut Outgoing::new(false), script, &owned);
                        let blocks = Errno(errno).would_block();
                        assert_eq!(plain, if at == 0 && !blocks { Err(Errno(errno)) } else { Ok(at) });
                        let (result, kernel) = send(&mut Outgoing::new(true), script, &owned);
                        let sent = result.unwrap_or(0);
                        // A run that would block, or whose destination fails, fails whole: what it holds before the failing
                        // datagram is sent by the next call. The kernel has no such half-bad runs; counts stay a prefix.
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
fn an_error_that_is_told_once_is_told_by_the_next_send() {
    for owned in shapes() {
        for at in 1..owned.count {
            let fail = Some((at, Errno(libc::ECONNREFUSED), true));
            let mut outgoing = Outgoing::new(true);
            let (result, kernel) = send(&mut outgoing, Script { fail, forgets: false, ..Script::default() }, &owned);
            match result {
                Err(errno) => assert_eq!((errno, kernel.delivered.len()), (Errno(libc::ECONNREFUSED), 0)),
                Ok(sent) => {
                    assert_eq!(kernel.delivered.len(), sent);
                    assert_eq!(send(&mut outgoing, Script::default(), &owned).0, Err(Errno(libc::ECONNREFUSED)));
                    assert_eq!(send(&mut outgoing, Script::default(), &owned).0, Ok(owned.count));
                }
            }
        }
    }
}

#[test]
fn a_refused_size_is_remembered_and_smaller_ones_still_segment() {
    let owned = &shapes()[4];
    let mut outgoing = Outgoing::new(true);
    let script = Script { mtu: Some(1000), forgets: true, ..Script::default() };
    let (result, _) = send(&mut outgoing, script, owned);
    assert_eq!(result, Ok(owned.count));
    assert_eq!(outgoing.statistics.refused_runs, 1, "the second run of 2,000 bytes was not tried");
    assert_eq!(outgoing.statistics.segmented_runs, 4);
    let (_, second) = send(&mut outgoing, script, owned);
    assert_eq!(outgoing.statistics.refused_runs, 1, "nothing is tried again in the next batch");
    assert_eq!(second.calls, 1, "and so one call takes all");
    outgoing.forget_refusals();
    assert_eq!(send(&mut outgoing, script, owned).0, Ok(owned.count));
    assert_eq!(outgoing.statistics.refused_runs, 2, "a new connection tries again");
}

#[test]
fn eio_turns_segmentation_off_however_late_it_comes() {
    let owned = &shapes()[0];
    let mut outgoing = Outgoing::new(true);
    let fine = Script { forgets: true, ..Script::default() };
    for _ in 0..10 {
        assert_eq!(send(&mut outgoing, fine, owned).0, Ok(200));
    }
    let refuses = Script { refuse_segmented: Some((2, Errno(libc::EIO))), ..fine };
    let (result, kernel) = send(&mut outgoing, refuses, owned);
    assert_eq!((result, kernel.delivered.len()), (Ok(200), 200));
    let (result, kernel) = send(&mut outgoing, refuses, owned);
    assert_eq!((result, kernel.segmented), (Ok(200), 0));
}

#[test]
fn an_error_of_the_destination_is_not_held_against_segmentation() {
    let owned = &shapes()[0];
    let mut outgoing = Outgoing::new(true);
    let script = Script { fail: Some((0, Errno(libc::EINVAL), false)), forgets: true, ..Script::default() };
    assert_eq!(send(&mut outgoing, script, owned).0, Err(Errno(libc::EINVAL)));
    let fine = Script { fail: None, ..script };
    assert_eq!(send(&mut outgoing, fine, owned).0, Ok(owned.count));
    assert_eq!(outgoing.statistics.segmented_runs, 4);
}
