//! What all Unix systems share: connections, poll(2), socket addresses, the table of errors.

use super::PollItem;
use crate::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::time::Duration;

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
        named.set_port(free_port(address)?);
        match socket.bind(&named.into()).map_err(Errno::from) {
            Err(Errno(libc::EADDRINUSE)) => {}
            result => return result,
        }
    }
    Err(Errno(libc::EADDRINUSE))
}

/// A port that was free at this address a moment ago.
fn free_port(address: SocketAddr) -> Result<u16, Errno> {
    let chooser = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        chooser.set_only_v6(true)?;
    }
    chooser.bind(&address.into())?;
    let chosen = chooser.local_addr()?.as_socket().ok_or(Errno(UNKNOWN))?;
    Ok(chosen.port())
}

/// Connects the socket to a peer, dissolving the connection that it has: Linux keeps `::1` as the local address of a
/// socket that reconnects, and answers EINVAL for IPv4; BSD answers EISCONN.
pub fn connect(socket: &Socket, address: SocketAddr, connected: bool) -> Result<(), Errno> {
    if connected {
        disconnect(socket)?;
    }
    Ok(socket.connect(&address.into())?)
}

/// Dissolves the connection: connect(2), "by connecting to an address with the sa_family member of sockaddr set to
/// AF_UNSPEC".
pub fn disconnect(socket: &Socket) -> Result<(), Errno> {
    // SAFETY: a zeroed sockaddr_storage is a valid one, of the family AF_UNSPEC (0).
    let unspecified: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let length = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `unspecified` is ours and lives through the call; the kernel only reads it.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const unspecified).cast(), length) };
    match Errno::last() {
        _ if result == 0 => Ok(()),
        // BSD and macOS dissolve the connection, then complain of the address: of its family or its length.
        Errno(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EINVAL) if !cfg!(target_os = "linux") => Ok(()),
        errno => Err(errno),
    }
}

/// Waits until one of the items is ready; how many are. No timeout waits forever.
pub fn poll(items: &mut [PollItem<'_>], timeout: Option<Duration>) -> Result<usize, Errno> {
    let events = |item: &PollItem<'_>| {
        (if item.readable { libc::POLLIN } else { 0 }) | (if item.writable { libc::POLLOUT } else { 0 })
    };
    let mut descriptors: Vec<libc::pollfd> = items
        .iter()
        .map(|item| libc::pollfd { fd: item.socket.as_raw_fd(), events: events(item), revents: 0 })
        .collect();
    let milliseconds = timeout.map_or(-1, |timeout| timeout.as_millis().try_into().unwrap_or(i32::MAX));
    // SAFETY: the array is ours, has that length, and lives through the call; the kernel writes only its revents.
    let ready = unsafe { libc::poll(descriptors.as_mut_ptr(), descriptors.len() as libc::nfds_t, milliseconds) };
    if ready < 0 {
        return Err(Errno::last());
    }
    for (item, descriptor) in items.iter_mut().zip(&descriptors) {
        item.ready = descriptor.revents != 0;
        item.error = descriptor.revents & libc::POLLERR != 0;
    }
    Ok(ready as usize)
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

/// A signal came: the call is to be made again.
pub const INTERRUPTED: i32 = libc::EINTR;

/// The errors that mean: not now.
pub const WOULD_BLOCK: &[i32] = &[libc::EAGAIN, libc::EWOULDBLOCK, libc::ENOBUFS];

/// The errors by which Linux refuses a segmented message for its size: EMSGSIZE for a segment above the path's MTU (EINVAL
/// before Linux 6.10).
pub const REFUSES_SIZE: &[i32] = &[libc::EMSGSIZE, libc::EINVAL];

/// The errors by which a system refuses segmented messages as such: EIO where the device computes no checksums.
pub const REFUSES_OFFLOAD: &[i32] = &[libc::EIO, libc::EOPNOTSUPP, libc::ENOPROTOOPT];

/// The errors that come from an ICMP message (`icmp_err_convert` of net/ipv4/icmp.c), are pending on a connected socket, and
/// are forgotten once told. Those that a route gives as well (EHOSTUNREACH, ENETUNREACH, EACCES) are not here: they recur.
pub const REPORTED_ONCE: &[i32] =
    &[libc::ECONNREFUSED, libc::EHOSTDOWN, libc::ENOPROTOOPT, libc::ECONNRESET, libc::EPROTO];
