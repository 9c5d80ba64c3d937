//! Linux: sendmmsg(2) with UDP_SEGMENT, recvmmsg(2) with UDP_GRO. Where a filter refuses them (seccomp(2)), calls of one message.

use super::refused::{Call, Refused};
use super::unix::{Name, counted};
use super::{MESSAGE_BYTES, Received, retry};
use crate::errno::Errno;
use crate::outgoing::Taken;
use crate::runs::Run;
use crate::table::{Batch, MAX_DATAGRAMS, NO_ADDRESS};
use socket2::{Domain, Socket};
use std::iter;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::slice;

/// The system call that sends.
pub const BACKEND: &str = "sendmmsg";

/// Room for one control message that holds an integer, aligned as cmsghdr is.
type Control = [u64; 4];

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
            controls: vec![[0; 4]; MAX_DATAGRAMS].into(),
            refused: Refused::default(),
        }
    }

    /// Sends the runs in order, in one sendmmsg(2), which stops at the first that the kernel refuses.
    pub fn send(&mut self, socket: &Socket, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        if let [run] = runs
            && !run.is_segmented()
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
            (header.msg_control, header.msg_controllen) = if run.is_segmented() {
                let control = &mut self.controls[message];
                (control.as_mut_ptr().cast(), segment_control(control, run.segment as u16) as _)
            } else {
                (ptr::null_mut(), 0)
            };
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
        if run.is_segmented() { Err(Errno(libc::EOPNOTSUPP)) } else { send_one(socket, batch, run) }
    }

    /// Receives at most `max` messages in one recvmmsg(2), each into its own [`MESSAGE_BYTES`] of the payload.
    pub fn receive(
        &mut self,
        socket: &Socket,
        payload: &mut [u8],
        max: usize,
        received: &mut impl FnMut(Received),
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
            received(Received { offset: message * MESSAGE_BYTES, length, segment, source });
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

/// Writes the control message that has the kernel cut a message into segments of that size; its length.
///
/// udp(7): "UDP_SEGMENT ... The segment size can be set for an individual send with a control message" of level SOL_UDP and
/// a 16-bit value.
fn segment_control(control: &mut Control, segment: u16) -> usize {
    let header = control.as_mut_ptr().cast::<libc::cmsghdr>();
    // SAFETY: a Control is aligned for a cmsghdr and holds CMSG_SPACE of two bytes (24 of its 32); it is borrowed mutably.
    unsafe {
        (*header).cmsg_level = libc::SOL_UDP;
        (*header).cmsg_type = libc::UDP_SEGMENT;
        (*header).cmsg_len = libc::CMSG_LEN(mem::size_of::<u16>() as u32) as _;
        libc::CMSG_DATA(header).cast::<u16>().write_unaligned(segment);
        libc::CMSG_SPACE(mem::size_of::<u16>() as u32) as usize
    }
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
    /// More than a queue holds that the memory of a receive buffer bounds, and an end where an emulator never says EAGAIN.
    const MOST: usize = 4096;
    let mut oldest = None;
    for _ in 0..MOST {
        let mut control: [u64; 16] = [0; 16];
        // The first byte of what met the error: qemu-user makes no call for a message that asks for none.
        let mut byte = 0u8;
        let mut vector = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: zeros are a valid msghdr: null pointers with lengths of 0.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = mem::size_of_val(&control) as _;
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: the header points to a control of its length, and by its vector to a byte: locals that nobody else uses. It
        // asks for no name.
        match retry(|| counted(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) })) {
            Ok(_) => oldest = oldest.or_else(|| icmp_error(&header)),
            Err(Errno(libc::EAGAIN)) => break,
            // The call itself is refused: the socket's own error is left to ask for.
            Err(Errno(libc::ENOSYS | libc::EPERM)) => break,
            Err(errno) => return Err(errno),
        }
    }
    let last = socket.take_error()?.map(Errno::from);
    Ok(oldest.or(last))
}

/// The error that an ICMP message left, of a message of the error queue. ip(7): a `sock_extended_err`, which begins with the
/// error number and the origin.
fn icmp_error(header: &libc::msghdr) -> Option<Errno> {
    const KINDS: [(libc::c_int, libc::c_int); 2] =
        [(libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)];
    let (_, _, error) = controls(header).find(|&(level, kind, _)| KINDS.contains(&(level, kind)))?;
    let origin = *error.get(mem::offset_of!(libc::sock_extended_err, ee_origin))?;
    let is_icmp = matches!(origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
    is_icmp.then_some(Errno(i32::from_ne_bytes(*error.first_chunk()?)))
}

/// A control message: its level, its type and its data.
type ControlMessage<'a> = (libc::c_int, libc::c_int, &'a [u8]);

/// The control messages that the kernel wrote behind a header.
#[allow(clippy::unnecessary_cast, reason = "lengths have other types in musl's headers")]
fn controls(header: &libc::msghdr) -> impl Iterator<Item = ControlMessage<'_>> {
    // SAFETY: the kernel has written msg_control and msg_controllen, within what this header points to, which its owner
    // keeps; CMSG_FIRSTHDR and CMSG_NXTHDR stay inside by those lengths.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    iter::from_fn(move || {
        let control = next;
        if control.is_null() {
            return None;
        }
        // SAFETY: as above: a header that the kernel wrote.
        let (level, kind, length) =
            unsafe { ((*control).cmsg_level, (*control).cmsg_type, (*control).cmsg_len as usize) };
        // SAFETY: plain arithmetic on its address.
        let data = unsafe { libc::CMSG_DATA(control) }.cast_const();
        // Emulators have been seen to count more room than they wrote: a message that is shorter than its header is none.
        let written = header.msg_control as usize + header.msg_controllen as usize;
        let length = length.checked_sub(data as usize - control as usize)?.min(written.checked_sub(data as usize)?);
        // SAFETY: as above, so that the next header lies within the length as well.
        next = unsafe { libc::CMSG_NXTHDR(header, control) };
        // SAFETY: the data lie within msg_controllen, which the kernel has written and its owner keeps.
        Some((level, kind, unsafe { slice::from_raw_parts(data, length) }))
    })
}

/// The segment size that the kernel named beside a coalesced message: udp(7), UDP_GRO, an `int` (a `u16` before Linux 5.19
/// on some architectures reads the same, little-endian and zeroed).
fn segment_size(header: &libc::msghdr) -> Option<usize> {
    // One for which there was no room is cut (MSG_CTRUNC), and tells nothing.
    let mut sizes = controls(header).filter(|&(level, kind, _)| (level, kind) == (libc::SOL_UDP, libc::UDP_GRO));
    let size = libc::c_int::from_ne_bytes(sizes.find_map(|(_, _, data)| data.first_chunk().copied())?);
    usize::try_from(size).ok().filter(|&size| size > 0)
}

/// What a fuzzer sees of the above: the segment size that the first `length` bytes of `control` name.
///
/// # Safety
///
/// They are control messages as the kernel writes them.
#[doc(hidden)]
pub unsafe fn segment_size_in(control: &mut [u64], length: usize) -> Option<usize> {
    assert!(length <= mem::size_of_val(control));
    // SAFETY: zeros are a valid msghdr: null pointers with lengths of 0.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = length as _;
    segment_size(&header)
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

/// Has the kernel hand over runs of datagrams as one message (UDP_GRO, Linux 5.0), where a call is allowed that tells of them.
pub fn coalesce_receives(socket: &Socket, on: bool) -> Result<(), Errno> {
    if on
        && let Some(errno) = Call::Recvmmsg.refusal()
        && Call::Recvmsg.refusal().is_some()
    {
        return Err(errno);
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
