//! Control messages: what goes beside a datagram, as WSASendMsg and WSARecvMsg carry it. ws2def.h.

use crate::ancillary::Ancillary;
use crate::errno::Errno;
use std::iter;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;
use windows_sys::Win32::Networking::WinSock::{
    self, CMSGHDR, IN_ADDR, IN_ADDR_0, IN_PKTINFO, IN6_ADDR, IN6_ADDR_0, IN6_PKTINFO, WSABUF,
};

/// Room for the control messages of one message, aligned as CMSGHDR is: at most a segment size (24 bytes), packet infos of both
/// protocols (24 and 40), traffic classes of both (24 each).
pub type Control = [u64; 20];

/// No control message.
pub const NO_CONTROL: Control = [0; 20];

/// WSA_CMSGDATA_ALIGN and WSA_CMSGHDR_ALIGN: both align as a pointer does.
const fn aligned(size: usize) -> usize {
    size.next_multiple_of(mem::align_of::<usize>())
}

/// Where a control message's data begins.
const DATA: usize = aligned(mem::size_of::<CMSGHDR>());

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
    fn push<T: Copy>(&mut self, level: i32, kind: i32, value: T) {
        let end = DATA + mem::size_of::<T>();
        assert!(self.used + aligned(end) <= mem::size_of::<Control>(), "a Control has room for all that is asked for");
        let header = CMSGHDR { cmsg_len: end, cmsg_level: level, cmsg_type: kind };
        // SAFETY: header and value lie within the control, by the line above, which is borrowed mutably; `used` is a multiple
        // of a pointer's size, so that both are aligned.
        unsafe {
            let start = self.control.as_mut_ptr().byte_add(self.used);
            start.cast::<CMSGHDR>().write(header);
            start.byte_add(DATA).cast::<T>().write_unaligned(value);
        }
        self.used += aligned(end);
    }

    /// Has the system cut the message into segments of that size: "IPPROTO_UDP Socket Options", UDP_SEND_MSG_SIZE, a DWORD.
    pub fn segment(&mut self, size: u32) {
        self.push(WinSock::IPPROTO_UDP, WinSock::UDP_SEND_MSG_SIZE, size);
    }

    /// What is asked for a datagram that leaves by that protocol. Of the traffic class the system lets programs choose the ECN
    /// alone (IP_ECN, IPV6_ECN).
    pub fn ancillary(&mut self, ancillary: &Ancillary, ipv6: bool) -> Result<(), Errno> {
        match ancillary.class {
            None => {}
            Some(ecn) if ecn < 4 && ipv6 => self.push(WinSock::IPPROTO_IPV6, WinSock::IPV6_ECN, i32::from(ecn)),
            Some(ecn) if ecn < 4 => self.push(WinSock::IPPROTO_IP, WinSock::IP_ECN, i32::from(ecn)),
            Some(_) => return Err(Errno(WinSock::WSAEOPNOTSUPP)),
        }
        match ancillary.source(ipv6) {
            None => {}
            Some(IpAddr::V4(source)) => self.info_v4(source, ancillary.interface),
            Some(IpAddr::V6(source)) => self.info_v6(source, ancillary.interface),
        }
        Ok(())
    }

    fn info_v4(&mut self, source: Ipv4Addr, interface: u32) {
        let address = IN_ADDR { S_un: IN_ADDR_0 { S_addr: u32::from_ne_bytes(source.octets()) } };
        let info = IN_PKTINFO { ipi_addr: address, ipi_ifindex: interface };
        self.push(WinSock::IPPROTO_IP, WinSock::IP_PKTINFO, info);
    }

    fn info_v6(&mut self, source: Ipv6Addr, interface: u32) {
        let address = IN6_ADDR { u: IN6_ADDR_0 { Byte: source.octets() } };
        let info = IN6_PKTINFO { ipi6_addr: address, ipi6_ifindex: interface };
        self.push(WinSock::IPPROTO_IPV6, WinSock::IPV6_PKTINFO, info);
    }

    /// What was written, as a message names it: nothing where nothing was.
    pub fn buffer(self) -> WSABUF {
        let buf = if self.used == 0 { ptr::null_mut() } else { self.control.as_mut_ptr().cast() };
        WSABUF { len: self.used as u32, buf }
    }
}

/// The control messages in the first `length` bytes: the level, the type and the data of each.
fn controls(control: &Control, length: usize) -> impl Iterator<Item = (i32, i32, &[u8])> {
    let length = length.min(mem::size_of::<Control>());
    // SAFETY: a Control is initialized, and as long as that.
    let bytes = unsafe { std::slice::from_raw_parts(control.as_ptr().cast::<u8>(), length) };
    let mut at = 0;
    iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| rest.len() >= DATA)?;
        // SAFETY: there are as many bytes, of which any are a valid CMSGHDR; read_unaligned asks for no alignment.
        let header = unsafe { rest.as_ptr().cast::<CMSGHDR>().read_unaligned() };
        let data = rest.get(DATA..header.cmsg_len)?;
        at += aligned(header.cmsg_len);
        Some((header.cmsg_level, header.cmsg_type, data))
    })
}

/// The segment size that the system named beside a coalesced message (UDP_COALESCED_INFO, a DWORD); none where it is one datagram.
pub fn segment_size(control: &Control, length: usize) -> Option<u32> {
    const KIND: (i32, i32) = (WinSock::IPPROTO_UDP, WinSock::UDP_COALESCED_INFO as i32);
    let (_, _, data) = controls(control, length).find(|&(level, kind, _)| (level, kind) == KIND)?;
    Some(u32::from_ne_bytes(*data.first_chunk()?)).filter(|&size| size > 0)
}

/// What the system told of a message. Whether the address is one for broadcasts, it does not tell.
pub fn ancillary(control: &Control, length: usize) -> Ancillary {
    let mut told = Ancillary::default();
    for (level, kind, data) in controls(control, length) {
        match (level, kind) {
            // IN_PKTINFO: the address in the header, the interface.
            (WinSock::IPPROTO_IP, WinSock::IP_PKTINFO) => {
                let (words, _) = data.as_chunks::<4>();
                let [address, interface, ..] = *words else { continue };
                told.tell_address(Ipv4Addr::from(address).into());
                told.interface = u32::from_ne_bytes(interface);
            }
            // IN6_PKTINFO.
            (WinSock::IPPROTO_IPV6, WinSock::IPV6_PKTINFO) => told.tell_packet_info_v6(data),
            // Where the system knows ECN alone, that is the class.
            (WinSock::IPPROTO_IP, WinSock::IP_TOS | WinSock::IP_ECN)
            | (WinSock::IPPROTO_IPV6, WinSock::IPV6_TCLASS | WinSock::IPV6_ECN) => {
                told.class = data.first_chunk().map(|&word| i32::from_ne_bytes(word) as u8).or(told.class);
            }
            _ => {}
        }
    }
    told
}
