//! One UDP socket: its descriptor, what it knows of segmentation, and the datagrams that it has received ahead.

#![forbid(unsafe_code)]

use crate::ancillary::Ancillary;
use crate::errno::Errno;
use crate::options::{SocketOption, mapped, unmapped};
use crate::outgoing::{Kernel, Outgoing, RunScratch, Statistics, Taken};
use crate::reports::{OwnedReport, Reports};
use crate::runs::Run;
use crate::sys::{self, MESSAGE_BYTES, Messages, PollItem, Received};
use crate::table::{Batch, ReceivedTable, datagrams};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::env;
use std::net::SocketAddr;
use std::slice;
use std::time::Duration;

/// The buffers that the sockets of a thread share: a system call uses them, and leaves nothing in them.
#[derive(Default)]
pub struct Buffers {
    messages: Messages,
    runs: RunScratch,
}

/// A nonblocking UDP socket. Dropping it closes the descriptor.
pub struct UdpSocket {
    socket: Socket,
    ipv6: bool,
    /// Whether an IPv6 socket speaks IPv4 as well.
    dual: bool,
    connected: bool,
    /// Whether the peer of the connection is of IPv6.
    peer_is_ipv6: bool,
    /// The options that have receives tell more, as bits of their numbers.
    tells: u32,
    /// What the system tells of datagrams that met an error, where somebody asked for it.
    reports: Option<Reports>,
    /// Whether the kernel may coalesce what it receives.
    coalescing: bool,
    /// Whether the system forgets an error that a message within a call consumed: each is a call of its own then.
    forgets_errors: bool,
    outgoing: Outgoing,
    kept: Kept,
    /// Whether the last receive took all that the kernel had.
    drained: bool,
}

/// Datagrams of coalesced messages beyond what a receive asked for.
#[derive(Default)]
struct Kept {
    /// Where each lies in `bytes`, in order.
    datagrams: VecDeque<Received>,
    /// What is told beside each, where something is.
    ancillary: VecDeque<Ancillary>,
    bytes: Vec<u8>,
    /// Segments in a coalesced message, of late: so few messages are asked for that little is kept.
    segments: usize,
    /// Messages that a receive asks for, so that the next ones find theirs here: see [`Kept::messages_for`].
    ahead: usize,
}

/// What the last call left with a socket: what whoever waits for it must know, and the kernel does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Datagrams that the next receive finds here.
    pub datagrams: bool,
    /// An error that the next check, send or receive tells.
    pub error: bool,
    /// Reports that are to be taken.
    pub reports: bool,
    /// The last receive took all that the kernel had.
    pub drained: bool,
}

/// Whether WASI_UDP_GSO=0 turns segmentation off, for devices that lose segmented packets in silence.
fn segmentation_wanted() -> bool {
    env::var_os("WASI_UDP_GSO").is_none_or(|value| value != "0")
}

impl UdpSocket {
    /// A nonblocking socket of IPv4, or of IPv6 alone: udp.wit, "IPV6_V6ONLY is always set to true".
    pub fn open(ipv6: bool) -> Result<Self, Errno> {
        let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if ipv6 {
            socket.set_only_v6(true)?;
        }
        sys::prepare(&socket)?;
        Ok(Self::over(socket, ipv6))
    }

    /// Takes over a socket that is open, and is not connected.
    pub fn over(socket: Socket, ipv6: bool) -> Self {
        let segmentation = segmentation_wanted() && sys::segmentation(&socket);
        let dual = ipv6 && socket.only_v6().is_ok_and(|only| !only);
        let (outgoing, kept) = (Outgoing::new(segmentation), Kept::default());
        Self {
            socket,
            ipv6,
            dual,
            connected: false,
            peer_is_ipv6: ipv6,
            tells: 0,
            reports: None,
            coalescing: false,
            forgets_errors: false,
            outgoing,
            kept,
            drained: false,
        }
    }

    /// Takes over a socket that the process has by other means, whether bound or connected or neither. What is no UDP socket of
    /// IPv4 or IPv6 is an error that says so (ENOTSOCK, EPROTOTYPE, EAFNOSUPPORT), and given back.
    pub fn adopt(socket: Socket) -> Result<Self, (Socket, Errno)> {
        let prepared = sys::family_of(&socket).and_then(|ipv6| {
            socket.set_nonblocking(true)?;
            sys::prepare(&socket)?;
            Ok(ipv6)
        });
        match prepared {
            Ok(ipv6) => {
                let mut adopted = Self::over(socket, ipv6);
                if let Ok(peer) = adopted.remote_address() {
                    adopted.peer_is_ipv6 = peer.is_ipv6();
                    adopted.forgets_errors = sys::queue_errors(&adopted.socket, true).is_err();
                    adopted.connected = true;
                }
                Ok(adopted)
            }
            Err(errno) => Err((socket, errno)),
        }
    }

    /// Whether it is a socket of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.ipv6
    }

    /// Whether it is a socket of IPv6 that speaks IPv4 as well.
    pub fn is_dual(&self) -> bool {
        self.dual
    }

    /// Whether an IPv6 socket speaks IPv6 alone. Only before it is bound: ipv6(7), IPV6_V6ONLY.
    pub(crate) fn set_only_v6(&mut self, on: bool) -> Result<(), Errno> {
        if !self.ipv6 {
            return Err(Errno(sys::NOT_SUPPORTED));
        }
        self.socket.set_only_v6(on)?;
        self.dual = !on;
        Ok(())
    }

    /// An address as the socket names it.
    fn named(&self, address: SocketAddr) -> SocketAddr {
        if self.dual { mapped(address) } else { address }
    }

    /// The descriptor, for readiness and options.
    pub fn as_socket(&self) -> &Socket {
        &self.socket
    }

    /// Binds the socket. A port that the system chooses stays for the socket's life.
    pub fn bind(&mut self, address: SocketAddr) -> Result<(), Errno> {
        sys::bind(&self.socket, self.named(address))
    }

    /// Connects or reconnects; the bound address and port survive. Sizes that did not segment are tried again.
    pub fn connect(&mut self, address: SocketAddr) -> Result<(), Errno> {
        self.disconnect()?;
        sys::connect(&self.socket, self.named(address))?;
        self.forgets_errors = sys::queue_errors(&self.socket, true).is_err();
        self.connected = true;
        self.peer_is_ipv6 = unmapped(address).is_ipv6();
        Ok(())
    }

    /// Dissolves the connection; the bound address and port survive. What the former peer left (errors that are pending or
    /// kept, sizes that did not segment) is nobody's business any more.
    pub fn disconnect(&mut self) -> Result<(), Errno> {
        if self.connected {
            sys::disconnect(&self.socket)?;
            self.connected = false;
            self.forgets_errors = false;
            if let Some(reports) = &mut self.reports {
                reports.take(&self.socket);
            } else {
                let _ = sys::queue_errors(&self.socket, false);
            }
            let _ = sys::take_error(&self.socket);
            self.outgoing.forget_peer();
        }
        Ok(())
    }

    /// The bound address.
    pub fn local_address(&self) -> Result<SocketAddr, Errno> {
        self.socket.local_addr()?.as_socket().map(unmapped).ok_or(Errno(sys::UNKNOWN))
    }

    /// The peer's address; an error (ENOTCONN) where there is none.
    pub fn remote_address(&self) -> Result<SocketAddr, Errno> {
        self.socket.peer_addr()?.as_socket().map(unmapped).ok_or(Errno(sys::UNKNOWN))
    }

    /// Whether runs leave as segmented messages.
    pub fn segmentation(&self) -> bool {
        self.outgoing.segmentation()
    }

    /// Turns segmentation on, where the system has it, or off.
    pub fn set_segmentation(&mut self, on: bool) {
        self.outgoing.set_segmentation(on && sys::segmentation(&self.socket));
    }

    /// Has the kernel hand over runs of datagrams as one message; they are cut apart again here.
    pub fn coalesce_receives(&mut self, on: bool) -> Result<(), Errno> {
        sys::coalesce_receives(&self.socket, on)?;
        self.coalescing = on;
        Ok(())
    }

    /// Whether the kernel was asked to.
    pub fn coalesces_receives(&self) -> bool {
        self.coalescing
    }

    /// Whether an option that has receives tell more is on.
    pub(crate) fn tells(&self, option: SocketOption) -> bool {
        self.tells & 1 << option as u32 != 0
    }

    /// Notes whether an option that has receives tell more is on. Of datagrams that are kept nothing is known.
    pub(crate) fn set_tells(&mut self, option: SocketOption, on: bool) {
        let bit = 1 << option as u32;
        self.tells = if on { self.tells | bit } else { self.tells & !bit };
        let kept = if self.tells == 0 { 0 } else { self.kept.datagrams.len() };
        self.kept.ancillary.resize(kept, Ancillary::default());
    }

    /// Whether errors are reported with their destinations.
    pub fn reports_errors(&self) -> bool {
        self.reports.is_some()
    }

    /// Has errors that ICMP messages tell be reported with their destinations, in place of failing whatever call comes next.
    pub(crate) fn report_errors(&mut self, on: bool) -> Result<(), Errno> {
        if on == self.reports.is_some() {
            return Ok(());
        }
        if on && !sys::REPORTS {
            return Err(Errno(sys::NOT_SUPPORTED));
        }
        if on || !self.connected {
            sys::queue_errors(&self.socket, on)?;
        }
        self.reports = on.then(Reports::default);
        Ok(())
    }

    /// Takes the oldest report.
    pub fn take_report(&mut self) -> Option<OwnedReport> {
        self.reports.as_mut()?.pop()
    }

    /// Sends a batch as if one datagram after the other; how many the kernel accepted, 0 where the socket would block.
    pub fn send(&mut self, buffers: &mut Buffers, batch: &Batch<'_>) -> Result<usize, Errno> {
        let Self { socket, connected, peer_is_ipv6, dual, forgets_errors, outgoing, reports, .. } = self;
        let batch = &batch.for_socket(*dual, *peer_is_ipv6);
        let mut kernel = SocketKernel {
            socket,
            connected: *connected,
            forgets_errors: *forgets_errors,
            messages: &mut buffers.messages,
            reports: reports.as_mut(),
            local: None,
            other: None,
        };
        let result = outgoing.send(&mut kernel, batch, &mut buffers.runs);
        let SocketKernel { local, other, .. } = kernel;
        if let Some(errno) = other {
            outgoing.keep(errno);
        }
        // A datagram behind others is sent again, and refused then.
        if let (Err(errno), Some(local), Some(reports)) = (result, local, reports)
            && local.errno == errno
        {
            reports.push(local);
        }
        result
    }

    /// Whether there is room to send, by one poll. A pending error is taken and returned.
    pub fn check_send(&mut self) -> Result<bool, Errno> {
        if let Some(errno) = self.outgoing.take_deferred() {
            return Err(errno);
        }
        let mut items = [PollItem::new(&self.socket, false, true)];
        sys::poll(&mut items, Some(Duration::ZERO))?;
        if items[0].has_error()
            && let Some(reports) = &mut self.reports
        {
            if !reports.take(&self.socket).icmp
                && let Some(lost) = sys::take_error(&self.socket)?
            {
                reports.push_lost(lost);
            }
            return Ok(items[0].is_writable());
        }
        // An error that is pending is taken by asking for it.
        match if items[0].has_error() { sys::take_error(&self.socket)? } else { None } {
            Some(pending) => Err(pending),
            None => Ok(items[0].is_writable()),
        }
    }

    /// Keeps an error for the next check or send, where the kernel reports it once.
    pub fn defer_error(&mut self, errno: Errno) {
        self.outgoing.defer(errno);
    }

    /// Receives at most as many datagrams as the table has room for, into a payload of at least [`MESSAGE_BYTES`].
    ///
    /// What the kernel handed over beyond that is kept, and comes first in the next call. An error is returned only where no
    /// datagram came before it; else by the next call.
    pub fn receive(
        &mut self,
        buffers: &mut Buffers,
        payload: &mut [u8],
        table: &mut ReceivedTable<'_>,
    ) -> Result<(), Errno> {
        let Self { socket, connected, outgoing, kept, drained, tells, reports, .. } = self;
        *drained = false;
        let used = kept.pass_on(payload, table);
        if table.room() == 0 || !kept.datagrams.is_empty() {
            return Ok(());
        }
        let mut error = outgoing.take_deferred();
        if error.is_none() {
            let room = &mut payload[used..];
            let most = kept.messages_for(table.room(), room.len());
            let mut segments = 0;
            let mut received = |message, told: Option<Ancillary>| {
                let Received { offset, length, segment, source } = message;
                segments = segments.max(datagrams(length, segment));
                let pushed = table.push_all(used + offset, length, segment, source, told.as_ref());
                for datagram in parts(message).skip(pushed) {
                    kept.datagrams.push_back(datagram);
                    kept.ancillary.extend(told);
                }
            };
            let tells = *tells != 0;
            let mut taken = buffers.messages.receive(socket, room, most, tells, &mut received);
            if taken.messages == 0
                && let Some(reports) = reports
            {
                let is_reported = reports.take(socket).icmp;
                if let Some(errno) = taken.error {
                    // What came behind the error.
                    taken = buffers.messages.receive(socket, room, most, tells, &mut received);
                    if !is_reported && taken.error != Some(errno) {
                        reports.push_lost(errno);
                    }
                    if taken.error.is_some() && reports.take(socket).icmp {
                        taken.error = None;
                    }
                }
            }
            kept.learn(taken.messages, most, segments);
            kept.copy_from(room);
            *drained = taken.error.is_none() && taken.messages < most && kept.datagrams.is_empty();
            error = taken.error;
            // What it told stands in the queue of errors too, and is told once.
            if let Some(other) = other_error(socket, *connected && reports.is_none(), error) {
                outgoing.keep(other);
            }
        }
        match error {
            Some(errno) if table.is_empty() => Err(errno),
            Some(errno) => {
                outgoing.keep(errno);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What the last call left here.
    pub fn left(&self) -> Left {
        Left {
            datagrams: !self.kept.datagrams.is_empty(),
            error: self.outgoing.has_deferred(),
            reports: self.reports.as_ref().is_some_and(|reports| !reports.is_empty()),
            drained: self.drained,
        }
    }

    /// What the socket has sent.
    pub fn statistics(&self) -> Statistics {
        self.outgoing.statistics
    }
}

impl Kept {
    /// Messages to ask for where so many datagrams are wanted, into so many bytes.
    ///
    /// As many as hold them, by the segments in a message of late: so little is kept. Whoever wants fewer than come, again
    /// and again, is read ahead for: its next ones cost no system call.
    fn messages_for(&self, wanted: usize, room: usize) -> usize {
        let needed = wanted.div_ceil(self.segments.max(1));
        needed.max(self.ahead).min(room / MESSAGE_BYTES)
    }

    /// Learns from a receive that asked for `most` messages: how many segments each has, and how far to read ahead: twice as
    /// far where all came, within [`AHEAD_BYTES`], and no further than came where fewer did.
    fn learn(&mut self, messages: usize, most: usize, segments: usize) {
        if messages > 0 {
            self.segments = segments;
        }
        let kept: usize = self.datagrams.iter().map(|datagram| datagram.length).sum();
        let fitting = (messages * AHEAD_BYTES).checked_div(kept).unwrap_or(AHEAD_MESSAGES);
        let next = if messages == most { 2 * messages } else { messages };
        self.ahead = next.min(fitting).min(AHEAD_MESSAGES);
    }

    /// Moves kept datagrams into the payload and the table; the bytes of payload that they use, in whole messages.
    fn pass_on(&mut self, payload: &mut [u8], table: &mut ReceivedTable<'_>) -> usize {
        let mut used = 0;
        while table.room() > 0
            && let Some(&Received { offset, length, source, .. }) = self.datagrams.front()
            && used + length <= payload.len()
        {
            payload[used..used + length].copy_from_slice(&self.bytes[offset..offset + length]);
            table.push(used, length, source, self.ancillary.pop_front().as_ref());
            used += length;
            self.datagrams.pop_front();
        }
        used.next_multiple_of(MESSAGE_BYTES).min(payload.len())
    }

    /// Copies the bytes of the datagrams just kept, which still lie in the payload, before the caller has it back.
    fn copy_from(&mut self, payload: &[u8]) {
        self.bytes.clear();
        for datagram in &mut self.datagrams {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&payload[datagram.offset..datagram.offset + datagram.length]);
            datagram.offset = start;
        }
    }
}

/// Messages that a receive asks for beyond what is wanted, at most.
const AHEAD_MESSAGES: usize = 64;

/// Bytes that a socket keeps of what was read ahead, about; a single message may exceed it.
const AHEAD_BYTES: usize = 131_072;

/// An error beside `told`, which a call of a connected socket has just told: another one that is pending. The one that was
/// told is pending as well, in the queue of errors, and is taken from there.
fn other_error(socket: &Socket, connected: bool, told: Option<Errno>) -> Option<Errno> {
    let told = told.filter(|errno| connected && !errno.would_block())?;
    sys::take_error(socket).ok().flatten().filter(|&errno| errno != told)
}

/// The datagrams of a message, in order.
fn parts(message: Received) -> impl Iterator<Item = Received> {
    let Received { offset, length, segment, source } = message;
    (0..datagrams(length, segment)).map(move |index| {
        let start = index * segment;
        let length = segment.min(length - start);
        Received { offset: offset + start, length, segment: length, source }
    })
}

/// One socket in [`poll`], with what it is polled for.
pub struct Interest<'a> {
    /// The socket.
    pub socket: &'a UdpSocket,
    /// Whether to wait for something to receive.
    pub readable: bool,
    /// Whether to wait for room to send.
    pub writable: bool,
    /// Written: the events that are there. An error counts as all that it is polled for, a datagram that is kept as readable.
    pub ready: Ready,
}

/// Which events of a socket are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// A receive would tell something: a datagram or an error.
    pub readable: bool,
    /// A check would grant, or tell an error.
    pub writable: bool,
}

impl Ready {
    /// Whether either is there.
    pub fn any(self) -> bool {
        self.readable || self.writable
    }
}

/// Waits until one of the sockets is ready, at most so long; how many are.
pub fn poll(interests: &mut [Interest<'_>], timeout: Option<Duration>) -> Result<usize, Errno> {
    let news = |one: &Interest<'_>| {
        let Left { datagrams, error, .. } = one.socket.left();
        Ready { readable: one.readable && (datagrams || error), writable: one.writable && error }
    };
    let timeout = if interests.iter().any(|one| news(one).any()) { Some(Duration::ZERO) } else { timeout };
    let mut items: Vec<PollItem<'_>> =
        interests.iter().map(|one| PollItem::new(&one.socket.socket, one.readable, one.writable)).collect();
    sys::poll(&mut items, timeout)?;
    for (interest, item) in interests.iter_mut().zip(&items) {
        let news = news(interest);
        interest.ready = Ready {
            readable: news.readable || interest.readable && (item.is_readable() || item.has_error()),
            writable: news.writable || interest.writable && (item.is_writable() || item.has_error()),
        };
    }
    Ok(interests.iter().filter(|interest| interest.ready.any()).count())
}

/// Times that a datagram is tried which meets errors of others: more than arrive between two calls.
const MOST_REPORTS: usize = 64;

struct SocketKernel<'a> {
    socket: &'a Socket,
    connected: bool,
    forgets_errors: bool,
    messages: &'a mut Messages,
    reports: Option<&'a mut Reports>,
    /// Why a call has refused a datagram.
    local: Option<OwnedReport>,
    /// An error that is pending beside one that a call has told.
    other: Option<Errno>,
}

impl Kernel for SocketKernel<'_> {
    fn send_messages(&mut self, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        if self.reports.is_some() {
            return self.send_reporting(batch, runs);
        }
        let taken = self.send_once(batch, runs);
        self.other = self.other.or_else(|| other_error(self.socket, self.connected, taken.error));
        taken
    }

    /// A socket without a peer hears of no ICMP error.
    fn take_error(&mut self) -> Option<Errno> {
        if let Some(reports) = &mut self.reports {
            reports.take(self.socket);
            return None;
        }
        if self.connected { sys::take_error(self.socket).ok().flatten() } else { None }
    }
}

impl SocketKernel<'_> {
    /// Sends the messages where errors are reported: what an ICMP message left is no matter of the datagram that meets it, which is
    /// tried again; an error that is told is the first message's own.
    fn send_reporting(&mut self, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        let mut taken = self.send_once(batch, runs);
        let Some(reports) = &mut self.reports else { return taken };
        // The error of the try before, where nothing was reported of it.
        let mut former = None;
        for _ in 0..MOST_REPORTS {
            let error = taken.error.filter(|errno| !errno.would_block());
            // It did not come again: it was pending.
            if former != error
                && let Some(lost) = former.take()
            {
                reports.push_lost(lost);
            }
            let Some(errno) = error else { break };
            let found = reports.take(self.socket);
            // What is left is sent by another call, which meets what is its own.
            if taken.messages > 0 {
                taken.error = None;
                break;
            }
            if let (Some(mut local), [run, ..]) = (found.local.filter(|local| local.errno == errno), runs) {
                // The kernel tells the port of a connection alone.
                local.destination = batch.destination(run.address).map(unmapped).or(local.destination);
                self.local = Some(local);
                break;
            }
            if !found.icmp && former.replace(errno).is_some() {
                break;
            }
            taken = self.messages.send(self.socket, batch, runs);
        }
        taken
    }

    fn send_once(&mut self, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        if self.forgets_errors { self.send_each(batch, runs) } else { self.messages.send(self.socket, batch, runs) }
    }

    /// Sends the messages, each in a call of its own, which tells the error that it meets.
    fn send_each(&mut self, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        for (messages, run) in runs.iter().enumerate() {
            let Taken { messages: sent, error } = self.messages.send(self.socket, batch, slice::from_ref(run));
            if sent == 0 {
                return Taken { messages, error };
            }
        }
        Taken { messages: runs.len(), error: None }
    }
}
