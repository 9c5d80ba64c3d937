//! Any Unix: sendmsg(2) and recvmsg(2) in a loop, with nothing that only some systems have.

use super::unix::{Control, NO_CONTROL, Name, UNKNOWN, Writer, ancillary, counted};
use super::{MESSAGE_BYTES, Received, Report, retry};
use crate::ancillary::Ancillary;
use crate::errno::Errno;
use crate::options::unmapped;
use crate::outgoing::Taken;
use crate::runs::Run;
use crate::table::Batch;
use socket2::Socket;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::ptr;

/// The system call that sends.
pub const BACKEND: &str = "sendmsg";

/// The buffers of the system calls.
pub struct Messages {
    name: Name,
    control: Control,
}

impl Messages {
    /// Makes the buffers.
    pub fn new() -> Self {
        Self { name: Name::empty(), control: NO_CONTROL }
    }

    /// Sends the datagrams one by one, until the kernel refuses one. There is no segmentation here, so a run is a datagram.
    pub fn send(&mut self, socket: &Socket, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        for (messages, run) in runs.iter().enumerate() {
            if let Err(errno) = self.send_one(socket, batch, run) {
                return Taken { messages, error: Some(errno) };
            }
        }
        Taken { messages: runs.len(), error: None }
    }

    fn send_one(&mut self, socket: &Socket, batch: &Batch<'_>, run: &Run) -> Result<(), Errno> {
        if run.is_segmented() {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        let bytes = batch.pieces(run.place, 1).next().unwrap_or_default();
        let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let mut header = empty_header(&mut vector);
        if let Some(destination) = batch.destination(run.address) {
            header.msg_namelen = self.name.set(destination);
            header.msg_name = (&raw mut self.name).cast();
        }
        if let Some(ancillary) = batch.ancillary(run.address) {
            let ipv6 = batch.leaves_by_ipv6(run.address);
            let ancillary = if ipv6 || !cfg!(target_vendor = "apple") {
                ancillary
            } else {
                let bound = socket.local_addr()?.as_socket().ok_or(Errno(UNKNOWN))?;
                ancillary.for_macos(unmapped(bound).ip()).ok_or(Errno(libc::EOPNOTSUPP))?
            };
            let mut control = Writer::new(&mut self.control);
            control.ancillary(&ancillary, ipv6);
            control.attach(&mut header);
        }
        // SAFETY: the header points to a vector, a name and a control that live through the call, and to the batch's payload, which its
        // borrow keeps alive and unchanged; the kernel only reads them.
        retry(|| counted(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, 0) })).map(|_| ())
    }

    /// Receives at most `max` messages, each into its own [`MESSAGE_BYTES`] of the payload.
    pub fn receive(
        &mut self,
        socket: &Socket,
        payload: &mut [u8],
        max: usize,
        tells: bool,
        received: &mut impl FnMut(Received, Option<Ancillary>),
    ) -> Taken {
        let mut messages = 0;
        for buffer in payload.chunks_exact_mut(MESSAGE_BYTES).take(max) {
            match self.receive_one(socket, buffer, tells) {
                Ok(Some((length, source, told))) => {
                    received(Received { offset: messages * MESSAGE_BYTES, length, segment: length, source }, told);
                    messages += 1;
                }
                Ok(None) => break,
                Err(errno) => return Taken { messages, error: Some(errno) },
            }
        }
        Taken { messages, error: None }
    }

    /// One datagram: its bytes, its source, what is told beside; none where none is there.
    fn receive_one(
        &mut self,
        socket: &Socket,
        buffer: &mut [u8],
        tells: bool,
    ) -> Result<Option<(usize, SocketAddr, Option<Ancillary>)>, Errno> {
        loop {
            let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            let mut header = empty_header(&mut vector);
            header.msg_name = (&raw mut self.name).cast();
            header.msg_namelen = Name::CAPACITY;
            if tells {
                header.msg_control = self.control.as_mut_ptr().cast();
                header.msg_controllen = mem::size_of::<Control>() as _;
            }
            // SAFETY: the header points to a vector, a name and a control that live through the call, and to `buffer`, which is
            // borrowed mutably: nobody else reads or writes it.
            match retry(|| counted(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) })) {
                Ok(_) if header.msg_flags & libc::MSG_TRUNC != 0 => return Err(Errno(libc::EMSGSIZE)),
                Ok(length) => {
                    if let Some(source) = self.name.get() {
                        return Ok(Some((length, source, tells.then(|| ancillary(&header)))));
                    }
                }
                Err(Errno(libc::EAGAIN)) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Default for Messages {
    fn default() -> Self {
        Self::new()
    }
}

fn empty_header(vector: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: zeros are a valid msghdr: null pointers with lengths of 0.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    header.msg_name = ptr::null_mut();
    header
}

/// Makes room for the largest datagram: macOS and BSD refuse (EMSGSIZE) what exceeds the send buffer, which begins with the
/// 9,216 bytes of `net.inet.udp.maxdgram`.
pub fn prepare(socket: &Socket) -> Result<(), Errno> {
    if socket.send_buffer_size()? < MESSAGE_BYTES {
        socket.set_send_buffer_size(MESSAGE_BYTES)?;
    }
    Ok(())
}

/// Each message is a call of its own here, which tells its error: nothing is forgotten that a queue would have to keep.
pub fn queue_errors(_: &Socket, _: bool) -> Result<(), Errno> {
    Ok(())
}

/// Takes the error that is pending (`SO_ERROR`).
pub fn take_error(socket: &Socket) -> Result<Option<Errno>, Errno> {
    Ok(socket.take_error()?.map(Errno::from))
}

/// Receives take what the system tells beside datagrams.
pub fn reads_control() -> Result<(), Errno> {
    Ok(())
}

/// Whether errors are queued with the destinations that they came from.
pub const REPORTS: bool = false;

/// There is no queue of errors here.
pub fn take_reports(_: &Socket, _: &mut [u8], _: impl FnMut(Report<'_>)) -> Result<(), Errno> {
    Ok(())
}

/// No segmented messages here.
pub fn segmentation(_: &Socket) -> bool {
    false
}

/// No coalesced messages here.
pub fn coalesce_receives(_: &Socket, on: bool) -> Result<(), Errno> {
    if on { Err(Errno(libc::EOPNOTSUPP)) } else { Ok(()) }
}
