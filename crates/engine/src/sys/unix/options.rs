//! The options of Unix systems that `socket2` has not, or not everywhere; those that a system lacks are `NOT_SUPPORTED`.

use super::{TIME_OPTION, counted};
use crate::errno::Errno;
use crate::options::Membership;
use socket2::{SockAddr, Socket};
use std::ffi::CString;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

/// What a system answers that lacks an option.
pub const NOT_SUPPORTED: i32 = libc::EOPNOTSUPP;

/// Whether others may bind to the port as well (SO_REUSEPORT).
pub fn reuse_port(socket: &Socket) -> Result<bool, Errno> {
    Ok(socket.reuse_port()?)
}

/// Lets others bind to the port as well; Linux spreads what arrives among them by flow.
pub fn set_reuse_port(socket: &Socket, on: bool) -> Result<(), Errno> {
    Ok(socket.set_reuse_port(on)?)
}

/// The traffic class of what is sent: IP_TOS or IPV6_TCLASS.
pub fn traffic_class(socket: &Socket, ipv6: bool) -> Result<u32, Errno> {
    Ok(if ipv6 { socket.tclass_v6()? } else { socket.tos_v4()? })
}

/// Sets the traffic class of what is sent.
pub fn set_traffic_class(socket: &Socket, ipv6: bool, value: u32) -> Result<(), Errno> {
    let set = if ipv6 { socket.set_tclass_v6(value) } else { socket.set_tos_v4(value) };
    Ok(set?)
}

/// The interface that IPv4 multicasts leave by: ip(7), IP_MULTICAST_IF with an `ip_mreqn`.
pub fn set_multicast_interface_v4(socket: &Socket, index: u32) -> Result<(), Errno> {
    let any = libc::in_addr { s_addr: libc::INADDR_ANY };
    let request = libc::ip_mreqn { imr_multiaddr: any, imr_address: any, imr_ifindex: index as libc::c_int };
    set(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
}

/// Binds the socket to an interface: SO_BINDTODEVICE, and on macOS IP_BOUND_IF and IPV6_BOUND_IF.
pub fn bind_device(socket: &Socket, ipv6: bool, index: u32) -> Result<(), Errno> {
    #[cfg(target_os = "linux")]
    {
        let _ = ipv6;
        let mut name = [0; libc::IF_NAMESIZE];
        // SAFETY: the name has the room that if_indextoname(3) asks for.
        if index != 0 && unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) }.is_null() {
            return Err(Errno::last());
        }
        let length = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        Ok(socket.bind_device((index != 0).then_some(&name[..length]))?)
    }
    #[cfg(target_vendor = "apple")]
    {
        let index = std::num::NonZeroU32::new(index);
        let bound = if ipv6 { socket.bind_device_by_index_v6(index) } else { socket.bind_device_by_index_v4(index) };
        Ok(bound?)
    }
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    {
        let _ = (socket, ipv6, index);
        Err(Errno(NOT_SUPPORTED))
    }
}

/// Has a socket that shares its port take the packets that this processor has received: socket(7), SO_INCOMING_CPU.
pub fn set_incoming_cpu(socket: &Socket, cpu: i32) -> Result<(), Errno> {
    #[cfg(target_os = "linux")]
    return set(socket, libc::SOL_SOCKET, libc::SO_INCOMING_CPU, &cpu);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (socket, cpu);
        Err(Errno(NOT_SUPPORTED))
    }
}

/// How too large datagrams are dealt with, as `SocketOption::DontFragment` counts it, by the value of IP_MTU_DISCOVER:
/// IP_PMTUDISC_WANT, IP_PMTUDISC_DO, IP_PMTUDISC_PROBE. IPv6 has the same values.
#[cfg(target_os = "linux")]
const DISCOVERY: [libc::c_int; 3] = [libc::IP_PMTUDISC_WANT, libc::IP_PMTUDISC_DO, libc::IP_PMTUDISC_PROBE];

/// Of IP_DONTFRAG and IPV6_DONTFRAG: those systems know no probing.
#[cfg(not(target_os = "linux"))]
const DISCOVERY: [libc::c_int; 2] = [0, 1];

/// The option's level and name.
fn discovery(ipv6: bool) -> Result<(libc::c_int, libc::c_int), Errno> {
    #[cfg(target_os = "linux")]
    let option = match ipv6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
        false => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
    };
    #[cfg(target_vendor = "apple")]
    let option = match ipv6 {
        // IPV6_DONTFRAG of netinet6/in6.h.
        true => (libc::IPPROTO_IPV6, 62),
        false => (libc::IPPROTO_IP, libc::IP_DONTFRAG),
    };
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    let option = {
        let _ = ipv6;
        return Err(Errno(NOT_SUPPORTED));
    };
    #[allow(unreachable_code, reason = "where a system has no such option")]
    Ok(option)
}

/// How too large datagrams are dealt with.
pub fn dont_fragment(socket: &Socket, ipv6: bool) -> Result<u32, Errno> {
    let (level, name) = discovery(ipv6)?;
    let value = get(socket, level, name)?;
    Ok(DISCOVERY.iter().position(|&known| known == value).unwrap_or(0) as u32)
}

/// Sets how too large datagrams are dealt with.
pub fn set_dont_fragment(socket: &Socket, ipv6: bool, value: u32) -> Result<(), Errno> {
    let (level, name) = discovery(ipv6)?;
    let value = DISCOVERY.get(value as usize).ok_or(Errno(NOT_SUPPORTED))?;
    set(socket, level, name, value)
}

/// The MTU of the path to the peer: ip(7), IP_MTU, "Retrieve the current known path MTU of the current socket".
pub fn path_mtu(socket: &Socket, ipv6: bool) -> Result<u32, Errno> {
    #[cfg(target_os = "linux")]
    {
        let (level, name) = if ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_MTU) } else { (libc::IPPROTO_IP, libc::IP_MTU) };
        Ok(get(socket, level, name)? as u32)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (socket, ipv6);
        Err(Errno(NOT_SUPPORTED))
    }
}

/// Has receives tell the address and the interface that each datagram came to: ip(7), IP_PKTINFO; RFC 3542, IPV6_RECVPKTINFO.
pub fn set_packet_info(socket: &Socket, ipv6: bool, on: bool) -> Result<(), Errno> {
    let (level, name) = match ipv6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        false => (libc::IPPROTO_IP, libc::IP_PKTINFO),
    };
    set(socket, level, name, &libc::c_int::from(on))
}

/// Has receives tell the traffic class of each datagram: ip(7), IP_RECVTOS; RFC 3542, IPV6_RECVTCLASS.
pub fn set_receive_class(socket: &Socket, ipv6: bool, on: bool) -> Result<(), Errno> {
    let (level, name) = match ipv6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
        false => (libc::IPPROTO_IP, libc::IP_RECVTOS),
    };
    set(socket, level, name, &libc::c_int::from(on))
}

/// Has receives tell when the kernel had each datagram: socket(7), SO_TIMESTAMP, in nanoseconds where there is SO_TIMESTAMPNS.
pub fn set_timestamps(socket: &Socket, on: bool) -> Result<(), Errno> {
    set(socket, libc::SOL_SOCKET, TIME_OPTION, &libc::c_int::from(on))
}

/// What the kernel had for the socket and dropped: the count that socket(7), SO_RXQ_OVFL tells beside the next datagram,
/// asked for by SO_MEMINFO (Linux 4.12), so that it is exact when nothing comes any more, and costs receives nothing.
pub fn drops(socket: &Socket) -> Result<u32, Errno> {
    #[cfg(target_os = "linux")]
    {
        /// asm-generic/socket.h.
        const SO_MEMINFO: libc::c_int = 55;
        /// SK_MEMINFO_VARS of linux/sock_diag.h.
        const VALUES: usize = 9;
        let mut values = [0u32; VALUES];
        let mut length = mem::size_of_val(&values) as libc::socklen_t;
        let (place, room) = (values.as_mut_ptr().cast(), &raw mut length);
        // SAFETY: both pointers are to locals of the size that `length` says, which live through the call.
        counted(unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_MEMINFO, place, room) } as isize)?;
        Ok(values[libc::SK_MEMINFO_DROPS as usize])
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = socket;
        Err(Errno(NOT_SUPPORTED))
    }
}

/// A `group_source_req` of RFC 3678, 5.1, which a `group_req` begins.
#[cfg_attr(not(target_vendor = "apple"), repr(C))]
#[cfg_attr(target_vendor = "apple", repr(C, packed(4)))]
#[derive(Clone, Copy)]
struct GroupSource {
    group: Group,
    source: libc::sockaddr_storage,
}

#[cfg_attr(not(target_vendor = "apple"), repr(C))]
#[cfg_attr(target_vendor = "apple", repr(C, packed(4)))]
#[derive(Clone, Copy)]
struct Group {
    interface: u32,
    group: libc::sockaddr_storage,
}

/// Joins a multicast group or leaves it, by the options of RFC 3678, which are the same for IPv4 and IPv6.
pub fn set_membership(socket: &Socket, membership: &Membership, join: bool) -> Result<(), Errno> {
    if cfg!(any(feature = "portable", not(target_os = "linux"))) && membership.interface == 0 {
        return set_membership_somewhere(socket, membership, join);
    }
    let level = if membership.group.is_ipv6() { libc::IPPROTO_IPV6 } else { libc::IPPROTO_IP };
    let group = Group { interface: membership.interface, group: storage(membership.group) };
    match membership.source {
        None => set(socket, level, if join { libc::MCAST_JOIN_GROUP } else { libc::MCAST_LEAVE_GROUP }, &group),
        Some(source) => {
            let name = if join { libc::MCAST_JOIN_SOURCE_GROUP } else { libc::MCAST_LEAVE_SOURCE_GROUP };
            set(socket, level, name, &GroupSource { group, source: storage(source) })
        }
    }
}

/// As above, with the interface left to the system, which the options of RFC 3678 do not do on macOS and BSD (`inp_join_group` of
/// bsd/netinet/in_mcast.c): by the options of each protocol. None of IPv6's names a source.
fn set_membership_somewhere(socket: &Socket, membership: &Membership, join: bool) -> Result<(), Errno> {
    const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
    match (membership.group, membership.source) {
        (IpAddr::V4(group), None) if join => socket.join_multicast_v4(&group, &ANY)?,
        (IpAddr::V4(group), None) => socket.leave_multicast_v4(&group, &ANY)?,
        (IpAddr::V4(group), Some(IpAddr::V4(source))) if join => socket.join_ssm_v4(&source, &group, &ANY)?,
        (IpAddr::V4(group), Some(IpAddr::V4(source))) => socket.leave_ssm_v4(&source, &group, &ANY)?,
        (IpAddr::V6(group), None) if join => socket.join_multicast_v6(&group, 0)?,
        (IpAddr::V6(group), None) => socket.leave_multicast_v6(&group, 0)?,
        (_, Some(_)) => return Err(Errno(libc::ENODEV)),
    }
    Ok(())
}

/// The host as a socket address, of port 0.
fn storage(host: IpAddr) -> libc::sockaddr_storage {
    let address = SockAddr::from(SocketAddr::new(host, 0));
    // SAFETY: a SockAddr is a sockaddr_storage, all of which is initialized, and lives through the copy.
    #[allow(unused_mut, reason = "for the length that some systems want")]
    let mut storage = unsafe { *address.as_ptr().cast::<libc::sockaddr_storage>() };
    #[cfg(target_vendor = "apple")]
    {
        storage.ss_len = address.len() as u8;
    }
    storage
}

/// The index of the interface of that name; none where there is no such interface.
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends with a NUL, and lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// Sets an option to plain data.
fn set<T: Copy>(socket: &Socket, level: libc::c_int, name: libc::c_int, value: &T) -> Result<(), Errno> {
    let length = mem::size_of::<T>() as libc::socklen_t;
    let value = std::ptr::from_ref(value).cast();
    // SAFETY: the pointer is to plain data of that length, which live through the call and are only read.
    counted(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, length) } as isize).map(|_| ())
}

/// Reads an option that is an `int`.
fn get(socket: &Socket, level: libc::c_int, name: libc::c_int) -> Result<libc::c_int, Errno> {
    let mut value: libc::c_int = 0;
    let mut length = mem::size_of::<libc::c_int>() as libc::socklen_t;
    let (place, room) = ((&raw mut value).cast(), &raw mut length);
    // SAFETY: both pointers are to locals of the size that `length` says, which live through the call.
    counted(unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, place, room) } as isize)?;
    Ok(value)
}
