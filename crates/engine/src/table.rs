//! The layout of a batch's table, the same numbers as in `ts/layout.ts`, and the check that every table passes.
//!
//! Numbers are in native byte order; nothing is assumed about alignment.

#![forbid(unsafe_code)]

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Raised whenever a number below changes; compared when the JavaScript half loads the binary.
pub const LAYOUT_VERSION: u32 = 1;
/// Datagrams in one table: the kernel's own limit of messages a call (`UIO_MAXIOV`).
pub const MAX_DATAGRAMS: usize = 1024;
/// Bytes of an entry: offset, length and address index, a `u32` each.
pub const ENTRY_BYTES: usize = 12;
/// Where the address slots begin.
pub const ADDRESSES_OFFSET: usize = MAX_DATAGRAMS * ENTRY_BYTES;
/// Bytes of an address slot: family, port, 16 bytes of address, flow info, scope id.
pub const SLOT_BYTES: usize = 32;
/// Bytes of the whole table.
pub const TABLE_BYTES: usize = ADDRESSES_OFFSET + MAX_DATAGRAMS * SLOT_BYTES;
/// The address index of a datagram that names no address: its socket is connected.
pub const NO_ADDRESS: u32 = u32::MAX;

/// Where one datagram lies in the payload, and the slot of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First byte in the payload.
    pub offset: u32,
    /// Bytes of the datagram.
    pub length: u32,
    /// Index of the address slot, or [`NO_ADDRESS`].
    pub address: u32,
}

impl Entry {
    /// The byte behind its last. A payload may be larger than 4 GiB.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }

    /// Whether it names an address slot of so many, or none.
    fn names_one_of(&self, addresses: u32) -> bool {
        self.address.wrapping_sub(NO_ADDRESS) <= addresses
    }
}

/// An address slot, as bytes.
pub type Slot = [u8; SLOT_BYTES];

/// A checked batch: every entry lies inside the payload, every index inside the addresses, every address is one.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    payload: &'a [u8],
    entries: &'a [[u8; ENTRY_BYTES]],
    slots: &'a [Slot],
}

/// A table that contradicts itself: the rule that it breaks, and what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// The table has another size than [`TABLE_BYTES`].
    TableSize(usize),
    /// More datagrams or addresses than a table holds.
    Count(usize),
    /// This entry ends behind the payload, which has so many bytes.
    OutOfPayload(usize, Entry, usize),
    /// This entry names an address slot, of which the table has so many.
    AddressIndex(usize, Entry, usize),
    /// This slot's family is neither 4 nor 6, or its port exceeds 65,535.
    Address(usize),
}

impl fmt::Display for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TableSize(size) => write!(f, "a table has {TABLE_BYTES} bytes, got {size}"),
            Self::Count(count) => {
                write!(f, "a table holds at most {MAX_DATAGRAMS} datagrams and addresses, got {count}")
            }
            Self::OutOfPayload(index, Entry { offset, length, .. }, payload) => write!(
                f,
                "entry {index} of the table must lie in the payload of {payload} bytes, got offset {offset}, length {length}"
            ),
            Self::AddressIndex(index, entry, addresses) => write!(
                f,
                "entry {index} of the table must name one of its {addresses} addresses or {NO_ADDRESS} for none, got {}",
                entry.address
            ),
            Self::Address(slot) => {
                write!(f, "address {slot} of the table must have family 4 or 6 and a port up to 65535")
            }
        }
    }
}

impl std::error::Error for Forged {}

impl<'a> Batch<'a> {
    /// Checks the first `count` entries and the first `addresses` slots of a table against the payload.
    pub fn new(payload: &'a [u8], table: &'a [u8], count: usize, addresses: usize) -> Result<Self, Forged> {
        if table.len() != TABLE_BYTES {
            return Err(Forged::TableSize(table.len()));
        }
        if count.max(addresses) > MAX_DATAGRAMS {
            return Err(Forged::Count(count.max(addresses)));
        }
        let (entries, slots) = table.split_at(ADDRESSES_OFFSET);
        let batch =
            Self { payload, entries: &entries.as_chunks().0[..count], slots: &slots.as_chunks().0[..addresses] };
        // All of them at once, without a branch an entry.
        let (bytes, addresses) = (payload.len() as u64, addresses as u32);
        if !batch.entries().fold(true, |sound, entry| sound & (entry.end() <= bytes) & entry.names_one_of(addresses)) {
            return Err(batch.forged());
        }
        match batch.slots.iter().position(|slot| read_slot(slot).is_none()) {
            Some(slot) => Err(Forged::Address(slot)),
            None => Ok(batch),
        }
    }

    /// What is wrong with the first entry that is not sound.
    #[cold]
    fn forged(&self) -> Forged {
        let (bytes, addresses) = (self.payload.len(), self.slots.len());
        let found = self.entries().enumerate().find_map(|(index, entry)| {
            if entry.end() > bytes as u64 {
                Some(Forged::OutOfPayload(index, entry, bytes))
            } else if !entry.names_one_of(addresses as u32) {
                Some(Forged::AddressIndex(index, entry, addresses))
            } else {
                None
            }
        });
        found.expect("one is not")
    }

    /// Datagrams in the batch.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no datagram.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a datagram. Panics past the end, as slices do.
    pub fn entry(&self, index: usize) -> Entry {
        read_entry(&self.entries[index])
    }

    /// How many datagrams from `first` on, at most `max`, have the length and the address index of the one at `first`, and
    /// whether each of them lies right behind the one before it.
    pub fn alike(&self, first: usize, max: usize) -> (usize, bool) {
        let entries = &self.entries[first..];
        // Length and address index are the bytes behind the offset.
        let alike = |entry: &[u8; ENTRY_BYTES]| entry[4..] == entries[0][4..];
        let count = entries.iter().take(max).take_while(|entry| alike(entry)).count();
        let head = self.entry(first);
        let lie_in_a_row = entries[..count].iter().zip(0..).fold(true, |adjacent, (entry, index)| {
            adjacent & (u64::from(read_entry(entry).offset) == u64::from(head.offset) + index * u64::from(head.length))
        });
        (count, lie_in_a_row)
    }

    /// The entries in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry> + '_ {
        self.entries.iter().map(read_entry)
    }

    /// The bytes of a datagram.
    pub fn bytes(&self, entry: Entry) -> &'a [u8] {
        &self.payload[entry.offset as usize..][..entry.length as usize]
    }

    /// The destination of a datagram; none where the socket's connection names it.
    pub fn destination(&self, entry: Entry) -> Option<SocketAddr> {
        self.slots.get(entry.address as usize).and_then(read_slot)
    }
}

/// The table that a receive fills.
pub struct ReceivedTable<'a> {
    entries: &'a mut [[u8; ENTRY_BYTES]],
    slots: &'a mut [Slot],
    count: usize,
    addresses: usize,
    last: Option<SocketAddr>,
}

impl<'a> ReceivedTable<'a> {
    /// An empty table for at most `max` datagrams.
    pub fn new(table: &'a mut [u8], max: usize) -> Result<Self, Forged> {
        if table.len() != TABLE_BYTES {
            return Err(Forged::TableSize(table.len()));
        }
        let (entries, slots) = table.split_at_mut(ADDRESSES_OFFSET);
        let entries = entries.as_chunks_mut().0;
        let max = max.min(entries.len());
        Ok(Self { entries: &mut entries[..max], slots: slots.as_chunks_mut().0, count: 0, addresses: 0, last: None })
    }

    /// Datagrams written.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no datagram yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Datagrams that it has room for.
    pub fn room(&self) -> usize {
        self.entries.len() - self.count
    }

    /// Writes an entry; datagrams of one source in a row share a slot. The caller has seen to the room.
    pub fn push(&mut self, offset: usize, length: usize, source: SocketAddr) {
        if self.last != Some(source) {
            self.slots[self.addresses] = write_slot(source);
            self.addresses += 1;
            self.last = Some(source);
        }
        let entry = &mut self.entries[self.count];
        for (word, value) in entry.as_chunks_mut().0.iter_mut().zip([offset, length, self.addresses - 1]) {
            *word = (value as u32).to_ne_bytes();
        }
        self.count += 1;
    }
}

fn read_entry(bytes: &[u8; ENTRY_BYTES]) -> Entry {
    let (words, _) = bytes.as_chunks::<4>();
    let [offset, length, address] = [words[0], words[1], words[2]].map(u32::from_ne_bytes);
    Entry { offset, length, address }
}

/// The address in a slot; none where the family is neither 4 nor 6 or the port exceeds 65,535.
pub fn read_slot(slot: &Slot) -> Option<SocketAddr> {
    let (words, _) = slot.as_chunks::<4>();
    let word = |index: usize| u32::from_ne_bytes(words[index]);
    let port = u16::try_from(word(1)).ok()?;
    match word(0) {
        4 => Some(SocketAddrV4::new(Ipv4Addr::from(words[2]), port).into()),
        6 => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&slot[8..24]);
            Some(SocketAddrV6::new(Ipv6Addr::from(octets), port, word(6), word(7)).into())
        }
        _ => None,
    }
}

/// A slot that holds the address.
pub fn write_slot(address: SocketAddr) -> Slot {
    let mut slot = [0; SLOT_BYTES];
    slot[4..8].copy_from_slice(&u32::from(address.port()).to_ne_bytes());
    match address {
        SocketAddr::V4(v4) => {
            slot[0..4].copy_from_slice(&4u32.to_ne_bytes());
            slot[8..12].copy_from_slice(&v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            slot[0..4].copy_from_slice(&6u32.to_ne_bytes());
            slot[8..24].copy_from_slice(&v6.ip().octets());
            slot[24..28].copy_from_slice(&v6.flowinfo().to_ne_bytes());
            slot[28..32].copy_from_slice(&v6.scope_id().to_ne_bytes());
        }
    }
    slot
}
