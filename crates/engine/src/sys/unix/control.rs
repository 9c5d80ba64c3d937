//! Control messages: what goes beside a datagram, as sendmsg(2) and recvmsg(2) carry it. cmsg(3), ip(7), ipv6(7), udp(7), socket(7).

use crate::ancillary::Ancillary;
use libc::c_int;
use std::iter;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;
use std::slice;

/// Room for the control messages of one message, aligned as cmsghdr is: at most a segment size (24 bytes), packet infos of both
/// protocols (32 and 40), traffic classes of both (24 each), and a time (32).
pub type Control = [u64; 24];

/// No control message.
pub const NO_CONTROL: Control = [0; 24];

/// Writes control messages, one behind the other.
pub struct Writer<'a> {
    control: &'a mut Control,
    used: usize,
}

impl<'a> Writer<'a> {
    /// Begins at the front.
    pub fn new(control: &'a mut Control) -> Self {
        Self { control, used: 0 }
    }

    /// Writes a control message; its value is plain data.
    fn push<T: Copy>(&mut self, level: c_int, kind: c_int, value: T) {
        let size = mem::size_of::<T>() as u32;
        // SAFETY: plain arithmetic on a size.
        let (length, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size)) };
        assert!(
            self.used + space as usize <= mem::size_of::<Control>(),
            "a Control has room for all that is asked for"
        );
        // SAFETY: `used` is a sum of CMSG_SPACEs, so that the header is aligned; header and data lie within the control, by the
        // line above, which is borrowed mutably. Zeros are a valid cmsghdr.
        unsafe {
            let header = self.control.as_mut_ptr().byte_add(self.used).cast::<libc::cmsghdr>();
            header.write(mem::zeroed());
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = length as _;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        self.used += space as usize;
    }

    /// Has the kernel cut the message into segments of that size: udp(7), "UDP_SEGMENT ... The segment size can be set for an
    /// individual send with a control message" of level SOL_UDP and a 16-bit value.
    #[cfg(target_os = "linux")]
    pub fn segment(&mut self, size: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, size);
    }

    /// What is asked for a datagram that leaves by that protocol. A source of the other protocol asks for what cannot be, which
    /// the system then says.
    pub fn ancillary(&mut self, ancillary: &Ancillary, ipv6: bool) {
        if let Some(class) = ancillary.class {
            let (level, kind) = class_option(ipv6);
            self.push(level, kind, c_int::from(class));
        }
        match ancillary.source(ipv6) {
            None => {}
            Some(IpAddr::V4(source)) => self.info_v4(source, ancillary.interface),
            Some(IpAddr::V6(source)) => self.info_v6(source, ancillary.interface),
        }
    }

    /// ip(7), IP_PKTINFO: "ipi_spec_dst is used as the local source address for the routing table lookup".
    fn info_v4(&mut self, source: Ipv4Addr, interface: u32) {
        let info = libc::in_pktinfo {
            ipi_ifindex: interface as _,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
    }

    /// RFC 3542, 6.
    fn info_v6(&mut self, source: Ipv6Addr, interface: u32) {
        let info =
            libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: interface as _ };
        self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
    }

    /// Has a header carry what was written: nothing where nothing was.
    pub fn attach(self, header: &mut libc::msghdr) {
        header.msg_control = if self.used == 0 { ptr::null_mut() } else { self.control.as_mut_ptr().cast() };
        header.msg_controllen = self.used as _;
    }
}

/// The level and name of the traffic class.
fn class_option(ipv6: bool) -> (c_int, c_int) {
    if ipv6 { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) } else { (libc::IPPROTO_IP, libc::IP_TOS) }
}

/// A control message: its level, its type and its data.
pub type ControlMessage<'a> = (c_int, c_int, &'a [u8]);

/// The control messages that the kernel wrote behind a header.
#[allow(clippy::unnecessary_cast, reason = "lengths have other types in musl's headers")]
pub fn controls(header: &libc::msghdr) -> impl Iterator<Item = ControlMessage<'_>> {
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
#[cfg(target_os = "linux")]
pub fn segment_size(header: &libc::msghdr) -> Option<usize> {
    // One for which there was no room is cut (MSG_CTRUNC), and tells nothing.
    let mut sizes = controls(header).filter(|&(level, kind, _)| (level, kind) == (libc::SOL_UDP, libc::UDP_GRO));
    let size = c_int::from_ne_bytes(sizes.find_map(|(_, _, data)| data.first_chunk().copied())?);
    usize::try_from(size).ok().filter(|&size| size > 0)
}

/// What the kernel told of a message. What is cut short tells nothing.
pub fn ancillary(header: &libc::msghdr) -> Ancillary {
    let mut told = Ancillary::default();
    for (level, kind, data) in controls(header) {
        match (level, kind) {
            // struct in_pktinfo: the interface, the address of this machine, the address in the header.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let (words, _) = data.as_chunks::<4>();
                let [interface, own, address, ..] = *words else { continue };
                told.interface = u32::from_ne_bytes(interface);
                told.tell_address(Ipv4Addr::from(address).into());
                // macOS tells no own address, nor does Linux of what came before the option was set.
                if own != [0; 4] {
                    told.is_shared = own != address;
                }
            }
            // struct in6_pktinfo.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => told.tell_packet_info_v6(data),
            // One byte of IPv4, an `int` of IPv6; systems differ in the type's name.
            (libc::IPPROTO_IP, libc::IP_TOS | libc::IP_RECVTOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                let class = data.first_chunk().map(|&word| c_int::from_ne_bytes(word) as u8);
                told.class = class.or(data.first().copied()).or(told.class);
            }
            (libc::SOL_SOCKET, TIME_KIND) => told.time = nanoseconds(data).or(told.time),
            _ => {}
        }
    }
    told
}

/// The type of the control message that tells when the kernel had a datagram.
#[cfg(target_os = "linux")]
const TIME_KIND: c_int = TIME_OPTION;
#[cfg(not(target_os = "linux"))]
const TIME_KIND: c_int = libc::SCM_TIMESTAMP;

/// The option that has the kernel tell it: in nanoseconds where there is one, SO_TIMESTAMPNS of asm-generic/socket.h.
#[cfg(target_os = "linux")]
pub const TIME_OPTION: c_int = 35;
#[cfg(not(target_os = "linux"))]
pub const TIME_OPTION: c_int = libc::SO_TIMESTAMP;

/// The nanoseconds since 1970 of a `timespec`, or a `timeval` of those that know no other.
#[allow(clippy::unnecessary_cast, reason = "the members' types differ between systems")]
fn nanoseconds(data: &[u8]) -> Option<u64> {
    #[cfg(target_os = "linux")]
    type Time = libc::timespec;
    #[cfg(not(target_os = "linux"))]
    type Time = libc::timeval;
    if data.len() < mem::size_of::<Time>() {
        return None;
    }
    // SAFETY: the data are as long as a Time, of which any bytes are a valid value; read_unaligned asks for no alignment.
    let time = unsafe { data.as_ptr().cast::<Time>().read_unaligned() };
    #[cfg(target_os = "linux")]
    let (seconds, nanoseconds) = (time.tv_sec as u64, time.tv_nsec as u64);
    #[cfg(not(target_os = "linux"))]
    let (seconds, nanoseconds) = (time.tv_sec as u64, time.tv_usec as u64 * 1000);
    Some(seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds))
}

/// An error of the queue of errors: see [`crate::sys::Report`].
#[cfg(target_os = "linux")]
pub struct QueuedError {
    /// The error number.
    pub errno: i32,
    /// Whether an ICMP message told it.
    pub icmp: bool,
    /// What it says beside: the MTU, with EMSGSIZE.
    pub info: u32,
}

/// ip(7), IP_RECVERR: a `sock_extended_err`.
#[cfg(target_os = "linux")]
pub fn queued_error(header: &libc::msghdr) -> Option<QueuedError> {
    const KINDS: [(c_int, c_int); 2] = [(libc::IPPROTO_IP, libc::IP_RECVERR), (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)];
    let (_, _, error) = controls(header).find(|&(level, kind, _)| KINDS.contains(&(level, kind)))?;
    let origin = *error.get(mem::offset_of!(libc::sock_extended_err, ee_origin))?;
    let info = error.get(mem::offset_of!(libc::sock_extended_err, ee_info)..)?.first_chunk()?;
    Some(QueuedError {
        errno: i32::from_ne_bytes(*error.first_chunk()?),
        icmp: matches!(origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6),
        info: u32::from_ne_bytes(*info),
    })
}

/// What a fuzzer sees of the above, of the first `length` bytes of `control`: the segment size, and what is told beside.
///
/// # Safety
///
/// They are control messages as the kernel writes them.
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub unsafe fn decode(control: &mut [u64], length: usize) -> (Option<usize>, Ancillary) {
    assert!(length <= mem::size_of_val(control));
    // SAFETY: zeros are a valid msghdr: null pointers with lengths of 0.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = length as _;
    (segment_size(&header), ancillary(&header))
}
