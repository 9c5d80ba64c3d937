//! The platforms, behind one contract. Each backend gives the same items:
//!
//! - `BACKEND`: the name of the system call that sends.
//! - `Messages`: buffers of a thread for the system calls, allocated once.
//!   - `new()`
//!   - `send(&mut self, &Socket, &Batch, &[Run]) -> Taken`: the runs in order, until the kernel refuses one; a run of
//!     several as one segmented message.
//!     What the batch has beside a datagram goes with it, or the datagram is refused.
//!   - `receive(&mut self, &Socket, payload, max, tells, &mut impl FnMut(Received, Option<Ancillary>)) -> Taken`: at most `max`
//!     messages into `payload`, each named with its bytes, source and segment size, and with what the system tells beside it
//!     where it `tells`; no message and no error where none is there.
//! - `reads_control() -> Result<(), Errno>`: whether receives take what the system tells beside datagrams.
//! - `segmentation(&Socket) -> bool`: whether segmented messages can be sent.
//! - `coalesce_receives(&Socket, bool) -> Result<(), Errno>`: whether the kernel may hand over runs as one message.
//! - `bind(&Socket, SocketAddr)`: so that a later `disconnect` keeps the port.
//! - `connect(&Socket, SocketAddr)`: of a socket that is not connected.
//! - `disconnect(&Socket)`: with the bound address and port kept, whatever the system makes of them.
//! - `queue_errors(&Socket, bool)`: whether the system keeps the errors that ICMP messages leave, so that one which a call
//!   consumed and did not tell can still be asked for. A system that needs no such queue does nothing; an error says that such
//!   errors are forgotten.
//! - `take_error(&Socket) -> Result<Option<Errno>, Errno>`: takes the error that is pending on the socket, the oldest where
//!   there are several, with all others.
//! - `take_reports(&Socket, quoted: &mut [u8], told: impl FnMut(Report)) -> Result<(), Errno>`: takes all that the queue of
//!   `queue_errors` holds; `REPORTS` says whether there is one.
//! - `PollItem::new(&Socket, readable, writable)`, with `is_readable`, `is_writable` and `has_error`: the system's own item.
//! - `poll(&mut [PollItem], Option<Duration>) -> Result<(), Errno>`: one wait, for at most so long.
//! - `prepare(&Socket) -> Result<(), Errno>`: what a new socket needs so that it behaves as on other systems.
//! - `family_of(&Socket) -> Result<bool, Errno>`: whether an open socket is of IPv6; an error where it is no UDP socket of IPv4
//!   or IPv6.
//! - The options that `socket2` has not everywhere: `reuse_port`, `set_reuse_port`, `traffic_class`, `set_traffic_class`,
//!   `set_multicast_interface_v4`, `bind_device`, `set_incoming_cpu`, `dont_fragment`, `set_dont_fragment`, `path_mtu`, `set_membership`, and
//!   `interface_index`; what has receives tell more, `set_packet_info`, `set_receive_class`, `set_timestamps`, and `drops`; see
//!   `crate::options`. What a system lacks is the error `NOT_SUPPORTED`.
//! - `refusals() -> Vec<Refusal>`: the calls that the system refuses this thread as such, where others do their work.
//! - `number`: the error numbers of the table in `errors.rs`, under their names in POSIX; the sets `WOULD_BLOCK`,
//!   `REFUSES_SIZE`, `REFUSES_OFFLOAD`, `REPORTED_ONCE`, the numbers `UNKNOWN` and `INTERRUPTED`.
//!
//! A call that a signal ended before it did anything is made again by [`retry`], here and nowhere else: no function of a
//! backend answers `INTERRUPTED`.
//!
//! The feature `portable` has any Unix use the loop of single messages, so that Linux tests it. The feature `simulated` has
//! a kernel of its own in place of the system's, which `simulated.rs` drives.

use crate::errno::Errno;
use std::net::SocketAddr;
use std::time::Duration;

mod errors;
pub use errors::ERRORS;

#[cfg(unix)]
#[cfg_attr(feature = "simulated", allow(dead_code, reason = "only its numbers are used"))]
mod unix;
#[cfg(unix)]
pub use unix::*;

#[cfg(all(target_os = "linux", not(any(feature = "portable", feature = "simulated"))))]
mod linux;
#[cfg(all(target_os = "linux", not(any(feature = "portable", feature = "simulated"))))]
pub use linux::*;

#[cfg(all(target_os = "linux", not(any(feature = "portable", feature = "simulated"))))]
mod refused;
#[cfg(all(target_os = "linux", not(any(feature = "portable", feature = "simulated"))))]
pub use refused::refusals;

/// What the system refuses as such, and what follows: nothing that this backend could do without.
#[cfg(not(all(target_os = "linux", not(any(feature = "portable", feature = "simulated")))))]
pub fn refusals() -> Vec<Refusal> {
    Vec::new()
}

#[cfg(all(unix, any(not(target_os = "linux"), feature = "portable"), not(feature = "simulated")))]
mod portable;
#[cfg(all(unix, any(not(target_os = "linux"), feature = "portable"), not(feature = "simulated")))]
pub use portable::*;

#[cfg(all(unix, feature = "simulated"))]
pub mod simulated;
// By name, which goes before what all Unix systems share.
#[cfg(all(unix, feature = "simulated"))]
pub use simulated::{
    BACKEND, Messages, PollItem, REPORTS, bind, coalesce_receives, connect, disconnect, poll, prepare, queue_errors,
    reads_control, segmentation, take_error, take_reports,
};

#[cfg(windows)]
mod windows;
#[cfg(windows)]
pub use windows::*;

/// Bytes that one received message may need: more than any UDP datagram, or a run of them, has.
pub const MESSAGE_BYTES: usize = 65_536;

/// A message that arrived.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Where it lies in the payload.
    pub offset: usize,
    /// Its bytes.
    pub length: usize,
    /// Bytes of each datagram in it but the last; `length` where it is one.
    pub segment: usize,
    /// Where it came from.
    pub source: SocketAddr,
}

/// What the system tells of a datagram that met an error, here or on its way.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The error.
    pub errno: Errno,
    /// Whether an ICMP message told it; else it is this system's own, which refused the datagram at the call.
    pub icmp: bool,
    /// The MTU that the datagram exceeded; 0 where that is not the matter.
    pub mtu: u32,
    /// Where it was to go.
    pub destination: Option<SocketAddr>,
    /// The beginning of its payload, as far as the message quotes it.
    pub data: &'a [u8],
}

/// A system call that the system refuses as such, whatever it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The call's name.
    pub call: &'static str,
    /// What follows from it.
    pub consequence: &'static str,
    /// The error by which it is refused.
    pub errno: Errno,
}

/// Makes a system call, and again where a signal ended it before it did anything: signal(7), EINTR.
#[inline]
pub fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno(INTERRUPTED)) => {}
            result => return result,
        }
    }
}

/// A timeout as poll(2) and WSAPoll take it: in whole milliseconds, never less than asked; -1 for none.
fn milliseconds(timeout: Option<Duration>) -> i32 {
    timeout.map_or(-1, |timeout| timeout.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(i32::MAX))
}
