//! The options of a socket, by the numbers that JavaScript knows them by, for each protocol that the socket speaks.

#![forbid(unsafe_code)]

use crate::errno::Errno;
use crate::socket::UdpSocket;
use crate::sys;
use socket2::Socket;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// An option. The numbers are part of the contract with `ts/native/native.ts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum SocketOption {
    /// IP_TTL, IPV6_UNICAST_HOPS.
    HopLimit = 1,
    /// SO_RCVBUF as the system has it: Linux doubles what is set.
    ReceiveBuffer,
    /// SO_SNDBUF, likewise.
    SendBuffer,
    /// 1: runs leave as segmented messages.
    Segmentation,
    /// 1: the kernel may hand over runs of received datagrams as one message, which is cut apart again.
    CoalescingReceive,
    /// SO_REUSEADDR.
    ReuseAddress,
    /// SO_REUSEPORT.
    ReusePort,
    /// SO_BROADCAST.
    Broadcast,
    /// IPV6_V6ONLY; 0 has the socket speak IPv4 as well.
    Ipv6Only,
    /// IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS.
    MulticastHopLimit,
    /// IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP.
    MulticastLoopback,
    /// IP_MULTICAST_IF, IPV6_MULTICAST_IF: an interface's index, 0 for the system's choice.
    MulticastInterface,
    /// IP_TOS, IPV6_TCLASS.
    TrafficClass,
    /// 0: the system fragments what is too large; 1: it refuses what exceeds the path's MTU; 2: it sends what the device takes.
    DontFragment,
    /// The MTU of the path to the peer. Read alone.
    PathMtu,
    /// The interface that the socket is bound to, by its index; 0 for none. Set alone.
    Device,
    /// 1: receives tell the address and interface of each datagram. IP_PKTINFO, IPV6_RECVPKTINFO.
    PacketInfo,
    /// 1: receives tell the traffic class. IP_RECVTOS, IPV6_RECVTCLASS.
    ReceiveTrafficClass,
    /// 1: receives tell when the kernel had each datagram. SO_TIMESTAMPNS, SO_TIMESTAMP.
    Timestamps,
    /// Datagrams that the kernel dropped for want of room. Read alone.
    Drops,
    /// 1: errors are told with the destinations that they came from. IP_RECVERR, IPV6_RECVERR.
    ErrorReports,
    /// The processor whose packets the socket takes, of those that share its port. Set alone. SO_INCOMING_CPU.
    IncomingCpu,
}

impl SocketOption {
    /// All of them; each stands at its number less 1.
    const ALL: [Self; 22] = [
        Self::HopLimit,
        Self::ReceiveBuffer,
        Self::SendBuffer,
        Self::Segmentation,
        Self::CoalescingReceive,
        Self::ReuseAddress,
        Self::ReusePort,
        Self::Broadcast,
        Self::Ipv6Only,
        Self::MulticastHopLimit,
        Self::MulticastLoopback,
        Self::MulticastInterface,
        Self::TrafficClass,
        Self::DontFragment,
        Self::PathMtu,
        Self::Device,
        Self::PacketInfo,
        Self::ReceiveTrafficClass,
        Self::Timestamps,
        Self::Drops,
        Self::ErrorReports,
        Self::IncomingCpu,
    ];

    /// The number of the last.
    pub const LAST: i32 = Self::ALL.len() as i32;

    /// The option of a number from 1 to [`Self::LAST`].
    pub fn of(number: i32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
    }

    /// The largest value that it takes; none is below 0.
    pub fn most(self) -> i32 {
        match self {
            Self::Segmentation
            | Self::CoalescingReceive
            | Self::ReuseAddress
            | Self::ReusePort
            | Self::Broadcast
            | Self::Ipv6Only
            | Self::MulticastLoopback
            | Self::PacketInfo
            | Self::ReceiveTrafficClass
            | Self::Timestamps
            | Self::ErrorReports => 1,
            Self::DontFragment => 2,
            _ => i32::MAX,
        }
    }
}

/// What a socket that joins or leaves a multicast group names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group.
    pub group: IpAddr,
    /// The only source to hear; none for any.
    pub source: Option<IpAddr>,
    /// The index of the interface; 0 for the system's choice, by the route to the group.
    pub interface: u32,
}

impl UdpSocket {
    /// Reads an option. Of a socket that speaks both protocols, IPv6's.
    pub fn option(&self, option: SocketOption) -> Result<i32, Errno> {
        let socket = self.as_socket();
        let ipv6 = self.is_ipv6();
        let value = match option {
            SocketOption::HopLimit if ipv6 => socket.unicast_hops_v6()? as usize,
            SocketOption::HopLimit => socket.ttl_v4()? as usize,
            SocketOption::ReceiveBuffer => socket.recv_buffer_size()?,
            SocketOption::SendBuffer => socket.send_buffer_size()?,
            SocketOption::Segmentation => self.segmentation().into(),
            SocketOption::CoalescingReceive => self.coalesces_receives().into(),
            SocketOption::ReuseAddress => socket.reuse_address()?.into(),
            SocketOption::ReusePort => sys::reuse_port(socket)?.into(),
            SocketOption::Broadcast => socket.broadcast()?.into(),
            SocketOption::Ipv6Only => (ipv6 && !self.is_dual()).into(),
            SocketOption::MulticastHopLimit if ipv6 => socket.multicast_hops_v6()? as usize,
            SocketOption::MulticastHopLimit => socket.multicast_ttl_v4()? as usize,
            SocketOption::MulticastLoopback if ipv6 => socket.multicast_loop_v6()?.into(),
            SocketOption::MulticastLoopback => socket.multicast_loop_v4()?.into(),
            SocketOption::MulticastInterface if ipv6 => socket.multicast_if_v6()? as usize,
            SocketOption::TrafficClass => sys::traffic_class(socket, ipv6)? as usize,
            SocketOption::DontFragment => sys::dont_fragment(socket, ipv6)? as usize,
            SocketOption::PathMtu => {
                let peer = socket.peer_addr()?.as_socket().ok_or(Errno(sys::UNKNOWN))?;
                sys::path_mtu(socket, unmapped(peer).is_ipv6())? as usize
            }
            SocketOption::PacketInfo | SocketOption::ReceiveTrafficClass | SocketOption::Timestamps => {
                self.tells(option).into()
            }
            SocketOption::Drops => sys::drops(socket)?.min(i32::MAX as u32) as usize,
            SocketOption::ErrorReports => self.reports_errors().into(),
            // Linux tells the address of an IPv4 interface, not its index.
            // SO_INCOMING_CPU is read as the processor of the last packet.
            SocketOption::MulticastInterface | SocketOption::Device | SocketOption::IncomingCpu => {
                return Err(Errno(sys::NOT_SUPPORTED));
            }
        };
        Ok(value as i32)
    }

    /// Sets an option, from 0 to its [`SocketOption::most`]; of a socket that speaks both protocols, each one's.
    pub fn set_option(&mut self, option: SocketOption, value: i32) -> Result<(), Errno> {
        let (number, on) = (value as u32, value != 0);
        match option {
            SocketOption::Segmentation => self.set_segmentation(on),
            SocketOption::CoalescingReceive => self.coalesce_receives(on)?,
            SocketOption::Ipv6Only => self.set_only_v6(on)?,
            SocketOption::ReceiveBuffer => self.as_socket().set_recv_buffer_size(value as usize)?,
            SocketOption::SendBuffer => self.as_socket().set_send_buffer_size(value as usize)?,
            SocketOption::ReuseAddress => self.as_socket().set_reuse_address(on)?,
            SocketOption::ReusePort => sys::set_reuse_port(self.as_socket(), on)?,
            SocketOption::Broadcast => self.as_socket().set_broadcast(on)?,
            SocketOption::PathMtu | SocketOption::Drops => return Err(Errno(sys::NOT_SUPPORTED)),
            SocketOption::ErrorReports => self.report_errors(on)?,
            SocketOption::IncomingCpu => sys::set_incoming_cpu(self.as_socket(), value)?,
            SocketOption::PacketInfo | SocketOption::ReceiveTrafficClass | SocketOption::Timestamps => {
                if on {
                    sys::reads_control()?;
                }
                self.each_protocol(|socket, ipv6| match option {
                    SocketOption::PacketInfo => sys::set_packet_info(socket, ipv6, on),
                    SocketOption::ReceiveTrafficClass => sys::set_receive_class(socket, ipv6, on),
                    _ => sys::set_timestamps(socket, on),
                })?;
                self.set_tells(option, on);
            }
            _ => self.each_protocol(|socket, ipv6| match option {
                SocketOption::HopLimit if ipv6 => Ok(socket.set_unicast_hops_v6(number)?),
                SocketOption::HopLimit => Ok(socket.set_ttl_v4(number)?),
                SocketOption::MulticastHopLimit if ipv6 => Ok(socket.set_multicast_hops_v6(number)?),
                SocketOption::MulticastHopLimit => Ok(socket.set_multicast_ttl_v4(number)?),
                SocketOption::MulticastLoopback if ipv6 => Ok(socket.set_multicast_loop_v6(on)?),
                SocketOption::MulticastLoopback => Ok(socket.set_multicast_loop_v4(on)?),
                SocketOption::MulticastInterface if ipv6 => Ok(socket.set_multicast_if_v6(number)?),
                SocketOption::MulticastInterface => sys::set_multicast_interface_v4(socket, number),
                SocketOption::TrafficClass => sys::set_traffic_class(socket, ipv6, number),
                SocketOption::Device => sys::bind_device(socket, ipv6, number),
                _ => sys::set_dont_fragment(socket, ipv6, number),
            })?,
        }
        Ok(())
    }

    /// Joins a multicast group, or leaves it.
    pub fn set_membership(&self, membership: &Membership, join: bool) -> Result<(), Errno> {
        sys::set_membership(self.as_socket(), membership, join)
    }

    /// Has IPv4 multicast datagrams leave from that address of this machine, by its interface; 0.0.0.0 for the system's choice:
    /// ip(7), IP_MULTICAST_IF. A socket of IPv6 takes it where the system's sockets do.
    pub fn set_multicast_address(&self, address: Ipv4Addr) -> Result<(), Errno> {
        Ok(self.as_socket().set_multicast_if_v4(&address)?)
    }

    /// Sets what IPv6 and IPv4 have an option each for. A system whose IPv6 sockets do not take those of IPv4 has them not.
    fn each_protocol(&self, set: impl Fn(&Socket, bool) -> Result<(), Errno>) -> Result<(), Errno> {
        let socket = self.as_socket();
        if !self.is_ipv6() {
            return set(socket, false);
        }
        set(socket, true)?;
        match if self.is_dual() { set(socket, false) } else { Ok(()) } {
            Err(_) if !cfg!(target_os = "linux") => Err(Errno(sys::NOT_SUPPORTED)),
            result => result,
        }
    }
}

/// The address as a socket of both protocols names it: RFC 4291, 2.5.5.2, "IPv4-Mapped IPv6 Address".
pub(crate) fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => address,
    }
}

/// An address that a socket of both protocols names, as what it is.
pub(crate) fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::new(v4.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}
