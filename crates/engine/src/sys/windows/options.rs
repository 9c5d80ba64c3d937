//! The options of Windows that `socket2` has not; those that it lacks are `NOT_SUPPORTED`.

use super::{done, handle};
use crate::errno::Errno;
use crate::options::Membership;
use socket2::{SockAddr, Socket};
use std::ffi::CString;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use windows_sys::Win32::NetworkManagement::IpHelper::if_nametoindex;
use windows_sys::Win32::Networking::WinSock::{self, GROUP_REQ, GROUP_SOURCE_REQ, SOCKADDR_STORAGE};

/// What a system answers that lacks an option.
pub const NOT_SUPPORTED: i32 = WinSock::WSAEOPNOTSUPP;

/// There is no SO_REUSEPORT: SO_REUSEADDR shares a port, and leaves open who hears what.
pub fn reuse_port(_: &Socket) -> Result<bool, Errno> {
    Err(Errno(NOT_SUPPORTED))
}

/// As above.
pub fn set_reuse_port(_: &Socket, _: bool) -> Result<(), Errno> {
    Err(Errno(NOT_SUPPORTED))
}

/// "IPPROTO_IP Socket Options", IP_TOS: "Do not use this option to set the TOS": it is taken and ignored.
pub fn traffic_class(_: &Socket, _: bool) -> Result<u32, Errno> {
    Err(Errno(NOT_SUPPORTED))
}

/// As above.
pub fn set_traffic_class(_: &Socket, _: bool, _: u32) -> Result<(), Errno> {
    Err(Errno(NOT_SUPPORTED))
}

/// The interface that IPv4 multicasts leave by: IP_MULTICAST_IF takes an index in network order for an address of 0.x.x.x.
pub fn set_multicast_interface_v4(socket: &Socket, index: u32) -> Result<(), Errno> {
    set(socket, WinSock::IPPROTO_IP, WinSock::IP_MULTICAST_IF, &index.to_be())
}

/// There is no option that binds to an interface: IP_UNICAST_IF speaks of what is sent alone.
pub fn bind_device(_: &Socket, _: bool, _: u32) -> Result<(), Errno> {
    Err(Errno(NOT_SUPPORTED))
}

/// There is no such option.
pub fn set_incoming_cpu(_: &Socket, _: i32) -> Result<(), Errno> {
    Err(Errno(NOT_SUPPORTED))
}

/// How too large datagrams are dealt with, as `SocketOption::DontFragment` counts it, by the value of IP_MTU_DISCOVER.
const DISCOVERY: [i32; 3] = [WinSock::IP_PMTUDISC_NOT_SET, WinSock::IP_PMTUDISC_DO, WinSock::IP_PMTUDISC_PROBE];

/// The option's level and name.
fn discovery(ipv6: bool) -> (i32, i32) {
    match ipv6 {
        true => (WinSock::IPPROTO_IPV6, WinSock::IPV6_MTU_DISCOVER),
        false => (WinSock::IPPROTO_IP, WinSock::IP_MTU_DISCOVER),
    }
}

/// How too large datagrams are dealt with.
pub fn dont_fragment(socket: &Socket, ipv6: bool) -> Result<u32, Errno> {
    let (level, name) = discovery(ipv6);
    let value = get(socket, level, name)?;
    Ok(DISCOVERY.iter().position(|&known| known == value).unwrap_or(0) as u32)
}

/// Sets how too large datagrams are dealt with.
pub fn set_dont_fragment(socket: &Socket, ipv6: bool, value: u32) -> Result<(), Errno> {
    let (level, name) = discovery(ipv6);
    set(socket, level, name, DISCOVERY.get(value as usize).ok_or(Errno(NOT_SUPPORTED))?)
}

/// The MTU of the path to the peer: IP_MTU, "the system's estimate of the path MTU", of a connected socket.
pub fn path_mtu(socket: &Socket, ipv6: bool) -> Result<u32, Errno> {
    let (level, name) =
        if ipv6 { (WinSock::IPPROTO_IPV6, WinSock::IPV6_MTU) } else { (WinSock::IPPROTO_IP, WinSock::IP_MTU) };
    Ok(get(socket, level, name)? as u32)
}

/// Has receives tell the address and the interface that each datagram came to: IP_PKTINFO, IPV6_PKTINFO.
pub fn set_packet_info(socket: &Socket, ipv6: bool, on: bool) -> Result<(), Errno> {
    let (level, name) = match ipv6 {
        true => (WinSock::IPPROTO_IPV6, WinSock::IPV6_PKTINFO),
        false => (WinSock::IPPROTO_IP, WinSock::IP_PKTINFO),
    };
    set(socket, level, name, &u32::from(on))
}

/// Has receives tell the traffic class of each datagram: IP_RECVTOS, IPV6_RECVTCLASS; where the system has none such, ECN alone:
/// IP_RECVECN, IPV6_RECVECN (build 20348).
pub fn set_receive_class(socket: &Socket, ipv6: bool, on: bool) -> Result<(), Errno> {
    let (level, whole, ecn) = match ipv6 {
        true => (WinSock::IPPROTO_IPV6, WinSock::IPV6_RECVTCLASS, WinSock::IPV6_RECVECN),
        false => (WinSock::IPPROTO_IP, WinSock::IP_RECVTOS, WinSock::IP_RECVECN),
    };
    let on = u32::from(on);
    set(socket, level, whole, &on).or_else(|errno| set(socket, level, ecn, &on).map_err(|_| errno))
}

/// SIO_TIMESTAMPING tells ticks of a clock of its own, of devices that have one.
pub fn set_timestamps(_: &Socket, _: bool) -> Result<(), Errno> {
    Err(Errno(NOT_SUPPORTED))
}

/// Winsock counts drops of the whole machine alone.
pub fn drops(_: &Socket) -> Result<u32, Errno> {
    Err(Errno(NOT_SUPPORTED))
}

/// Joins a multicast group or leaves it, by the options of RFC 3678, which are the same for IPv4 and IPv6.
pub fn set_membership(socket: &Socket, membership: &Membership, join: bool) -> Result<(), Errno> {
    let level = if membership.group.is_ipv6() { WinSock::IPPROTO_IPV6 } else { WinSock::IPPROTO_IP };
    let (gr_interface, gr_group) = (membership.interface, storage(membership.group));
    match membership.source {
        None => {
            let name = if join { WinSock::MCAST_JOIN_GROUP } else { WinSock::MCAST_LEAVE_GROUP };
            set(socket, level, name as i32, &GROUP_REQ { gr_interface, gr_group })
        }
        Some(source) => {
            let name = if join { WinSock::MCAST_JOIN_SOURCE_GROUP } else { WinSock::MCAST_LEAVE_SOURCE_GROUP };
            let request =
                GROUP_SOURCE_REQ { gsr_interface: gr_interface, gsr_group: gr_group, gsr_source: storage(source) };
            set(socket, level, name as i32, &request)
        }
    }
}

/// The host as a socket address, of port 0.
fn storage(host: IpAddr) -> SOCKADDR_STORAGE {
    let address = SockAddr::from(SocketAddr::new(host, 0));
    // SAFETY: a SockAddr is a SOCKADDR_STORAGE, all of which is initialized, and lives through the copy.
    unsafe { *address.as_ptr().cast::<SOCKADDR_STORAGE>() }
}

/// The index of the interface of that name, such as `ethernet_32769`; none where there is no such interface.
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends with a NUL, and lives through the call.
    let index = unsafe { if_nametoindex(name.as_ptr().cast()) };
    (index != 0).then_some(index)
}

/// Sets an option to plain data.
fn set<T: Copy>(socket: &Socket, level: i32, name: i32, value: &T) -> Result<(), Errno> {
    let value = std::ptr::from_ref(value).cast();
    // SAFETY: the pointer is to plain data of that length, which live through the call and are only read.
    done(unsafe { WinSock::setsockopt(handle(socket), level, name, value, mem::size_of::<T>() as i32) })
}

/// Reads an option that is a DWORD.
fn get(socket: &Socket, level: i32, name: i32) -> Result<i32, Errno> {
    let mut value = 0i32;
    let mut length = mem::size_of::<i32>() as i32;
    let (place, room) = ((&raw mut value).cast(), &raw mut length);
    // SAFETY: both pointers are to locals of the size that `length` says, which live through the call.
    done(unsafe { WinSock::getsockopt(handle(socket), level, name, place, room) })?;
    Ok(value)
}
