//! Linux: sendmmsg(2) with UDP_SEGMENT, recvmmsg(2) with UDP_GRO. Where a filter refuses them (seccomp(2)), calls of one message.

use super::refused::{Call, Refused};
use super::unix::{Control, NO_CONTROL, Name, Writer, ancillary, counted, queued_error, segment_size};
use super::{MESSAGE_BYTES, Received, Report, retry};
use crate::ancillary::Ancillary;
use crate::errno::Errno;
use crate::outgoing::Taken;
use crate::runs::Run;
use crate::table::{Batch, MAX_DATAGRAMS, NO_ADDRESS};
use socket2::{Domain, Socket};
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

/// The system call that sends.
pub const BACKEND: &str = "sendmmsg";

/// The arrays that sendmmsg(2) and recvmmsg(2) read and write: one of each a thread, as large as the largest batch.
///
/// The headers point into the other arrays and the payload. Those pointers are made anew for each call and used by it alone.
pub struct Messages {
    headers: Box<[libc::mmsghdr]>,
    vectors: Box<[libc::iovec]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    refused: Refused,
}

impl Messages {
    /// Allocates the arrays.
    pub fn new() -> Self {
        // SAFETY: zeros are a valid mmsghdr: null pointers with lengths of 0.
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        let vector = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self {
            headers: vec![header; MAX_DATAGRAMS].into(),
            vectors: vec![vector; MAX_DATAGRAMS].into(),
            names: vec![Name::empty(); MAX_DATAGRAMS].into(),
            controls: vec![NO_CONTROL; MAX_DATAGRAMS].into(),
            refused: Refused::default(),
        }
    }

    /// Sends the runs in order, in one sendmmsg(2), which stops at the first that the kernel refuses.
    pub fn send(&mut self, socket: &Socket, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        if let [run] = runs
            && !run.is_segmented()
            && batch.ancillary(run.address).is_none()
            && !self.refused.has(Call::Sendto)
        {
            match send_one(socket, batch, *run) {
                Err(errno) if self.refused.learn(Call::Sendto, errno) => {}
                answer => return answer.map(|()| 1).into(),
            }
        }
        let mut used = 0;
        // The name of the message before: its address index, where it lies, its length.
        let mut named = (NO_ADDRESS, ptr::null_mut(), 0);
        for (message, run) in runs.iter().enumerate() {
            let first = used;
            for piece in batch.pieces(run.place, run.count as usize) {
                self.vectors[used] = vector(piece);
                used += 1;
            }
            let header = &mut self.headers[message].msg_hdr;
            header.msg_iov = &raw mut self.vectors[first];
            header.msg_iovlen = (used - first) as _;
            if run.address != named.0 {
                let name = &mut self.names[message];
                named = match batch.destination(run.address) {
                    Some(destination) => (run.address, ptr::from_mut(name).cast(), name.set(destination)),
                    None => (NO_ADDRESS, ptr::null_mut(), 0),
                };
            }
            (_, header.msg_name, header.msg_namelen) = named;
            let mut control = Writer::new(&mut self.controls[message]);
            if run.is_segmented() {
                control.segment(run.segment as u16);
            }
            if let Some(ancillary) = batch.ancillary(run.address) {
                control.ancillary(&ancillary, batch.leaves_by_ipv6(run.address));
            }
            control.attach(header);
        }
        if !self.refused.has(Call::Sendmmsg) {
            // SAFETY: the first `runs.len()` headers were written above. Their names, vectors and controls lie in arrays of
            // `self`, borrowed for this call and not moved; the vectors lie in the batch's payload, which its borrow keeps
            // alive and unchanged. The kernel only reads them, but for the headers' lengths.
            let send =
                || counted(unsafe { sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), runs.len()) } as isize);
            match retry(send) {
                Err(errno) if self.refused.learn(Call::Sendmmsg, errno) => {}
                answer => return answer.into(),
            }
        }
        for (messages, run) in runs.iter().enumerate() {
            if let Err(errno) = self.send_written(socket, batch, messages, *run) {
                return Taken { messages, error: Some(errno) };
            }
        }
        Taken { messages: runs.len(), error: None }
    }

    /// Sends the run whose header is written by sendmsg(2), or by sendto(2) where that is refused too: a run of several goes
    /// plainly then, since sendto(2) takes no control message.
    fn send_written(&mut self, socket: &Socket, batch: &Batch<'_>, message: usize, run: Run) -> Result<(), Errno> {
        if !self.refused.has(Call::Sendmsg) {
            let header = &raw const self.headers[message].msg_hdr;
            // SAFETY: as for sendmmsg(2) above, of which this is one message.
            match retry(|| counted(unsafe { libc::sendmsg(socket.as_raw_fd(), header, 0) })) {
                Err(errno) if self.refused.learn(Call::Sendmsg, errno) => {}
                answer => return answer.map(|_| ()),
            }
        }
        let needs_control = run.is_segmented() || batch.ancillary(run.address).is_some();
        if needs_control { Err(Errno(libc::EOPNOTSUPP)) } else { send_one(socket, batch, run) }
    }

    /// Receives at most `max` messages in one recvmmsg(2), each into its own [`MESSAGE_BYTES`] of the payload.
    pub fn receive(
        &mut self,
        socket: &Socket,
        payload: &mut [u8],
        max: usize,
        tells: bool,
        received: &mut impl FnMut(Received, Option<Ancillary>),
    ) -> Taken {
        let mut messages = 0;
        for buffer in payload.chunks_exact_mut(MESSAGE_BYTES).take(max.min(MAX_DATAGRAMS)) {
            self.vectors[messages] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: MESSAGE_BYTES };
            let header = &mut self.headers[messages].msg_hdr;
            header.msg_iov = &raw mut self.vectors[messages];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut self.names[messages]).cast();
            header.msg_namelen = Name::CAPACITY;
            header.msg_control = self.controls[messages].as_mut_ptr().cast();
            header.msg_controllen = mem::size_of::<Control>() as _;
            header.msg_flags = 0;
            messages += 1;
        }
        let Taken { messages: count, mut error } = self.receive_written(socket, messages);
        for (message, header) in self.headers[..count].iter().enumerate() {
            // No datagram, and no run of them, exceeds the buffer; one that did is not passed on cut.
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                error = Some(Errno(libc::EMSGSIZE));
                continue;
            }
            let Some(source) = self.names[message].get() else { continue };
            let length = header.msg_len as usize;
            let segment = segment_size(&header.msg_hdr).unwrap_or(length);
            let told = tells.then(|| ancillary(&header.msg_hdr));
            received(Received { offset: message * MESSAGE_BYTES, length, segment, source }, told);
        }
        Taken { messages: count, error }
    }

    /// Receives into the first `messages` headers, which are written, by one recvmmsg(2). An error behind good messages stays
    /// with the socket then: the next call reports it. Where recvmmsg(2) is refused, each is a call of its own.
    fn receive_written(&mut self, socket: &Socket, messages: usize) -> Taken {
        if !self.refused.has(Call::Recvmmsg) {
            let receive = || {
                // SAFETY: the caller wrote the first `messages` headers, which point into arrays of `self` and into a payload:
                // both are borrowed mutably for the caller's call, so nobody else reads or writes them.
                counted(unsafe {
                    libc::recvmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), messages as u32, 0, ptr::null_mut())
                } as isize)
            };
            match retry(receive) {
                Err(Errno(libc::EAGAIN)) => return Taken { messages: 0, error: None },
                Err(errno) if self.refused.learn(Call::Recvmmsg, errno) => {}
                answer => return answer.into(),
            }
        }
        for message in 0..messages {
            match self.receive_one(socket, message) {
                Ok(length) => self.headers[message].msg_len = length as _,
                Err(Errno(libc::EAGAIN)) => return Taken { messages: message, error: None },
                Err(errno) => return Taken { messages: message, error: Some(errno) },
            }
        }
        Taken { messages, error: None }
    }

    /// Receives into one header, by recvmsg(2), or by recvfrom(2) where that is refused too; the bytes. What recvfrom(2) gives
    /// is a datagram: nothing is coalesced where no control message could tell it, see [`coalesce_receives`].
    fn receive_one(&mut self, socket: &Socket, message: usize) -> Result<usize, Errno> {
        let header = &mut self.headers[message].msg_hdr;
        if !self.refused.has(Call::Recvmsg) {
            // SAFETY: as for recvmmsg(2) above, of which this is one message.
            match retry(|| counted(unsafe { libc::recvmsg(socket.as_raw_fd(), header, 0) })) {
                Err(errno) if self.refused.learn(Call::Recvmsg, errno) => {}
                answer => return answer,
            }
        }
        header.msg_controllen = 0;
        let vector = &self.vectors[message];
        let receive = || {
            let (name, length) = (header.msg_name.cast(), &raw mut header.msg_namelen);
            // SAFETY: as above: the header's name and length, and the vector's bytes, which are as many as it says.
            counted(unsafe { libc::recvfrom(socket.as_raw_fd(), vector.iov_base, vector.iov_len, 0, name, length) })
        };
        retry(receive)
    }
}

/// Sends one datagram, by sendto(2): it has no headers for the kernel to copy, which batches of one notice.
fn send_one(socket: &Socket, batch: &Batch<'_>, run: Run) -> Result<(), Errno> {
    let bytes = batch.pieces(run.place, 1).next().unwrap_or_default();
    let mut name = Name::empty();
    let (name, length) = match batch.destination(run.address) {
        Some(destination) => {
            let length = name.set(destination);
            ((&raw const name).cast(), length)
        }
        None => (ptr::null(), 0),
    };
    // SAFETY: the bytes lie in the batch's payload, which its borrow keeps alive and unchanged, the name in a local; the
    // kernel only reads them.
    let send =
        || counted(unsafe { libc::sendto(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0, name, length) });
    retry(send).map(|_| ())
}

/// The system call itself: musl's function of that name is a loop of sendmsg(2), one system call a message, to clear the
/// padding of its headers, which is zero in headers that begin as zeros.
///
/// # Safety
///
/// As for the C function: `headers` points to as many headers, and whatever they point to is valid for the call.
unsafe fn sendmmsg(socket: RawFd, headers: *mut libc::mmsghdr, count: usize) -> libc::c_long {
    // SAFETY: the caller's.
    unsafe { libc::syscall(libc::SYS_sendmmsg, socket, headers, count as libc::c_uint, 0 as libc::c_uint) }
}

impl Default for Messages {
    fn default() -> Self {
        Self::new()
    }
}

/// The vector of bytes that the kernel only reads.
fn vector(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// Writes the option of each protocol that the socket speaks that has the kernel keep ICMP errors.
///
/// ip(7), IP_RECVERR: "When enabled on a datagram socket, all generated errors will be queued in a per-socket error queue."
/// Without it sendmmsg(2) consumes and forgets an error that one of its own messages raised. With it the kernel also tells
/// where a queueing discipline drops (ENOBUFS), which it else counts as sent. A queue that must not be read is refused here.
pub fn queue_errors(socket: &Socket, on: bool) -> Result<(), Errno> {
    if on && let Some(errno) = Call::ErrorQueue.refusal() {
        return Err(errno);
    }
    let on = libc::c_int::from(on);
    if socket.domain()? == Domain::IPV6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, on)?;
        if socket.only_v6()? {
            return Ok(());
        }
    }
    set_option(socket, libc::IPPROTO_IP, libc::IP_RECVERR, on)
}

/// Takes all errors that are pending: those in the queue, and the socket's own (`SO_ERROR`), which is the last one's. The
/// oldest is the answer. What the kernel queued of a call's own refusal, the call has told.
pub fn take_error(socket: &Socket) -> Result<Option<Errno>, Errno> {
    let mut oldest = None;
    // The first byte of what met the error: qemu-user makes no call for a message that asks for none.
    let mut bytes = [0; 1];
    take_queued(socket, &mut bytes, |report| {
        if report.icmp {
            oldest = oldest.or(Some(report.errno));
        }
    })?;
    let last = socket.take_error()?.map(Errno::from);
    Ok(oldest.or(last))
}

/// Whether errors are queued with the destinations that they came from.
pub const REPORTS: bool = true;

/// Takes what stands in the queue of errors, the oldest first, with as much of what met each as there is room for. The socket's
/// own error is the last one's, and goes with them.
pub fn take_reports(socket: &Socket, quoted: &mut [u8], mut told: impl FnMut(Report<'_>)) -> Result<(), Errno> {
    let mut count = 0;
    take_queued(socket, quoted, |report| {
        count += 1;
        told(report);
    })?;
    if count > 0 {
        socket.take_error()?;
    }
    Ok(())
}

/// Takes each error of the queue. What a filter refuses to read is left.
fn take_queued(socket: &Socket, quoted: &mut [u8], mut told: impl FnMut(Report<'_>)) -> Result<(), Errno> {
    /// More than a queue holds that the memory of a receive buffer bounds, and an end where an emulator never says EAGAIN.
    const MOST: usize = 4096;
    for _ in 0..MOST {
        let mut control = NO_CONTROL;
        let mut name = Name::empty();
        let mut vector = libc::iovec { iov_base: quoted.as_mut_ptr().cast(), iov_len: quoted.len() };
        // SAFETY: zeros are a valid msghdr: null pointers with lengths of 0.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_name = (&raw mut name).cast();
        header.msg_namelen = Name::CAPACITY;
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = mem::size_of_val(&control) as _;
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: the header points to a name, a control and a vector of their lengths, locals that nobody else uses, and by the
        // vector to `quoted`, which is borrowed mutably.
        match retry(|| counted(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) })) {
            Ok(length) => {
                let Some(error) = queued_error(&header) else { continue };
                told(Report {
                    errno: Errno(error.errno),
                    icmp: error.icmp,
                    mtu: if error.errno == libc::EMSGSIZE { error.info } else { 0 },
                    destination: name.get(),
                    data: &quoted[..length.min(quoted.len())],
                });
            }
            // The call itself may be refused.
            Err(Errno(libc::EAGAIN | libc::ENOSYS | libc::EPERM)) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A new socket is as it should be.
pub fn prepare(_: &Socket) -> Result<(), Errno> {
    Ok(())
}

/// Whether the kernel knows UDP_SEGMENT (Linux 4.18). One that does not would send a run as one large datagram.
pub fn segmentation(socket: &Socket) -> bool {
    let mut value: libc::c_int = 0;
    let mut length = mem::size_of::<libc::c_int>() as libc::socklen_t;
    let (value, length) = (&raw mut value, &raw mut length);
    // SAFETY: both pointers are to locals of the size that `length` says, which live through the call.
    unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value.cast(), length) == 0 }
}

/// Whether a call is allowed that takes control messages from the kernel; the error by which they are refused.
pub fn reads_control() -> Result<(), Errno> {
    match Call::Recvmmsg.refusal() {
        Some(errno) if Call::Recvmsg.refusal().is_some() => Err(errno),
        _ => Ok(()),
    }
}

/// Has the kernel hand over runs of datagrams as one message (UDP_GRO, Linux 5.0), where a call is allowed that tells of them.
pub fn coalesce_receives(socket: &Socket, on: bool) -> Result<(), Errno> {
    if on {
        reads_control()?;
    }
    set_option(socket, libc::SOL_UDP, libc::UDP_GRO, libc::c_int::from(on))
}

/// Sets an option that is an `int`.
fn set_option(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> Result<(), Errno> {
    let length = mem::size_of::<libc::c_int>() as libc::socklen_t;
    let value = (&raw const value).cast();
    // SAFETY: the pointer is to a local of that length, which lives through the call.
    counted(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length) } as isize).map(|_| ())
}
