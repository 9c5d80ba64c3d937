//! Errors with the destinations that they came from, as the system queues them.

#![forbid(unsafe_code)]

use crate::errno::Errno;
use crate::options::unmapped;
use crate::sys::{self, Report};
use socket2::Socket;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Bytes of a payload that a report quotes at most: what ICMP messages quote of a packet that fits every path (RFC 1812, 4.3.2.3:
/// "without the length of the ICMP datagram exceeding 576 bytes").
pub const QUOTED_BYTES: usize = 512;

/// Reports that wait for whoever takes them. Those beyond are lost, as the kernel's own queue loses them.
const MOST: usize = 4096;

/// See [`sys::Report`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedReport {
    /// The error.
    pub errno: Errno,
    /// Whether an ICMP message told it; else the call that sent the datagram refused it, too.
    pub icmp: bool,
    /// The MTU that the datagram exceeded; 0 where that is not the matter.
    pub mtu: u32,
    /// Where it was to go.
    pub destination: Option<SocketAddr>,
    /// The beginning of its payload.
    pub data: Vec<u8>,
}

impl From<Report<'_>> for OwnedReport {
    fn from(Report { errno, icmp, mtu, destination, data }: Report<'_>) -> Self {
        Self { errno, icmp, mtu, destination: destination.map(unmapped), data: data.to_vec() }
    }
}

/// What a look into the queue has found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Whether there was a report of an ICMP message: then it was what a call has met.
    pub icmp: bool,
    /// The last of those that tell why a call refused a datagram. It is no report yet: only who made the call knows whether the
    /// datagram is refused for good.
    pub local: Option<OwnedReport>,
}

/// The reports of a socket.
#[derive(Debug, Default)]
pub struct Reports {
    waiting: VecDeque<OwnedReport>,
}

impl Reports {
    /// Takes what the system has queued.
    pub fn take(&mut self, socket: &Socket) -> Found {
        let mut found = Found::default();
        let mut quoted = [0; QUOTED_BYTES];
        // A queue that cannot be read is an empty one: the call that met the error tells it.
        let _ = sys::take_reports(socket, &mut quoted, |report| {
            if report.icmp {
                found.icmp = true;
                self.push(report.into());
            } else {
                found.local = Some(report.into());
            }
        });
        found
    }

    /// Adds a report.
    pub fn push(&mut self, report: OwnedReport) {
        if self.waiting.len() < MOST {
            self.waiting.push_back(report);
        }
    }

    /// Adds a report of an error that an ICMP message left, for which the system's queue had no room: it shares the memory of the
    /// receive buffer.
    pub fn push_lost(&mut self, errno: Errno) {
        self.push(OwnedReport { errno, icmp: true, mtu: 0, destination: None, data: Vec::new() });
    }

    /// The oldest.
    pub fn pop(&mut self) -> Option<OwnedReport> {
        self.waiting.pop_front()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
