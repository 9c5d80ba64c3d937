//! What all Unix systems share: connections, poll(2), socket addresses, the table of errors.

use super::retry;
use crate::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::marker::PhantomData;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

mod control;
mod options;
pub use control::*;
pub use options::*;

/// Binds the socket.
///
/// Linux gives up a port that it chose when a connection is dissolved (`__udp_disconnect` of net/ipv4/udp.c), but keeps one
/// that was named (`SOCK_BINDPORT_LOCK`). So another socket has it choose a port, and then that one is named. Whoever takes
/// the port in between has it; another is chosen then.
pub fn bind(socket: &Socket, address: SocketAddr) -> Result<(), Errno> {
    const ATTEMPTS: usize = 100;
    if address.port() != 0 || !cfg!(target_os = "linux") {
        return Ok(socket.bind(&address.into())?);
    }
    let mut named = address;
    for _ in 0..ATTEMPTS {
        named.set_port(free_port(socket, address)?);
        match socket.bind(&named.into()).map_err(Errno::from) {
            Err(Errno(libc::EADDRINUSE)) => {}
            result => return result,
        }
    }
    Err(Errno(libc::EADDRINUSE))
}

/// A port that was free at this address a moment ago, for each protocol that the socket speaks.
fn free_port(socket: &Socket, address: SocketAddr) -> Result<u16, Errno> {
    let chooser = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        chooser.set_only_v6(socket.only_v6()?)?;
    }
    chooser.bind(&address.into())?;
    let chosen = chooser.local_addr()?.as_socket().ok_or(Errno(UNKNOWN))?;
    Ok(chosen.port())
}

/// Connects a socket that is not connected. Reconnecting goes by way of [`disconnect`]: Linux keeps `::1` as the local address
/// of a socket that reconnects, and answers EINVAL for 127.0.0.1; BSD answers EISCONN.
pub fn connect(socket: &Socket, address: SocketAddr) -> Result<(), Errno> {
    retry(|| Ok(socket.connect(&address.into())?))
}

/// Dissolves the connection: connect(2), "by connecting to an address with the sa_family member of sockaddr set to
/// AF_UNSPEC".
pub fn disconnect(socket: &Socket) -> Result<(), Errno> {
    // SAFETY: a zeroed sockaddr_storage is a valid one, of the family AF_UNSPEC (0).
    let unspecified: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let length = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `unspecified` is ours and lives through the call; the kernel only reads it.
    let connect =
        || counted(unsafe { libc::connect(socket.as_raw_fd(), (&raw const unspecified).cast(), length) } as isize);
    match retry(connect) {
        // BSD and macOS dissolve the connection, then complain of the address: of its family or its length.
        Err(Errno(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EINVAL)) if !cfg!(target_os = "linux") => Ok(()),
        result => result.map(|_| ()),
    }
}

/// Whether an open socket is of IPv6. What is no UDP socket of IPv4 or IPv6 is ENOTSOCK, EBADF, EPROTOTYPE or EAFNOSUPPORT.
pub fn family_of(socket: &Socket) -> Result<bool, Errno> {
    let ipv6 = match socket.local_addr()?.domain() {
        Domain::IPV4 => false,
        Domain::IPV6 => true,
        _ => return Err(Errno(libc::EAFNOSUPPORT)),
    };
    if socket.r#type()? != Type::DGRAM {
        return Err(Errno(libc::EPROTOTYPE));
    }
    // ICMP has datagrams too, by a protocol of its own: icmp(7).
    #[cfg(target_os = "linux")]
    if socket.protocol()? != Some(Protocol::UDP) {
        return Err(Errno(libc::EPROTOTYPE));
    }
    Ok(ipv6)
}

/// What a system call answered: a number from 0 on, or -1 and its error number in `errno`.
#[inline]
pub(super) fn counted(result: isize) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| Errno::last())
}

/// One socket in a poll, as poll(2) takes it.
#[repr(transparent)]
pub struct PollItem<'a>(libc::pollfd, PhantomData<&'a Socket>);

impl<'a> PollItem<'a> {
    /// A socket, and what it is polled for.
    pub fn new(socket: &'a Socket, readable: bool, writable: bool) -> Self {
        let events = if readable { libc::POLLIN } else { 0 } | if writable { libc::POLLOUT } else { 0 };
        Self(libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 }, PhantomData)
    }

    /// Whether something could be received at the last poll, or a call would tell an error.
    pub fn is_readable(&self) -> bool {
        self.0.revents & !libc::POLLOUT != 0
    }

    /// Whether there was room to send at the last poll.
    pub fn is_writable(&self) -> bool {
        self.0.revents & libc::POLLOUT != 0
    }

    /// Whether an error was there.
    pub fn has_error(&self) -> bool {
        self.0.revents & !(libc::POLLIN | libc::POLLOUT) != 0
    }
}

/// Waits until one of the items is ready. No timeout waits forever.
pub fn poll(items: &mut [PollItem<'_>], timeout: Option<Duration>) -> Result<(), Errno> {
    let started = Instant::now();
    retry(|| {
        let left = super::milliseconds(timeout.map(|timeout| timeout.saturating_sub(started.elapsed())));
        // SAFETY: the items are pollfds, transparently, as many as said, and borrowed mutably through the call; the kernel
        // writes only their revents. Their sockets are borrowed, and so open.
        counted(unsafe { libc::poll(items.as_mut_ptr().cast(), items.len() as libc::nfds_t, left) } as isize)
    })?;
    Ok(())
}

/// A socket address as system calls read and write it, in its smallest form.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    pub(super) const CAPACITY: libc::socklen_t = mem::size_of::<Self>() as libc::socklen_t;

    pub(super) fn empty() -> Self {
        // SAFETY: both members are plain integers, for which zeros are valid.
        unsafe { mem::zeroed() }
    }

    /// Writes the address, and returns its length.
    pub(super) fn set(&mut self, address: SocketAddr) -> libc::socklen_t {
        let name = SockAddr::from(address);
        // SAFETY: a SockAddr of an IP address begins with a sockaddr_in or sockaddr_in6, of which `Name` is the larger;
        // both are plain data, so that all of the larger may be copied out of the sockaddr_storage that holds it.
        *self = unsafe { *name.as_ptr().cast::<Self>() };
        name.len()
    }

    /// The address; none where the kernel wrote none of IPv4 or IPv6.
    pub(super) fn get(&self) -> Option<SocketAddr> {
        // SAFETY: the family stands at the same place in both members, and any bytes are valid integers.
        match i32::from(unsafe { self.v4.sin_family }) {
            libc::AF_INET => {
                // SAFETY: any bytes are a valid sockaddr_in.
                let v4 = unsafe { self.v4 };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: any bytes are a valid sockaddr_in6.
                let v6 = unsafe { self.v6 };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

pub(super) use libc as number;

/// What an unknown failure is called.
pub const UNKNOWN: i32 = libc::EIO;

/// The error number of what is there already.
pub const EXISTS: i32 = libc::EEXIST;

/// A signal came: the call is to be made again.
pub const INTERRUPTED: i32 = libc::EINTR;

/// The errors that mean: not now.
pub const WOULD_BLOCK: &[i32] = &[libc::EAGAIN, libc::EWOULDBLOCK, libc::ENOBUFS];

/// The errors by which Linux refuses a segmented message for its size: EMSGSIZE for a segment above the path's MTU (EINVAL
/// before Linux 6.10).
pub const REFUSES_SIZE: &[i32] = &[libc::EMSGSIZE, libc::EINVAL];

/// The errors by which a system refuses segmented messages as such: EIO where the device computes no checksums, ENOSYS where a
/// system that stands in for Linux has none.
pub const REFUSES_OFFLOAD: &[i32] = &[libc::EIO, libc::EOPNOTSUPP, libc::ENOPROTOOPT, libc::ENOSYS];

/// The errors that come from an ICMP message (`icmp_err_convert` of net/ipv4/icmp.c), are pending on a connected socket, and
/// are forgotten once told. Those that a route gives as well (EHOSTUNREACH, ENETUNREACH, EACCES) are not here: they recur.
pub const REPORTED_ONCE: &[i32] = &[
    libc::ECONNREFUSED,
    libc::EHOSTDOWN,
    libc::ENOPROTOOPT,
    libc::ECONNRESET,
    libc::EPROTO,
    #[cfg(target_os = "linux")]
    libc::ENONET,
];
