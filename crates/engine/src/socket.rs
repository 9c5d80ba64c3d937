//! One UDP socket: its descriptor, what it knows of segmentation, and the datagrams that it has received ahead.

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

/// Segments of coalesced messages that exceeded what a receive asked for; they come first in the next.
#[derive(Default)]
struct Kept {
    datagrams: VecDeque<(Box<[u8]>, SocketAddr)>,
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
        let segmentation = segmentation_wanted() && sys::segmentation(&socket);
        Ok(Self { socket, connected: false, outgoing: Outgoing::new(segmentation), kept: Kept::default() })
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
        sys::connect(&self.socket, address, self.connected)?;
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
        let mut item = [PollItem { socket: &self.socket, readable: false, writable: true, ready: false, error: false }];
        sys::poll(&mut item, Some(Duration::ZERO))?;
        let [PollItem { ready, error, .. }] = item;
        // POLLERR is also said of messages in the socket's error queue, which are no error.
        match if error { self.socket.take_error()? } else { None } {
            Some(pending) => Err(pending.into()),
            None => Ok(ready),
        }
    }

    /// Keeps an error for the next check or send, where the kernel reports it once.
    pub fn defer_error(&mut self, errno: Errno) {
        self.outgoing.defer(errno);
    }

    /// Receives at most as many datagrams as the table has room for. The payload is a multiple of [`MESSAGE_BYTES`].
    ///
    /// What a coalesced message held beyond that is kept. An error is returned only where no datagram came before it.
    pub fn receive(
        &mut self,
        buffers: &mut Buffers,
        payload: &mut [u8],
        table: &mut ReceivedTable<'_>,
    ) -> Result<(), Errno> {
        let used = self.kept.pass_on(payload, table);
        if table.room() == 0 {
            return Ok(());
        }
        let pending = self.kept.error.take().or_else(|| self.outgoing.take_deferred());
        if let Some(errno) = pending {
            return self.kept.error_behind(errno, table);
        }
        let room = &mut payload[used..];
        let messages = table.room().div_ceil(self.kept.segments.max(1));
        // Bytes are copied out of `payload` only after the system call, so the segments that do not fit are noted first.
        let mut spilled: Vec<Received> = Vec::new();
        let mut segments = 0;
        let taken = buffers.messages.receive(&self.socket, room, messages, &mut |received| {
            segments = segments.max(received.length.div_ceil(received.segment.max(1)));
            for part in parts(received) {
                if table.room() > 0 {
                    table.push(used + part.offset, part.length, part.source);
                } else {
                    spilled.push(part);
                }
            }
        });
        if taken.messages > 0 {
            self.kept.segments = segments;
        }
        for part in spilled {
            let bytes = &payload[used + part.offset..][..part.length];
            self.kept.datagrams.push_back((bytes.into(), part.source));
        }
        match taken.error {
            Some(errno) => self.kept.error_behind(errno, table),
            None => Ok(()),
        }
    }

    /// Whether a poll must not wait: an error or a datagram is here already.
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
        while table.room() > 0 {
            let Some((bytes, _)) = self.datagrams.front() else { break };
            if used + bytes.len() > payload.len() {
                break;
            }
            let Some((bytes, source)) = self.datagrams.pop_front() else { break };
            payload[used..used + bytes.len()].copy_from_slice(&bytes);
            table.push(used, bytes.len(), source);
            used += bytes.len();
        }
        used.next_multiple_of(MESSAGE_BYTES).min(payload.len())
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
fn parts(message: Received) -> impl Iterator<Item = Received> {
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
    let news: Vec<bool> = interests.iter().map(|one| one.socket.has_news(one.readable)).collect();
    let started = Instant::now();
    let mut items: Vec<PollItem<'_>> = interests
        .iter()
        .map(|one| PollItem {
            socket: &one.socket.socket,
            readable: one.readable,
            writable: one.writable,
            ready: false,
            error: false,
        })
        .collect();
    let timeout = if news.contains(&true) { Some(Duration::ZERO) } else { timeout };
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
        match sys::poll(&mut items, left) {
            Err(errno) if errno == Errno(sys::INTERRUPTED) => {}
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    let ready: Vec<bool> = items.iter().zip(news).map(|(item, news)| item.ready || news).collect();
    for (interest, &ready) in interests.iter_mut().zip(&ready) {
        interest.ready = ready;
    }
    Ok(ready.into_iter().filter(|&ready| ready).count())
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
