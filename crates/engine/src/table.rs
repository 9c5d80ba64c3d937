//! The layout of a batch's table, the same numbers as in `ts/native/layout.ts`, and the check that every table passes.
//!
//! Numbers are in native byte order; nothing is assumed about alignment.

#![forbid(unsafe_code)]

use crate::ancillary::{Ancillary, RECORD_BYTES, Record};
use crate::options::{mapped, unmapped};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Raised whenever a number below changes; compared when the JavaScript half loads the binary.
pub const LAYOUT_VERSION: u32 = 3;
/// Datagrams in one table: the kernel's own limit of messages a call (`UIO_MAXIOV`).
pub const MAX_DATAGRAMS: usize = 1024;
/// Bytes of an entry: offset, length, address index and count, a `u32` each.
pub const ENTRY_BYTES: usize = 16;
/// Where the address slots begin.
pub const ADDRESSES_OFFSET: usize = MAX_DATAGRAMS * ENTRY_BYTES;
/// Bytes of an address slot: family, port, 16 bytes of address, flow info, scope id.
pub const SLOT_BYTES: usize = 32;
/// Where the ancillary records begin, one for each address slot.
pub const RECORDS_OFFSET: usize = ADDRESSES_OFFSET + MAX_DATAGRAMS * SLOT_BYTES;
/// Bytes of the whole table.
pub const TABLE_BYTES: usize = RECORDS_OFFSET + MAX_DATAGRAMS * RECORD_BYTES;
/// The address index of a datagram that names no address: its socket is connected.
pub const NO_ADDRESS: u32 = u32::MAX;

/// Datagrams that are alike: where they lie in the payload, and the slot of their address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First byte in the payload.
    pub offset: u32,
    /// Bytes of each datagram.
    pub length: u32,
    /// Index of the address slot, or [`NO_ADDRESS`].
    pub address: u32,
    /// Datagrams, one behind the other.
    pub count: u32,
}

impl Entry {
    /// The byte behind its last. A payload may be larger than 4 GiB.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length) * u64::from(self.count)
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
    /// One for each slot; none where nothing goes beside the datagrams.
    records: &'a [Record],
    datagrams: usize,
    /// Whether destinations of IPv4 are named as an IPv6 socket names them.
    mapped: bool,
    /// Whether datagrams that name no destination leave by IPv6.
    peer_is_ipv6: bool,
}

/// A datagram of a batch: its entry, and how many of the entry's come before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    entry: u32,
    skipped: u32,
}

/// A table that contradicts itself: the rule that it breaks, and what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forged {
    /// The table has another size than [`TABLE_BYTES`].
    TableSize(usize),
    /// More entries, addresses or datagrams than a table holds.
    Count(u64),
    /// This entry has no datagram.
    NoDatagram(usize),
    /// This entry ends behind the payload, which has so many bytes.
    OutOfPayload(usize, Entry, usize),
    /// This entry names an address slot, of which the table has so many.
    AddressIndex(usize, Entry, usize),
    /// This slot's family is neither 4 nor 6, or its port exceeds 65,535.
    Address(usize),
    /// This record's family is neither 0, 4 nor 6.
    Record(usize),
}

impl fmt::Display for Forged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TableSize(size) => write!(f, "a table has {TABLE_BYTES} bytes, got {size}"),
            Self::Count(count) => {
                write!(f, "a table holds at most {MAX_DATAGRAMS} entries, addresses and datagrams, got {count}")
            }
            Self::NoDatagram(index) => write!(f, "entry {index} of the table must have a datagram or more, got 0"),
            Self::OutOfPayload(index, Entry { offset, length, count, .. }, payload) => write!(
                f,
                "entry {index} of the table must lie in the payload of {payload} bytes, got offset {offset}, {count} of length {length}"
            ),
            Self::AddressIndex(index, entry, addresses) => write!(
                f,
                "entry {index} of the table must name one of its {addresses} addresses or {NO_ADDRESS} for none, got {}",
                entry.address
            ),
            Self::Address(slot) => {
                write!(f, "address {slot} of the table must have family 4 or 6 and a port up to 65535")
            }
            Self::Record(record) => write!(f, "record {record} of the table must have family 0, 4 or 6"),
        }
    }
}

impl std::error::Error for Forged {}

impl<'a> Batch<'a> {
    /// Checks the first `entries` and the first `addresses` slots of a table against the payload.
    pub fn new(payload: &'a [u8], table: &'a [u8], entries: usize, addresses: usize) -> Result<Self, Forged> {
        Self::checked(payload, table, entries, addresses, 0)
    }

    /// As `new`, with the record of each slot. A slot of family 0 is that of datagrams that name no address, but have a record.
    pub fn with_records(payload: &'a [u8], table: &'a [u8], entries: usize, addresses: usize) -> Result<Self, Forged> {
        Self::checked(payload, table, entries, addresses, addresses)
    }

    fn checked(
        payload: &'a [u8],
        table: &'a [u8],
        entries: usize,
        addresses: usize,
        records: usize,
    ) -> Result<Self, Forged> {
        if table.len() != TABLE_BYTES {
            return Err(Forged::TableSize(table.len()));
        }
        let most = entries.max(addresses);
        if most > MAX_DATAGRAMS {
            return Err(Forged::Count(most as u64));
        }
        let (rest, all_records) = table.split_at(RECORDS_OFFSET);
        let (all_entries, all_slots) = rest.split_at(ADDRESSES_OFFSET);
        let entries = &all_entries.as_chunks().0[..entries];
        let slots = &all_slots.as_chunks().0[..addresses];
        let records = &all_records.as_chunks().0[..records];
        let mut datagrams = 0;
        for (index, entry) in entries.iter().map(read_entry).enumerate() {
            if entry.count == 0 {
                return Err(Forged::NoDatagram(index));
            }
            if entry.end() > payload.len() as u64 {
                return Err(Forged::OutOfPayload(index, entry, payload.len()));
            }
            if !entry.names_one_of(addresses as u32) {
                return Err(Forged::AddressIndex(index, entry, addresses));
            }
            datagrams += u64::from(entry.count);
        }
        if datagrams > MAX_DATAGRAMS as u64 {
            return Err(Forged::Count(datagrams));
        }
        let is_address = |slot: &Slot| read_slot(slot).is_some() || !records.is_empty() && slot[..4] == [0; 4];
        if let Some(slot) = slots.iter().position(|slot| !is_address(slot)) {
            return Err(Forged::Address(slot));
        }
        match records.iter().position(|record| Ancillary::read(record).is_none()) {
            Some(record) => Err(Forged::Record(record)),
            None => {
                let datagrams = datagrams as usize;
                Ok(Self { payload, entries, slots, records, datagrams, mapped: false, peer_is_ipv6: false })
            }
        }
    }

    /// The batch for a socket: whether it is one of IPv6 that speaks IPv4 as well, and whether its peer is of IPv6.
    pub fn for_socket(self, mapped: bool, peer_is_ipv6: bool) -> Self {
        Self { mapped, peer_is_ipv6, ..self }
    }

    /// Datagrams in the batch.
    pub fn len(&self) -> usize {
        self.datagrams
    }

    /// Whether there is no datagram.
    pub fn is_empty(&self) -> bool {
        self.datagrams == 0
    }

    /// The entries in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry> + '_ {
        self.entries.iter().map(read_entry)
    }

    /// The place of the datagram of that index; behind the last one's for all from there on.
    pub fn place(&self, index: usize) -> Place {
        let mut place = Place { entry: 0, skipped: 0 };
        self.advance(&mut place, index);
        place
    }

    /// Moves a place on by so many datagrams.
    pub fn advance(&self, place: &mut Place, datagrams: usize) {
        let mut left = datagrams;
        while left > 0
            && let Some(entry) = self.entry(*place)
        {
            let here = (entry.count - place.skipped) as usize;
            if left < here {
                place.skipped += left as u32;
                return;
            }
            left -= here;
            *place = Place { entry: place.entry + 1, skipped: 0 };
        }
    }

    /// The entry of a datagram; none behind the last.
    pub fn entry(&self, place: Place) -> Option<Entry> {
        self.entries.get(place.entry as usize).map(read_entry)
    }

    /// How many datagrams from a place on, at most `max`, have the length and the address of the one there.
    pub fn alike(&self, place: Place, max: usize) -> usize {
        let Some(head) = self.entry(place) else { return 0 };
        let mut count = (head.count - place.skipped) as usize;
        let mut next = place.entry as usize + 1;
        while count < max
            && let Some(entry) = self.entries.get(next).map(read_entry)
            && (entry.length, entry.address) == (head.length, head.address)
        {
            count += entry.count as usize;
            next += 1;
        }
        count.min(max)
    }

    /// The bytes of so many datagrams from a place on, in pieces, each of those that lie one behind the other.
    pub fn pieces(&self, place: Place, datagrams: usize) -> Pieces<'a> {
        Pieces { batch: *self, place, left: datagrams }
    }

    /// The destination that an address index names; none where the socket's connection names it.
    pub fn destination(&self, address: u32) -> Option<SocketAddr> {
        let destination = self.slots.get(address as usize).and_then(read_slot)?;
        Some(if self.mapped { mapped(destination) } else { destination })
    }

    /// Whether the datagrams of an address index leave by IPv6.
    pub fn leaves_by_ipv6(&self, address: u32) -> bool {
        self.slots.get(address as usize).and_then(read_slot).map_or(self.peer_is_ipv6, |slot| slot.is_ipv6())
    }

    /// What goes beside the datagrams of an address index, where something does.
    #[inline]
    pub fn ancillary(&self, address: u32) -> Option<Ancillary> {
        let ancillary = self.records.get(address as usize).and_then(Ancillary::read)?;
        (!ancillary.is_empty()).then_some(ancillary)
    }
}

/// See [`Batch::pieces`].
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    batch: Batch<'a>,
    place: Place,
    left: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut piece: Option<(usize, usize)> = None;
        while self.left > 0
            && let Some(entry) = self.batch.entry(self.place)
        {
            let start = entry.offset as usize + self.place.skipped as usize * entry.length as usize;
            if piece.is_some_and(|(_, end)| end != start) {
                break;
            }
            let count = self.left.min((entry.count - self.place.skipped) as usize);
            let first = piece.map_or(start, |(first, _)| first);
            piece = Some((first, start + count * entry.length as usize));
            self.left -= count;
            self.batch.advance(&mut self.place, count);
        }
        piece.map(|(start, end)| &self.batch.payload[start..end])
    }
}

/// The table that a receive fills.
pub struct ReceivedTable<'a> {
    entries: &'a mut [[u8; ENTRY_BYTES]],
    slots: &'a mut [Slot],
    records: &'a mut [Record],
    count: usize,
    addresses: usize,
    last: Option<SocketAddr>,
    /// What the record of the last slot says, where it has one.
    last_ancillary: Option<Ancillary>,
}

impl<'a> ReceivedTable<'a> {
    /// An empty table for at most `max` datagrams.
    pub fn new(table: &'a mut [u8], max: usize) -> Result<Self, Forged> {
        if table.len() != TABLE_BYTES {
            return Err(Forged::TableSize(table.len()));
        }
        let (rest, records) = table.split_at_mut(RECORDS_OFFSET);
        let (entries, slots) = rest.split_at_mut(ADDRESSES_OFFSET);
        let (entries, slots, records) = (entries.as_chunks_mut().0, slots.as_chunks_mut().0, records.as_chunks_mut().0);
        let entries = &mut entries[..max.min(MAX_DATAGRAMS)];
        Ok(Self { entries, slots, records, count: 0, addresses: 0, last: None, last_ancillary: None })
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

    /// Writes the entry of a datagram. The caller has seen to the room.
    #[inline]
    pub fn push(&mut self, offset: usize, length: usize, source: SocketAddr, ancillary: Option<&Ancillary>) {
        self.push_all(offset, length, length, source, ancillary);
    }

    /// Writes the entries of the first datagrams of a message, each of `segment` bytes but the last, as many as there is room for;
    /// how many. Datagrams of one source, and of one record, in a row share a slot. An IPv4 source that an IPv6 socket names is
    /// told as what it is.
    #[inline]
    pub fn push_all(
        &mut self,
        offset: usize,
        length: usize,
        segment: usize,
        source: SocketAddr,
        ancillary: Option<&Ancillary>,
    ) -> usize {
        let count = datagrams(length, segment).min(self.room());
        if count == 0 {
            return 0;
        }
        if self.last != Some(source) || ancillary != self.last_ancillary.as_ref() {
            self.slots[self.addresses] = write_slot(unmapped(source));
            if let Some(ancillary) = ancillary {
                self.records[self.addresses] = ancillary.write();
            }
            self.addresses += 1;
            self.last = Some(source);
            self.last_ancillary = ancillary.copied();
        }
        let address = (self.addresses - 1) as u32;
        let (mut start, end) = (offset, offset + length);
        for entry in &mut self.entries[self.count..self.count + count] {
            let size = segment.min(end - start);
            *entry = write_entry(Entry { offset: start as u32, length: size as u32, address, count: 1 });
            start += size;
        }
        self.count += count;
        count
    }
}

/// The datagrams of a message of so many bytes, each of `segment` bytes but the last. One of no bytes is a datagram as well.
pub fn datagrams(length: usize, segment: usize) -> usize {
    length.div_ceil(segment.max(1)).max(1)
}

fn write_entry(Entry { offset, length, address, count }: Entry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    for (word, value) in bytes.as_chunks_mut().0.iter_mut().zip([offset, length, address, count]) {
        *word = value.to_ne_bytes();
    }
    bytes
}

fn read_entry(bytes: &[u8; ENTRY_BYTES]) -> Entry {
    let (words, _) = bytes.as_chunks::<4>();
    let [offset, length, address, count] = [words[0], words[1], words[2], words[3]].map(u32::from_ne_bytes);
    Entry { offset, length, address, count }
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
