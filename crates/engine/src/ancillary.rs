//! What goes beside a datagram: by which address and interface of this machine, of which traffic class, when.
//!
//! A table holds it as records of [`RECORD_BYTES`], one behind each address slot; the same numbers as in
//! `ts/native/layout.ts`, in native byte order:
//!
//! - word 0: the family of the address (0 for none, 4, 6); the traffic class in bits 8 to 15; [`HAS_CLASS`], [`HAS_TIME`],
//!   [`SHARED`]
//! - word 1: the index of the interface, 0 for none
//! - words 2 to 5: the address, in network order
//! - words 6 and 7: nanoseconds since 1970, the low half first

#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a record.
pub const RECORD_BYTES: usize = 32;

/// A record, as bytes.
pub type Record = [u8; RECORD_BYTES];

/// The record has a traffic class.
pub const HAS_CLASS: u32 = 1 << 16;
/// The record has a time.
pub const HAS_TIME: u32 = 1 << 17;
/// The address is a group's or a broadcast address: no datagram may leave by it.
pub const SHARED: u32 = 1 << 18;

/// What is told of a datagram that came, or asked for one that is to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ancillary {
    /// The address that it was sent to, or its source.
    pub address: Option<IpAddr>,
    /// Whether that address is a group's or a broadcast address.
    pub is_shared: bool,
    /// The index of the interface that it came by, or is to leave by; 0 for none.
    pub interface: u32,
    /// The traffic class: six bits of DSCP, two of ECN.
    pub class: Option<u8>,
    /// When the kernel had it, in nanoseconds since 1970.
    pub time: Option<u64>,
}

impl Ancillary {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The source that a packet info names where one is asked for: the unspecified one of the protocol that the datagram leaves by,
    /// for an interface alone.
    pub fn source(&self, ipv6: bool) -> Option<IpAddr> {
        let unspecified: IpAddr = if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        self.address.or((self.interface != 0).then_some(unspecified))
    }

    /// Takes in the data of an IPV6_PKTINFO (RFC 3542, 6): an address, the index of the interface. A socket of both protocols has it
    /// told of IPv4 as well, whose own packet info goes before. What is cut short tells nothing.
    pub fn tell_packet_info_v6(&mut self, data: &[u8]) {
        let Some((address, rest)) = data.split_first_chunk::<16>() else { return };
        let Some(&interface) = rest.first_chunk() else { return };
        let address = Ipv6Addr::from(*address);
        self.interface = u32::from_ne_bytes(interface);
        if self.address.is_none() {
            self.tell_address(address.into());
        }
    }

    /// Takes in the address that a datagram came to. By itself it tells of one broadcast address alone.
    pub fn tell_address(&mut self, address: IpAddr) {
        let address = address.to_canonical();
        self.address = Some(address);
        self.is_shared = address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST);
    }

    /// What macOS can do of what is asked for a datagram of IPv4 that leaves by a socket of that address (`udp_output` of
    /// bsd/netinet/udp_usrreq.c): an interface goes before a source, which is not looked at then; and a packet info has the socket
    /// forget its own address and its peer, so that it hears what is sent to others. Hence a source goes without an interface, one
    /// that the socket is bound to is not asked for, and none is where the socket has another address, as each connected one has.
    pub fn for_macos(mut self, bound: IpAddr) -> Option<Self> {
        if self.address.is_some() {
            self.interface = 0;
            self.address = self.address.filter(|&source| source != bound);
        }
        (self.source(false).is_none() || bound.is_unspecified()).then_some(self)
    }

    /// What a record says; none where its family is not 0, 4 or 6.
    pub fn read(record: &Record) -> Option<Self> {
        let (words, _) = record.as_chunks::<4>();
        let word = |index: usize| u32::from_ne_bytes(words[index]);
        let flags = word(0);
        let address = match flags & 0xff {
            0 => None,
            4 => Some(Ipv4Addr::from(words[2]).into()),
            6 => {
                let mut octets = [0; 16];
                octets.copy_from_slice(&record[8..24]);
                Some(Ipv6Addr::from(octets).into())
            }
            _ => return None,
        };
        let time = u64::from(word(6)) | u64::from(word(7)) << 32;
        Some(Self {
            address,
            is_shared: flags & SHARED != 0,
            interface: word(1),
            class: (flags & HAS_CLASS != 0).then_some((flags >> 8) as u8),
            time: (flags & HAS_TIME != 0).then_some(time),
        })
    }

    /// A record that says it.
    pub fn write(&self) -> Record {
        let mut record = [0; RECORD_BYTES];
        let family = match self.address {
            None => 0,
            Some(IpAddr::V4(v4)) => {
                record[8..12].copy_from_slice(&v4.octets());
                4
            }
            Some(IpAddr::V6(v6)) => {
                record[8..24].copy_from_slice(&v6.octets());
                6
            }
        };
        let class = self.class.map_or(0, |class| u32::from(class) << 8 | HAS_CLASS);
        let time = if self.time.is_some() { HAS_TIME } else { 0 };
        let shared = if self.is_shared { SHARED } else { 0 };
        record[0..4].copy_from_slice(&(family | class | time | shared).to_ne_bytes());
        record[4..8].copy_from_slice(&self.interface.to_ne_bytes());
        let time = self.time.unwrap_or_default();
        record[24..28].copy_from_slice(&(time as u32).to_ne_bytes());
        record[28..32].copy_from_slice(&((time >> 32) as u32).to_ne_bytes());
        record
    }
}
