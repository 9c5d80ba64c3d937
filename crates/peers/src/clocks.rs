//! Times in nanoseconds: of the system's clocks, of a process, of a datagram's arrival.

use crate::receiver::set_option;
use socket2::Socket;
use std::io;

/// The time of a clock: CLOCK_REALTIME, CLOCK_MONOTONIC, or a process's.
pub fn now(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours and lives through the call.
    let outcome = unsafe { libc::clock_gettime(clock, &mut time) };
    assert!(outcome == 0, "peers: clock_gettime: {}", io::Error::last_os_error());
    nanoseconds(&time)
}

/// The clock of the time that the processors have given a process, in user mode and in the kernel (clock_getcpuclockid(3)).
pub fn process_clock(process: libc::pid_t) -> io::Result<libc::clockid_t> {
    let mut clock = 0;
    // SAFETY: `clock` is ours and lives through the call.
    match unsafe { libc::clock_getcpuclockid(process, &mut clock) } {
        0 => Ok(clock),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Has the kernel note when a datagram arrives (SO_TIMESTAMPNS of socket(7)).
pub fn stamp_arrivals(socket: &Socket) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// When the message of the header arrived at its socket, by CLOCK_REALTIME: however long it then lay there.
pub fn arrival(header: &libc::msghdr) -> u64 {
    // SAFETY: the kernel has written the control message and its length, in the array that the header's owner keeps.
    let control = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }.expect("a control message");
    assert!((control.cmsg_level, control.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS));
    // SAFETY: an SCM_TIMESTAMPNS message carries a timespec.
    nanoseconds(&unsafe { libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned() })
}

fn nanoseconds(time: &libc::timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Waits until one of the descriptors can be read, at most so many nanoseconds; whether each can be.
pub fn wait_readable(polls: &mut [libc::pollfd], nanoseconds: u64) -> io::Result<()> {
    let timeout =
        libc::timespec { tv_sec: (nanoseconds / 1_000_000_000) as _, tv_nsec: (nanoseconds % 1_000_000_000) as _ };
    // SAFETY: the slice and the timeout live through the call.
    match unsafe { libc::ppoll(polls.as_mut_ptr(), polls.len() as _, &timeout, std::ptr::null()) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A percentile of sorted times; 0 of none.
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or(0)
}
