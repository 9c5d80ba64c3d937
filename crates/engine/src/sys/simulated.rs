//! A kernel that is simulated, so that whoever drives it decides what the system does, and repeats it: see [`Kernel`].
//!
//! The socket is an identity here: no byte of a datagram, and no option that the kernel below knows, reaches the system. Each
//! thread has a kernel of its own, which knows a socket by its descriptor.

#![forbid(unsafe_code)]

use super::{MESSAGE_BYTES, Received, Report, UNKNOWN, number, retry};
use crate::ancillary::Ancillary;
use crate::errno::Errno;
use crate::outgoing::Taken;
use crate::runs::Run;
use crate::table::Batch;
use socket2::Socket;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

mod kernel;
mod random;
pub use kernel::{Event, Icmp, Kernel, Settings, State, hash};

/// The system call that sends.
pub const BACKEND: &str = "simulated";

thread_local! {
    static KERNEL: RefCell<Kernel> = RefCell::default();
}

/// Uses the kernel of this thread.
pub fn kernel<T>(body: impl FnOnce(&mut Kernel) -> T) -> T {
    KERNEL.with_borrow_mut(body)
}

/// A system call, which a signal ends now and then before it has done anything.
fn call<T>(mut body: impl FnMut(&mut Kernel) -> Result<T, Errno>) -> Result<T, Errno> {
    retry(|| kernel(|kernel| if kernel.is_interrupted() { Err(Errno(number::EINTR)) } else { body(kernel) }))
}

/// No buffers: the simulated kernel reads and writes the caller's.
#[derive(Default)]
pub struct Messages;

impl Messages {
    /// Makes nothing.
    pub fn new() -> Self {
        Self
    }

    /// Sends the runs as one sendmmsg(2), which tells an error of its first message alone; or as a loop of sendmsg(2).
    pub fn send(&mut self, socket: &Socket, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        let socket = socket.as_raw_fd();
        if kernel(|kernel| kernel.settings.one_by_one) {
            for (messages, run) in runs.iter().enumerate() {
                if let Err(errno) = call(|kernel| kernel.send(socket, batch, *run)) {
                    return Taken { messages, error: Some(errno) };
                }
            }
            return Taken { messages: runs.len(), error: None };
        }
        let send = |kernel: &mut Kernel| {
            for (sent, run) in runs.iter().enumerate() {
                if sent > 0 {
                    kernel.meanwhile();
                }
                if let Err(errno) = kernel.send(socket, batch, *run) {
                    return if sent > 0 { Ok(sent) } else { Err(errno) };
                }
            }
            Ok(runs.len())
        };
        call(send).into()
    }

    /// Receives as one recvmmsg(2), which leaves an error behind good messages with the socket; or as a loop of recvmsg(2).
    pub fn receive(
        &mut self,
        socket: &Socket,
        payload: &mut [u8],
        max: usize,
        _: bool,
        received: &mut impl FnMut(Received, Option<Ancillary>),
    ) -> Taken {
        let socket = socket.as_raw_fd();
        let one_by_one = kernel(|kernel| kernel.settings.one_by_one);
        let mut messages = 0;
        for buffer in payload.chunks_exact_mut(MESSAGE_BYTES).take(max) {
            let message = if messages == 0 || one_by_one {
                call(|kernel| kernel.receive(socket, buffer))
            } else {
                kernel(|kernel| {
                    kernel.meanwhile();
                    kernel.receive(socket, buffer)
                })
            };
            match message {
                Ok(Some((length, segment, source))) => {
                    received(Received { offset: messages * MESSAGE_BYTES, length, segment, source }, None);
                    messages += 1;
                }
                Ok(None) => break,
                Err(errno) if messages > 0 && !one_by_one => {
                    kernel(|kernel| kernel.put_back(socket, errno));
                    break;
                }
                Err(errno) => return Taken { messages, error: Some(errno) },
            }
        }
        Taken { messages, error: None }
    }
}

/// Whether segmented messages can be sent.
pub fn segmentation(_: &Socket) -> bool {
    kernel(|kernel| !kernel.settings.one_by_one)
}

/// Whether the kernel may hand over runs as one message.
pub fn coalesce_receives(socket: &Socket, on: bool) -> Result<(), Errno> {
    kernel(|kernel| {
        if on && kernel.settings.one_by_one {
            return Err(Errno(number::EOPNOTSUPP));
        }
        kernel.socket(socket.as_raw_fd())?.coalesces = on;
        Ok(())
    })
}

/// The address is nobody's business here: what arrives is for a socket that is named.
pub fn bind(_: &Socket, _: SocketAddr) -> Result<(), Errno> {
    call(|_| Ok(()))
}

/// Connects a socket that is not connected.
pub fn connect(socket: &Socket, address: SocketAddr) -> Result<(), Errno> {
    call(|kernel| kernel.connect(socket.as_raw_fd(), address))
}

/// Dissolves the connection; an error that is pending stays.
pub fn disconnect(socket: &Socket) -> Result<(), Errno> {
    call(|kernel| {
        kernel.socket(socket.as_raw_fd())?.peer = None;
        Ok(())
    })
}

/// Whether ICMP errors are kept in a queue; what it holds goes when it is turned off, as with IP_RECVERR of Linux.
pub fn queue_errors(socket: &Socket, on: bool) -> Result<(), Errno> {
    kernel(|kernel| {
        if on && kernel.settings.no_error_queue {
            return Err(Errno(number::EPERM));
        }
        let on = on && !kernel.settings.one_by_one;
        let socket = kernel.socket(socket.as_raw_fd())?;
        socket.queues_errors = on;
        if !on {
            socket.errors.clear();
        }
        Ok(())
    })
}

/// Takes all errors that are pending, of which the oldest is the answer.
pub fn take_error(socket: &Socket) -> Result<Option<Errno>, Errno> {
    let mut oldest = None;
    while let Some(errno) = call(|kernel| kernel.next_error(socket.as_raw_fd()))? {
        oldest = oldest.or(errno);
    }
    let last = kernel(|kernel| Ok::<_, Errno>(kernel.socket(socket.as_raw_fd())?.error.take()))?;
    Ok(oldest.or(last))
}

/// Nothing is told beside datagrams.
pub fn reads_control() -> Result<(), Errno> {
    Err(Errno(number::EOPNOTSUPP))
}

/// Whether errors are queued with the destinations that they came from.
pub const REPORTS: bool = false;

/// There is no queue of errors here.
pub fn take_reports(_: &Socket, _: &mut [u8], _: impl FnMut(Report<'_>)) -> Result<(), Errno> {
    Ok(())
}

/// Makes the socket known to the kernel.
pub fn prepare(socket: &Socket) -> Result<(), Errno> {
    kernel(|kernel| kernel.open(socket.as_raw_fd()));
    Ok(())
}

/// One socket in a poll.
pub struct PollItem<'a> {
    socket: RawFd,
    readable: bool,
    writable: bool,
    found: State,
    of: PhantomData<&'a Socket>,
}

impl<'a> PollItem<'a> {
    /// A socket, and what it is polled for.
    pub fn new(socket: &'a Socket, readable: bool, writable: bool) -> Self {
        let socket = socket.as_raw_fd();
        Self { socket, readable, writable, found: State::default(), of: PhantomData }
    }

    /// Whether something could be received at the last poll, or a call would tell an error.
    pub fn is_readable(&self) -> bool {
        self.readable && self.found.readable || self.found.error
    }

    /// Whether there was room to send at the last poll.
    pub fn is_writable(&self) -> bool {
        self.writable && self.found.writable
    }

    /// Whether an error was there.
    pub fn has_error(&self) -> bool {
        self.found.error
    }
}

/// Waits until one of the items is ready: the clock goes on meanwhile.
pub fn poll(items: &mut [PollItem<'_>], timeout: Option<Duration>) -> Result<(), Errno> {
    let until = kernel(|kernel| kernel.now() + timeout.map_or(u64::MAX >> 1, |timeout| timeout.as_millis() as u64));
    call(|kernel| {
        loop {
            for item in &mut *items {
                item.found = kernel.state(item.socket).ok_or(Errno(UNKNOWN))?;
            }
            let is_ready = |item: &PollItem<'_>| item.is_readable() || item.is_writable() || item.has_error();
            if items.iter().any(is_ready) || kernel.now() >= until {
                return Ok(());
            }
            kernel.advance(1);
        }
    })
}
