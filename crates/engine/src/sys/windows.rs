//! Windows: WSASendMsg with UDP_SEND_MSG_SIZE, WSARecvMsg with UDP_RECV_MAX_COALESCED_SIZE, WSAPoll.

use super::{MESSAGE_BYTES, Received, Report, retry};
use crate::ancillary::Ancillary;
use crate::errno::Errno;
use crate::outgoing::Taken;
use crate::runs::{MAX_SEGMENTS, Run};
use crate::table::Batch;
use socket2::{SockAddr, SockAddrStorage, Socket};
use std::marker::PhantomData;
use std::mem;
use std::net::SocketAddr;
use std::os::windows::io::AsRawSocket;
use std::ptr;
use std::time::{Duration, Instant};
use windows_sys::Win32::Networking::WinSock::{self, LPFN_WSARECVMSG, SOCKADDR, SOCKET, WSABUF, WSAMSG, WSAPOLLFD};

mod control;
mod options;
use control::{Control, NO_CONTROL, Writer, ancillary, segment_size};
pub use options::*;

/// A socket of another maker may be overlapped or not, and nothing tells: none is taken over here.
pub fn family_of(_: &Socket) -> Result<bool, Errno> {
    Err(Errno(NOT_SUPPORTED))
}

/// The system call that sends.
pub const BACKEND: &str = "WSASendMsg";

/// The buffers of the system calls.
pub struct Messages {
    parts: [WSABUF; MAX_SEGMENTS],
    control: Control,
    /// WSARecvMsg, which Winsock hands out by a call on a socket; looked up by the first receive.
    receive: LPFN_WSARECVMSG,
}

impl Messages {
    /// Makes the buffers.
    pub fn new() -> Self {
        Self { parts: [WSABUF { len: 0, buf: ptr::null_mut() }; MAX_SEGMENTS], control: NO_CONTROL, receive: None }
    }

    /// Sends the runs one by one, until the system refuses one; a run of several as one message that the system cuts apart.
    pub fn send(&mut self, socket: &Socket, batch: &Batch<'_>, runs: &[Run]) -> Taken {
        for (messages, run) in runs.iter().enumerate() {
            if let Err(errno) = self.send_one(socket, batch, run) {
                return Taken { messages, error: Some(errno) };
            }
        }
        Taken { messages: runs.len(), error: None }
    }

    fn send_one(&mut self, socket: &Socket, batch: &Batch<'_>, run: &Run) -> Result<(), Errno> {
        let mut used = 0;
        for bytes in batch.pieces(run.place, run.count as usize) {
            self.parts[used] = WSABUF { len: bytes.len() as u32, buf: bytes.as_ptr().cast_mut() };
            used += 1;
        }
        let name = batch.destination(run.address).map(SockAddr::from);
        let mut control = Writer::new(&mut self.control);
        if run.is_segmented() {
            control.segment(run.segment);
        }
        if let Some(ancillary) = batch.ancillary(run.address) {
            control.ancillary(&ancillary, batch.leaves_by_ipv6(run.address))?;
        }
        let message = WSAMSG {
            name: name.as_ref().map_or(ptr::null_mut(), |name| name.as_ptr().cast::<SOCKADDR>().cast_mut()),
            namelen: name.as_ref().map_or(0, SockAddr::len),
            lpBuffers: self.parts.as_mut_ptr(),
            dwBufferCount: used as u32,
            Control: control.buffer(),
            dwFlags: 0,
        };
        let mut sent = 0;
        // SAFETY: the message points to a name, buffers and a control that live through the call, and to the batch's
        // payload, which its borrow keeps alive and unchanged. Without OVERLAPPED the call is over when it returns; the
        // system only reads.
        retry(|| {
            done(unsafe {
                WinSock::WSASendMsg(handle(socket), &raw const message, 0, &raw mut sent, ptr::null_mut(), None)
            })
        })
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
            match self.receive_one(socket, buffer) {
                Ok((length, control, source)) => {
                    let segment = segment_size(&self.control, control).map_or(length, |size| size as usize);
                    let told = tells.then(|| ancillary(&self.control, control));
                    received(Received { offset: messages * MESSAGE_BYTES, length, segment, source }, told);
                    messages += 1;
                }
                Err(Errno(WinSock::WSAEWOULDBLOCK)) => break,
                Err(errno) => return Taken { messages, error: Some(errno) },
            }
        }
        Taken { messages, error: None }
    }

    /// One message: its bytes, those of its control messages, its source. What the buffer cannot hold is WSAEMSGSIZE.
    fn receive_one(&mut self, socket: &Socket, buffer: &mut [u8]) -> Result<(usize, usize, SocketAddr), Errno> {
        let receive = match self.receive {
            Some(receive) => receive,
            None => *self.receive.insert(receive_function(socket)?),
        };
        let mut part = WSABUF { len: buffer.len() as u32, buf: buffer.as_mut_ptr() };
        let mut name = SockAddrStorage::zeroed();
        let capacity = name.size_of();
        let mut message = WSAMSG {
            name: (&raw mut name).cast(),
            namelen: capacity,
            lpBuffers: &raw mut part,
            dwBufferCount: 1,
            Control: WSABUF { len: mem::size_of::<Control>() as u32, buf: self.control.as_mut_ptr().cast() },
            dwFlags: 0,
        };
        let mut length = 0;
        // SAFETY: the message points to a name, a buffer and a control that are ours alone and live through the call, each
        // with its size. Without OVERLAPPED the call is over when it returns.
        retry(|| done(unsafe { receive(handle(socket), &raw mut message, &raw mut length, ptr::null_mut(), None) }))?;
        // SAFETY: the system wrote an address of that length, at most what it was given.
        let source = unsafe { SockAddr::new(name, message.namelen.min(capacity)) }.as_socket().ok_or(Errno(UNKNOWN))?;
        Ok((length as usize, message.Control.len as usize, source))
    }
}

impl Default for Messages {
    fn default() -> Self {
        Self::new()
    }
}

fn handle(socket: &Socket) -> SOCKET {
    socket.as_raw_socket() as SOCKET
}

/// What a call of Winsock answered: 0, or SOCKET_ERROR and its error code beside it.
fn done(result: i32) -> Result<(), Errno> {
    if result == 0 { Ok(()) } else { Err(Errno::last()) }
}

/// WSARecvMsg of the socket's provider.
fn receive_function(
    socket: &Socket,
) -> Result<unsafe extern "system" fn(SOCKET, *mut WSAMSG, *mut u32, *mut OVERLAPPED, COMPLETION) -> i32, Errno> {
    let id = WinSock::WSAID_WSARECVMSG;
    let mut function: LPFN_WSARECVMSG = None;
    control(socket, WinSock::SIO_GET_EXTENSION_FUNCTION_POINTER, &id, &mut function)?;
    function.ok_or(Errno(WinSock::WSAEOPNOTSUPP))
}

type OVERLAPPED = windows_sys::Win32::System::IO::OVERLAPPED;
type COMPLETION = WinSock::LPWSAOVERLAPPED_COMPLETION_ROUTINE;

/// One WSAIoctl call, with plain data in and out.
fn control<I: Copy, O: Copy>(socket: &Socket, code: u32, input: &I, output: &mut O) -> Result<(), Errno> {
    let mut written = 0;
    // SAFETY: both pointers are to plain data of the sizes given, which live through the call; without OVERLAPPED the call
    // is over when it returns.
    let result = unsafe {
        WinSock::WSAIoctl(
            handle(socket),
            code,
            ptr::from_ref(input).cast(),
            mem::size_of::<I>() as u32,
            ptr::from_mut(output).cast(),
            mem::size_of::<O>() as u32,
            &raw mut written,
            ptr::null_mut(),
            None,
        )
    };
    done(result)
}

/// Sets a DWORD option of UDP.
fn set_option(socket: &Socket, option: i32, value: u32) -> Result<(), Errno> {
    let size = mem::size_of::<u32>() as i32;
    // SAFETY: the pointer is to a local of that size, which lives through the call.
    let result =
        unsafe { WinSock::setsockopt(handle(socket), WinSock::IPPROTO_UDP, option, (&raw const value).cast(), size) };
    done(result)
}

/// Has receives report, or not report, that a datagram sent earlier met an ICMP "port unreachable" (WSAECONNRESET) or "time
/// exceeded" (WSAENETRESET). Systems before Windows 10 know only the former.
fn report_unreachable(socket: &Socket, on: bool) -> Result<(), Errno> {
    let value = u32::from(on);
    let _ = control(socket, WinSock::SIO_UDP_NETRESET, &value, &mut ());
    control(socket, WinSock::SIO_UDP_CONNRESET, &value, &mut ())
}

/// A socket that is not connected hears nothing of ICMP, as elsewhere: by default Windows fails its receives, for any peer.
pub fn prepare(socket: &Socket) -> Result<(), Errno> {
    report_unreachable(socket, false)
}

/// Binds the socket. Windows keeps a port that it chose when a connection is dissolved.
pub fn bind(socket: &Socket, address: SocketAddr) -> Result<(), Errno> {
    Ok(socket.bind(&address.into())?)
}

/// Connects a socket that is not connected. A connected one hears of ICMP errors, each once.
pub fn connect(socket: &Socket, address: SocketAddr) -> Result<(), Errno> {
    socket.connect(&address.into())?;
    report_unreachable(socket, true)
}

/// Dissolves the connection: "connect": a name of zeros disconnects a datagram socket.
pub fn disconnect(socket: &Socket) -> Result<(), Errno> {
    report_unreachable(socket, false)?;
    let unspecified = SOCKADDR::default();
    let length = mem::size_of::<SOCKADDR>() as i32;
    // SAFETY: the pointer is to a local of that length, which lives through the call and is only read.
    done(unsafe { WinSock::connect(handle(socket), &raw const unspecified, length) })
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

/// One socket in a poll, as WSAPoll takes it.
#[repr(transparent)]
pub struct PollItem<'a>(WSAPOLLFD, PhantomData<&'a Socket>);

impl<'a> PollItem<'a> {
    /// A socket, and what it is polled for.
    pub fn new(socket: &'a Socket, readable: bool, writable: bool) -> Self {
        let events = if readable { WinSock::POLLRDNORM } else { 0 } | if writable { WinSock::POLLWRNORM } else { 0 };
        Self(WSAPOLLFD { fd: handle(socket), events, revents: 0 }, PhantomData)
    }

    /// Whether something could be received at the last poll, or a call would tell an error.
    pub fn is_readable(&self) -> bool {
        self.0.revents & !WinSock::POLLWRNORM != 0
    }

    /// Whether there was room to send at the last poll.
    pub fn is_writable(&self) -> bool {
        self.0.revents & WinSock::POLLWRNORM != 0
    }

    /// Whether an error was there.
    pub fn has_error(&self) -> bool {
        self.0.revents & !(WinSock::POLLRDNORM | WinSock::POLLWRNORM) != 0
    }
}

/// Waits until one of the items is ready. No timeout waits forever.
pub fn poll(items: &mut [PollItem<'_>], timeout: Option<Duration>) -> Result<(), Errno> {
    let started = Instant::now();
    retry(|| {
        let left = super::milliseconds(timeout.map(|timeout| timeout.saturating_sub(started.elapsed())));
        // SAFETY: the items are WSAPOLLFDs, transparently, as many as said, and borrowed mutably through the call; the system
        // writes only their revents. Their sockets are borrowed, and so open.
        let ready = unsafe { WinSock::WSAPoll(items.as_mut_ptr().cast(), items.len() as u32, left) };
        if ready < 0 { Err(Errno::last()) } else { Ok(()) }
    })
}

/// Whether the system knows UDP_SEND_MSG_SIZE (Windows 10, version 2004). One that does not would send a run as one large
/// datagram. Setting 0 leaves the socket as it is: messages are cut only where their own control data says so.
pub fn segmentation(socket: &Socket) -> bool {
    set_option(socket, WinSock::UDP_SEND_MSG_SIZE, 0).is_ok()
}

/// Has the system hand over runs of datagrams as one message (Windows 10, version 2004); 0 has it stop.
pub fn coalesce_receives(socket: &Socket, on: bool) -> Result<(), Errno> {
    let largest = if on { u32::from(u16::MAX) } else { 0 };
    set_option(socket, WinSock::UDP_RECV_MAX_COALESCED_SIZE, largest)
}

/// The numbers of the table of errors, under their names in POSIX.
pub(super) mod number {
    pub(in crate::sys) use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_TOO_MANY_OPEN_FILES};
    pub(in crate::sys) use windows_sys::Win32::Networking::WinSock::{
        WSA_NOT_ENOUGH_MEMORY as ENOMEM, WSAEACCES as EACCES, WSAEADDRINUSE as EADDRINUSE,
        WSAEADDRNOTAVAIL as EADDRNOTAVAIL, WSAEAFNOSUPPORT as EAFNOSUPPORT, WSAEBADF as EBADF,
        WSAECONNABORTED as ECONNABORTED, WSAECONNREFUSED as ECONNREFUSED, WSAECONNRESET as ECONNRESET,
        WSAEDESTADDRREQ as EDESTADDRREQ, WSAEFAULT as EFAULT, WSAEHOSTDOWN as EHOSTDOWN,
        WSAEHOSTUNREACH as EHOSTUNREACH, WSAEINTR as EINTR, WSAEINVAL as EINVAL, WSAEISCONN as EISCONN,
        WSAEMFILE as EMFILE, WSAEMSGSIZE as EMSGSIZE, WSAENETDOWN as ENETDOWN, WSAENETRESET as ENETRESET,
        WSAENETUNREACH as ENETUNREACH, WSAENOBUFS as ENOBUFS, WSAENOPROTOOPT as ENOPROTOOPT, WSAENOTCONN as ENOTCONN,
        WSAENOTSOCK as ENOTSOCK, WSAEOPNOTSUPP as EOPNOTSUPP, WSAEPROTONOSUPPORT as EPROTONOSUPPORT,
        WSAEPROTOTYPE as EPROTOTYPE, WSAETIMEDOUT as ETIMEDOUT, WSAEWOULDBLOCK as EAGAIN, WSASYSCALLFAILURE as EIO,
    };
    /// What Winsock's calls say beside the WSA codes, by their numbers in Windows.
    pub(in crate::sys) const EPERM: i32 = ERROR_ACCESS_DENIED as i32;
    pub(in crate::sys) const ENFILE: i32 = ERROR_TOO_MANY_OPEN_FILES as i32;
}

/// What an unknown failure is called.
pub const UNKNOWN: i32 = WinSock::WSASYSCALLFAILURE;

/// The call is to be made again.
pub const INTERRUPTED: i32 = WinSock::WSAEINTR;

/// The errors that mean: not now.
pub const WOULD_BLOCK: &[i32] = &[WinSock::WSAEWOULDBLOCK, WinSock::WSAENOBUFS];

/// The errors by which a segmented message is refused for its size.
pub const REFUSES_SIZE: &[i32] = &[WinSock::WSAEMSGSIZE, WinSock::WSAEINVAL];

/// The errors by which segmented messages are refused as such.
pub const REFUSES_OFFLOAD: &[i32] = &[WinSock::WSAEOPNOTSUPP, WinSock::WSAENOPROTOOPT];

/// The errors that come from an ICMP message, are reported by a connected socket, and are forgotten once told.
pub const REPORTED_ONCE: &[i32] = &[WinSock::WSAECONNRESET, WinSock::WSAENETRESET];
