//! The sockets, buffers, errors and clock of a Linux that exists in memory alone.
//!
//! What it does is what net/ipv4/udp.c, net/core/sock.c and net/core/datagram.c do: a socket has an error that the next call
//! consumes (`sk_err`), beside a queue of errors that only its reader empties; a send buffer takes a message while it is not
//! full, and is writable again once it is half empty.

#![forbid(unsafe_code)]

use super::number;
use super::random::Random;
use crate::errno::Errno;
use crate::runs::{MAX_RUN_BYTES, MAX_SEGMENTS, Run};
use crate::table::Batch;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

/// Bytes that a message takes of a buffer beside its own.
const OVERHEAD: usize = 256;

/// Errors that the queue of a socket holds.
const ERROR_QUEUE: usize = 16;

/// What the kernel does now and then: the numbers are times in a thousand, where nothing else is said.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A signal ends a call before it has done anything.
    pub interrupts: u32,
    /// A message finds no memory (ENOBUFS).
    pub no_buffers: u32,
    /// An ICMP message that is on its way comes between two messages of one call.
    pub meanwhile: u32,
    /// A connect fails (ENETUNREACH).
    pub unreachable: u32,
    /// A segmented message is refused as such (EIO).
    pub refuses_offload: u32,
    /// A received run ends before it must.
    pub splits: u32,
    /// The largest segment that is taken, in bytes.
    pub largest_segment: u32,
    /// Bytes of a send buffer.
    pub send_buffer: u32,
    /// Bytes of a receive buffer.
    pub receive_buffer: u32,
    /// How long a message stays in the send buffer at most, in ticks of the clock.
    pub drain: u32,
    /// A loop of sendmsg(2) and recvmsg(2) in place of sendmmsg(2) and recvmmsg(2), with nothing that only Linux has.
    pub one_by_one: bool,
    /// A filter forbids to read a socket's queue of errors (EPERM).
    pub no_error_queue: bool,
}

/// What happened, as whoever drives the kernel is told: a kind, the socket, three numbers.
pub type Event = [i32; 5];

/// The kinds of events.
mod kind {
    /// A datagram left: its destination's address (the last four bytes), port, and the hash of its bytes.
    pub const SENT: i32 = 1;
    /// An ICMP message reached a socket: its error number, and the port of the peer that it is about.
    pub const ICMP: i32 = 2;
}

/// What is there, as poll(2) tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// A datagram.
    pub readable: bool,
    /// Half of the send buffer.
    pub writable: bool,
    /// An error.
    pub error: bool,
}

/// An ICMP message: an error that a peer, or a router on the way to it, tells a socket.
#[derive(Clone, Copy, Debug)]
pub struct Icmp {
    /// The socket's descriptor, and which of its owners it is for.
    pub socket: RawFd,
    /// Where what it is about went.
    pub peer: SocketAddr,
    /// The error.
    pub errno: Errno,
}

/// A socket as the kernel has it.
#[derive(Debug, Default)]
pub struct Endpoint {
    /// Tells the socket from others that had its descriptor.
    number: u64,
    /// The address that it is connected to.
    pub peer: Option<SocketAddr>,
    /// The error that the next call tells, and takes.
    pub error: Option<Errno>,
    /// Whether ICMP errors are queued as well.
    pub queues_errors: bool,
    /// The queue of errors; none for one of the socket's own doing.
    pub errors: VecDeque<Option<Errno>>,
    /// Whether received runs come as one message.
    pub coalesces: bool,
    /// What lies in the send buffer: when each message leaves it, and its bytes.
    sending: VecDeque<(u64, usize)>,
    sending_bytes: usize,
    received: VecDeque<(SocketAddr, Vec<u8>)>,
    received_bytes: usize,
}

/// The kernel of one thread.
#[derive(Debug, Default)]
pub struct Kernel {
    /// What it does now and then.
    pub settings: Settings,
    random: Random,
    /// The clock, in ticks; poll(2) has a millisecond of each.
    now: u64,
    opened: u64,
    sockets: BTreeMap<RawFd, Endpoint>,
    /// The peers that refuse, and after how many ticks at most their ICMP messages come.
    refusing: BTreeMap<SocketAddr, u64>,
    /// ICMP messages on their way: when each arrives, and the number of the socket that it is for.
    icmp: VecDeque<(u64, u64, Icmp)>,
    /// What happened since it was last asked.
    pub events: Vec<Event>,
}

impl Kernel {
    /// A kernel with no sockets.
    pub fn new(seed: u64, settings: Settings) -> Self {
        Self { random: Random::new(seed), settings, ..Self::default() }
    }

    /// The clock.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// How many sockets are open.
    pub fn open_sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Takes a new socket in.
    pub fn open(&mut self, socket: RawFd) {
        self.opened += 1;
        self.sockets.insert(socket, Endpoint { number: self.opened, ..Endpoint::default() });
    }

    /// Forgets a socket, which closes.
    pub fn close(&mut self, socket: RawFd) {
        self.sockets.remove(&socket);
    }

    /// The socket of a descriptor.
    pub fn socket(&mut self, socket: RawFd) -> Result<&mut Endpoint, Errno> {
        self.sockets.get_mut(&socket).ok_or(Errno(number::EBADF))
    }

    /// Whether a signal comes.
    pub fn is_interrupted(&mut self) -> bool {
        self.random.happens(self.settings.interrupts)
    }

    /// Lets time go by: send buffers drain, ICMP messages arrive.
    pub fn advance(&mut self, ticks: u64) {
        self.now += ticks;
        for endpoint in self.sockets.values_mut() {
            while let Some(&(until, bytes)) = endpoint.sending.front()
                && until <= self.now
            {
                endpoint.sending.pop_front();
                endpoint.sending_bytes -= bytes;
            }
        }
        while let Some(&(at, number, icmp)) = self.icmp.front()
            && at <= self.now
        {
            self.icmp.pop_front();
            self.arrive(number, icmp);
        }
    }

    /// Between two messages of a call an ICMP message may come.
    pub fn meanwhile(&mut self) {
        if self.random.happens(self.settings.meanwhile)
            && let Some((_, number, icmp)) = self.icmp.pop_front()
        {
            self.arrive(number, icmp);
        }
    }

    /// Has a peer refuse what it is sent, or take it: an ICMP message comes after so many ticks at most, 0 within the call.
    pub fn set_refusing(&mut self, peer: SocketAddr, delay: Option<u64>) {
        match delay {
            Some(delay) => self.refusing.insert(peer, delay),
            None => self.refusing.remove(&peer),
        };
    }

    /// Sends an ICMP message, which comes after so many ticks.
    pub fn send_icmp(&mut self, icmp: Icmp, delay: u64) {
        let Some(number) = self.sockets.get(&icmp.socket).map(|endpoint| endpoint.number) else { return };
        if delay == 0 {
            self.arrive(number, icmp);
            return;
        }
        let at = self.now + delay;
        let place = self.icmp.partition_point(|&(other, ..)| other <= at);
        self.icmp.insert(place, (at, number, icmp));
    }

    /// An ICMP message comes: `__udp4_lib_err`. It is for a socket that is connected to its peer, or to nobody; an
    /// unconnected one that does not queue errors hears nothing, a connected one of what is final alone.
    fn arrive(&mut self, number: u64, Icmp { socket, peer, errno }: Icmp) {
        let Some(endpoint) = self.sockets.get_mut(&socket).filter(|endpoint| endpoint.number == number) else { return };
        let is_final = errno.0 != number::EHOSTUNREACH && errno.0 != number::ENETUNREACH;
        if endpoint.peer.is_some_and(|connected| connected != peer)
            || !endpoint.queues_errors && (endpoint.peer.is_none() || !is_final)
        {
            return;
        }
        if endpoint.queues_errors && endpoint.errors.len() < ERROR_QUEUE {
            endpoint.errors.push_back(Some(errno));
        }
        endpoint.error = Some(errno);
        self.events.push([kind::ICMP, socket, errno.0, i32::from(peer.port()), 0]);
    }

    /// Takes the next error of the queue: none where it is empty. `sock_dequeue_err_skb`: the socket's own error is the one
    /// of the next in the queue then, or none.
    pub fn next_error(&mut self, socket: RawFd) -> Result<Option<Option<Errno>>, Errno> {
        let endpoint = self.socket(socket)?;
        let Some(taken) = endpoint.errors.pop_front() else { return Ok(None) };
        match endpoint.errors.front() {
            Some(Some(next)) => endpoint.error = Some(*next),
            _ if taken.is_some() => endpoint.error = None,
            _ => {}
        }
        Ok(Some(taken))
    }

    /// Gives back an error that the last message of a call met: `__sys_recvmmsg`.
    pub fn put_back(&mut self, socket: RawFd, errno: Errno) {
        if let Ok(endpoint) = self.socket(socket) {
            endpoint.error = Some(errno);
        }
    }

    /// Connects a socket.
    pub fn connect(&mut self, socket: RawFd, peer: SocketAddr) -> Result<(), Errno> {
        if self.random.happens(self.settings.unreachable) {
            return Err(Errno(number::ENETUNREACH));
        }
        self.socket(socket)?.peer = Some(peer);
        Ok(())
    }

    /// What poll(2) tells of a socket; none where it is closed.
    pub fn state(&self, socket: RawFd) -> Option<State> {
        self.sockets.get(&socket).map(|endpoint| State {
            readable: !endpoint.received.is_empty(),
            writable: endpoint.sending_bytes < self.settings.send_buffer as usize / 2,
            error: endpoint.error.is_some() || !endpoint.errors.is_empty(),
        })
    }

    /// One message leaves, as one datagram or as segments.
    pub fn send(&mut self, socket: RawFd, batch: &Batch<'_>, run: Run) -> Result<(), Errno> {
        let Self { settings, random, .. } = self;
        let endpoint = self.sockets.get_mut(&socket).ok_or(Errno(number::EBADF))?;
        let destination = batch.destination(run.address).or(endpoint.peer).ok_or(Errno(number::EDESTADDRREQ))?;
        if run.bytes as usize > MAX_RUN_BYTES {
            if endpoint.queues_errors {
                endpoint.errors.push_back(None);
            }
            return Err(Errno(number::EMSGSIZE));
        }
        if let Some(errno) = endpoint.error.take() {
            return Err(errno);
        }
        if endpoint.sending_bytes >= settings.send_buffer as usize {
            return Err(Errno(number::EAGAIN));
        }
        if random.happens(settings.no_buffers) {
            return Err(Errno(number::ENOBUFS));
        }
        if run.is_segmented() {
            if settings.one_by_one {
                return Err(Errno(number::EOPNOTSUPP));
            }
            if run.segment > settings.largest_segment {
                return Err(Errno(number::EMSGSIZE));
            }
            if random.happens(settings.refuses_offload) {
                return Err(Errno(number::EIO));
            }
        }
        let bytes = run.bytes as usize + OVERHEAD;
        // Messages leave in order.
        let last = endpoint.sending.back().map_or(self.now, |&(until, _)| until);
        let until = last.max(self.now + random.below(u64::from(settings.drain)));
        endpoint.sending.push_back((until, bytes));
        endpoint.sending_bytes += bytes;
        for piece in batch.pieces(run.place, run.count as usize) {
            // A piece is of whole datagrams; an empty one is alone.
            for datagram in piece.chunks(run.segment.max(1) as usize) {
                self.events.push(sent(socket, destination, datagram));
            }
            if piece.is_empty() {
                self.events.push(sent(socket, destination, piece));
            }
        }
        if let Some(&delay) = self.refusing.get(&destination) {
            let icmp = Icmp { socket, peer: destination, errno: Errno(number::ECONNREFUSED) };
            let delay = self.random.below(delay + 1);
            self.send_icmp(icmp, delay);
        }
        Ok(())
    }

    /// A datagram arrives; false where the kernel drops it: the buffer is full, or the socket is connected to another.
    pub fn arrival(&mut self, socket: RawFd, source: SocketAddr, bytes: Vec<u8>) -> bool {
        let most = self.settings.receive_buffer as usize;
        let Ok(endpoint) = self.socket(socket) else { return false };
        if endpoint.peer.is_some_and(|peer| peer != source) || endpoint.received_bytes >= most {
            return false;
        }
        endpoint.received_bytes += bytes.len() + OVERHEAD;
        endpoint.received.push_back((source, bytes));
        true
    }

    /// The next message, written into a buffer: its bytes, those of each datagram in it, its source; none where none is
    /// there. An error that is pending comes first.
    pub fn receive(&mut self, socket: RawFd, buffer: &mut [u8]) -> Result<Option<(usize, usize, SocketAddr)>, Errno> {
        let Self { settings, random, .. } = self;
        let endpoint = self.sockets.get_mut(&socket).ok_or(Errno(number::EBADF))?;
        if let Some(errno) = endpoint.error.take() {
            return Err(errno);
        }
        let mut message: Option<(usize, usize, SocketAddr)> = None;
        for segments in 0..MAX_SEGMENTS {
            let Some((source, bytes)) = endpoint.received.front() else { break };
            let (length, segment, from) = message.unwrap_or((0, bytes.len(), *source));
            let joins = endpoint.coalesces
                && segment > 0
                && !bytes.is_empty()
                && from == *source
                && bytes.len() <= segment
                && length + bytes.len() <= MAX_RUN_BYTES
                && !random.happens(settings.splits);
            if segments > 0 && !joins {
                break;
            }
            buffer[length..length + bytes.len()].copy_from_slice(bytes);
            message = Some((length + bytes.len(), segment, from));
            let is_last = bytes.len() < segment;
            endpoint.received_bytes -= bytes.len() + OVERHEAD;
            endpoint.received.pop_front();
            if is_last {
                break;
            }
        }
        Ok(message)
    }
}

/// The event of a datagram that left.
fn sent(socket: RawFd, destination: SocketAddr, datagram: &[u8]) -> Event {
    [kind::SENT, socket, word(destination.ip()), i32::from(destination.port()), hash(datagram)]
}

/// The last four bytes of an address, as a number.
fn word(ip: IpAddr) -> i32 {
    match ip {
        IpAddr::V4(v4) => u32::from(v4) as i32,
        IpAddr::V6(v6) => u128::from(v6) as i32,
    }
}

/// A hash of bytes and how many they are.
pub fn hash(bytes: &[u8]) -> i32 {
    let mut mixed = bytes.len() as u64;
    let mut mix = |word: u64| {
        mixed = (mixed ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 29;
    };
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        mix(u64::from_ne_bytes(*word));
    }
    for &byte in rest {
        mix(u64::from(byte));
    }
    (mixed ^ (mixed >> 32)) as i32
}
