//! One UDP socket: its descriptor, what it knows of segmentation, and the datagrams that it has received ahead.

#![forbid(unsafe_code)]

use crate::errno::Errno;
use crate::outgoing::{Kernel, Outgoing, RunScratch, Statistics, Taken};
use crate::runs::Run;
use crate::sys::{self, MESSAGE_BYTES, Messages, PollItem, Received};
use crate::table::{Batch, ReceivedTable};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::env;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The buffers that the sockets of a thread share: a system call uses them, and leaves nothing in them.
#[derive(Default)]
pub struct Buffers {
    messages: Messages,
    runs: RunScratch,
}

/// A nonblocking UDP socket. Dropping it closes the descriptor.
pub struct UdpSocket {
    socket: Socket,
    connected: bool,
    outgoing: Outgoing,
    kept: Kept,
}

/// Datagrams of coalesced messages beyond what a receive asked for.
#[derive(Default)]
struct Kept {
    /// Where each lies in `bytes`, in order.
    datagrams: VecDeque<Received>,
    bytes: Vec<u8>,
    /// Segments in a coalesced message, of late: so few messages are asked for that little is kept.
    segments: usize,
    /// An error that followed datagrams which were passed on.
    error: Option<Errno>,
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
        Ok(Self::over(socket))
    }

    /// Takes over a socket that is open, and is not connected.
    pub fn over(socket: Socket) -> Self {
        let segmentation = segmentation_wanted() && sys::segmentation(&socket);
        Self { socket, connected: false, outgoing: Outgoing::new(segmentation), kept: Kept::default() }
    }

    /// The descriptor, for readiness and options.
    pub fn as_socket(&self) -> &Socket {
        &self.socket
    }

    /// Binds the socket. A port that the system chooses stays for the socket's life.
    pub fn bind(&mut self, address: SocketAddr) -> Result<(), Errno> {
        sys::bind(&self.socket, address)
    }

    /// Connects or reconnects; the bound address and port survive. Sizes that did not segment are tried again.
    pub fn connect(&mut self, address: SocketAddr) -> Result<(), Errno> {
        self.disconnect()?;
        sys::connect(&self.socket, address)?;
        self.connected = true;
        self.outgoing.forget_refusals();
        Ok(())
    }

    /// Dissolves the connection; the bound address and port survive.
    pub fn disconnect(&mut self) -> Result<(), Errno> {
        if self.connected {
            sys::disconnect(&self.socket)?;
            self.connected = false;
            self.outgoing.forget_refusals();
        }
        Ok(())
    }

    /// The bound address.
    pub fn local_address(&self) -> Result<SocketAddr, Errno> {
        self.socket.local_addr()?.as_socket().ok_or(Errno(sys::UNKNOWN))
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
        sys::coalesce_receives(&self.socket, on)
    }

    /// Sends a batch as if one datagram after the other; how many the kernel accepted, 0 where the socket would block.
    pub fn send(&mut self, buffers: &mut Buffers, batch: &Batch<'_>) -> Result<usize, Errno> {
        let mut kernel = SocketKernel { socket: &self.socket, messages: &mut buffers.messages };
        self.outgoing.send(&mut kernel, batch, &mut buffers.runs)
    }

    /// Whether there is room to send, by one poll. A pending error is taken and returned.
    pub fn check_send(&mut self) -> Result<bool, Errno> {
        if let Some(errno) = self.outgoing.take_deferred() {
            return Err(errno);
        }
        let mut items = [PollItem::new(&self.socket, false, true)];
        sys::poll(&mut items, Some(Duration::ZERO))?;
        // An error that is pending is taken by asking for it.
        match if items[0].has_error() { self.socket.take_error()? } else { None } {
            Some(pending) => Err(pending.into()),
            None => Ok(items[0].is_ready()),
        }
    }

    /// Keeps an error for the next check or send, where the kernel reports it once.
    pub fn defer_error(&mut self, errno: Errno) {
        self.outgoing.defer(errno);
    }

    /// Receives at most as many datagrams as the table has room for, into a payload of at least [`MESSAGE_BYTES`].
    ///
    /// What a coalesced message held beyond that is kept, and comes first in the next call. An error is returned only where
    /// no datagram came before it; else by the next call.
    pub fn receive(
        &mut self,
        buffers: &mut Buffers,
        payload: &mut [u8],
        table: &mut ReceivedTable<'_>,
    ) -> Result<(), Errno> {
        let Self { socket, outgoing, kept, .. } = self;
        let used = kept.pass_on(payload, table);
        if table.room() == 0 || !kept.datagrams.is_empty() {
            return Ok(());
        }
        if let Some(errno) = kept.error.take().or_else(|| outgoing.take_deferred()) {
            return kept.error_behind(errno, table);
        }
        let room = &mut payload[used..];
        let messages = table.room().div_ceil(kept.segments.max(1));
        let mut segments = 0;
        let taken = buffers.messages.receive(socket, room, messages, &mut |message| {
            let parts = datagrams(message);
            segments = segments.max(parts.len());
            for datagram in parts {
                if table.room() > 0 {
                    table.push(used + datagram.offset, datagram.length, datagram.source);
                } else {
                    kept.datagrams.push_back(datagram);
                }
            }
        });
        if taken.messages > 0 {
            kept.segments = segments;
        }
        kept.copy_from(room);
        match taken.error {
            Some(errno) => kept.error_behind(errno, table),
            None => Ok(()),
        }
    }

    /// Whether a wait for this socket must not begin: an error, or a datagram where `readable`, is here already, and the kernel
    /// does not know of it.
    fn has_news(&self, readable: bool) -> bool {
        self.outgoing.has_deferred() || readable && (self.kept.error.is_some() || !self.kept.datagrams.is_empty())
    }

    /// What the socket has sent.
    pub fn statistics(&self) -> Statistics {
        self.outgoing.statistics
    }
}

impl Kept {
    /// Moves kept datagrams into the payload and the table; the bytes of payload that they use, in whole messages.
    fn pass_on(&mut self, payload: &mut [u8], table: &mut ReceivedTable<'_>) -> usize {
        let mut used = 0;
        while table.room() > 0
            && let Some(&Received { offset, length, source, .. }) = self.datagrams.front()
            && used + length <= payload.len()
        {
            payload[used..used + length].copy_from_slice(&self.bytes[offset..offset + length]);
            table.push(used, length, source);
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

    /// An error, where no datagram came before it; else it is kept for the next receive.
    fn error_behind(&mut self, errno: Errno, table: &ReceivedTable<'_>) -> Result<(), Errno> {
        if table.is_empty() {
            return Err(errno);
        }
        self.error = Some(errno);
        Ok(())
    }
}

/// The datagrams of a message, in order.
fn datagrams(message: Received) -> impl ExactSizeIterator<Item = Received> {
    let Received { offset, length, segment, source } = message;
    let step = segment.max(1);
    let count = length.div_ceil(step).max(1);
    (0..count).map(move |index| {
        let start = index * step;
        let length = step.min(length - start);
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
    /// Written: whether it is ready. An error, or a datagram that is kept, counts.
    pub ready: bool,
}

/// Waits until one of the sockets is ready, at most so long; how many are. Interruptions by signals do not count.
pub fn poll(interests: &mut [Interest<'_>], timeout: Option<Duration>) -> Result<usize, Errno> {
    let has_news = |one: &Interest<'_>| one.socket.has_news(one.readable);
    let timeout = if interests.iter().any(has_news) { Some(Duration::ZERO) } else { timeout };
    let mut items: Vec<PollItem<'_>> =
        interests.iter().map(|one| PollItem::new(&one.socket.socket, one.readable, one.writable)).collect();
    let started = Instant::now();
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
        match sys::poll(&mut items, left) {
            Err(Errno(sys::INTERRUPTED)) => {}
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    for (interest, item) in interests.iter_mut().zip(&items) {
        interest.ready = item.is_ready() || has_news(interest);
    }
    Ok(interests.iter().filter(|interest| interest.ready).count())
}

struct SocketKernel<'a> {
    socket: &'a Socket,
    messages: &'a mut Messages,
}

impl Kernel for SocketKernel<'_> {
    fn send_messages(&mut self, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        self.messages.send(self.socket, batch, runs)
    }

    fn take_error(&mut self) -> Option<Errno> {
        self.socket.take_error().ok().flatten().map(Errno::from)
    }
}
