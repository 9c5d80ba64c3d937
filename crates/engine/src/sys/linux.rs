//! Linux: sendmmsg(2) with UDP_SEGMENT, recvmmsg(2) with UDP_GRO.

use super::unix::Name;
use super::{MESSAGE_BYTES, Received};
use crate::errno::Errno;
use crate::outgoing::Taken;
use crate::runs::Run;
use crate::table::{Batch, MAX_DATAGRAMS, NO_ADDRESS};
use socket2::Socket;
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

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
        }
    }

    /// Sends the runs in order, in one sendmmsg(2), which stops at the first that the kernel refuses.
    pub fn send(&mut self, socket: &Socket, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        if let [run] = runs
            && !run.is_segmented()
        {
            return send_one(socket, batch, *run);
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
        loop {
            // SAFETY: the first `runs.len()` headers were written above. Their names, vectors and controls lie in arrays of
            // `self`, borrowed for this call and not moved; the vectors lie in the batch's payload, which its borrow keeps
            // alive and unchanged. The kernel only reads them, but for the headers' lengths.
            let sent = unsafe { sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), runs.len()) };
            if sent >= 0 {
                return Taken { messages: sent as usize, error: None };
            }
            match Errno::last() {
                Errno(libc::EINTR) => {}
                errno => return Taken { messages: 0, error: Some(errno) },
            }
        }
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
        let count = loop {
            // SAFETY: the first `messages` headers were written above. Names and controls lie in arrays of `self`, the
            // vectors in `payload`: both are borrowed mutably for this call, so nobody else reads or writes them.
            let count = unsafe {
                libc::recvmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), messages as u32, 0, ptr::null_mut())
            };
            match Errno::last() {
                _ if count >= 0 => break count as usize,
                Errno(libc::EINTR) => {}
                Errno(libc::EAGAIN) => return Taken { messages: 0, error: None },
                errno => return Taken { messages: 0, error: Some(errno) },
            }
        };
        let mut error = None;
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
        // An error behind good messages stays with the socket: recvmmsg(2) reports it on the next call.
        Taken { messages: count, error }
    }
}

/// Sends one datagram, by sendto(2): it has no headers for the kernel to copy, which batches of one notice.
fn send_one(socket: &Socket, batch: &Batch<'_>, run: Run) -> Taken {
    let bytes = batch.pieces(run.place, 1).next().unwrap_or_default();
    let mut name = Name::empty();
    let (name, length) = match batch.destination(run.address) {
        Some(destination) => {
            let length = name.set(destination);
            ((&raw const name).cast(), length)
        }
        None => (ptr::null(), 0),
    };
    loop {
        // SAFETY: the bytes lie in the batch's payload, which its borrow keeps alive and unchanged, the name in a local; the
        // kernel only reads them.
        let sent = unsafe { libc::sendto(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0, name, length) };
        if sent >= 0 {
            return Taken { messages: 1, error: None };
        }
        match Errno::last() {
            Errno(libc::EINTR) => {}
            errno => return Taken { messages: 0, error: Some(errno) },
        }
    }
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

/// The segment size that the kernel named beside a coalesced message: udp(7), UDP_GRO, an `int` (a `u16` before Linux 5.19
/// on some architectures reads the same, little-endian and zeroed).
fn segment_size(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel has written msg_control and msg_controllen, within the Control that this header points to, which
    // its owner keeps; CMSG_FIRSTHDR and CMSG_NXTHDR stay inside by those lengths.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !control.is_null() {
        // SAFETY: as above: a header that the kernel wrote.
        let (level, kind) = unsafe { ((*control).cmsg_level, (*control).cmsg_type) };
        if (level, kind) == (libc::SOL_UDP, libc::UDP_GRO) {
            // SAFETY: a UDP_GRO message carries an int.
            let size = unsafe { libc::CMSG_DATA(control).cast::<libc::c_int>().read_unaligned() };
            return usize::try_from(size).ok().filter(|&size| size > 0);
        }
        // SAFETY: as above.
        control = unsafe { libc::CMSG_NXTHDR(header, control) };
    }
    None
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

/// Has the kernel hand over runs of datagrams as one message (UDP_GRO, Linux 5.0).
pub fn coalesce_receives(socket: &Socket, on: bool) -> Result<(), Errno> {
    let value = libc::c_int::from(on);
    let length = mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to a local of that length, which lives through the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, (&raw const value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(Errno::last()) }
}
