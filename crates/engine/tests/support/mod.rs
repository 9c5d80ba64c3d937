//! Batches for tests: a payload and a table from a list of datagrams.

#![allow(dead_code, reason = "each test uses some of it")]

use std::net::SocketAddr;
use wasi_udp_engine::table::{
    ADDRESSES_OFFSET, Batch, ENTRY_BYTES, MAX_DATAGRAMS, NO_ADDRESS, ReceivedTable, SLOT_BYTES, TABLE_BYTES, read_slot,
    write_slot,
};

/// A payload and its table.
pub struct Owned {
    pub payload: Vec<u8>,
    pub table: Vec<u8>,
    pub count: usize,
    pub addresses: usize,
}

impl Owned {
    /// The batch of these datagrams; equal neighbouring destinations share a slot.
    pub fn new(datagrams: &[(Option<SocketAddr>, Vec<u8>)]) -> Self {
        let mut owned = Self { payload: Vec::new(), table: vec![0; TABLE_BYTES], count: 0, addresses: 0 };
        let mut last = None;
        for (destination, bytes) in datagrams {
            let index = match destination {
                None => NO_ADDRESS,
                Some(address) => {
                    if last != Some(*address) {
                        owned.set_slot(owned.addresses, write_slot(*address));
                        owned.addresses += 1;
                        last = Some(*address);
                    }
                    owned.addresses as u32 - 1
                }
            };
            owned.set_entry(owned.count, [owned.payload.len() as u32, bytes.len() as u32, index]);
            owned.payload.extend_from_slice(bytes);
            owned.count += 1;
        }
        owned
    }

    pub fn set_entry(&mut self, index: usize, words: [u32; 3]) {
        let at = index * ENTRY_BYTES;
        self.table[at..at + ENTRY_BYTES].copy_from_slice(&words.map(u32::to_ne_bytes).concat());
    }

    pub fn set_slot(&mut self, index: usize, slot: [u8; SLOT_BYTES]) {
        let at = ADDRESSES_OFFSET + index * SLOT_BYTES;
        self.table[at..at + SLOT_BYTES].copy_from_slice(&slot);
    }

    pub fn batch(&self) -> Batch<'_> {
        Batch::new(&self.payload, &self.table, self.count, self.addresses).expect("a sound table")
    }
}

/// Receives into buffers of its own; the datagrams with their sources.
pub fn received(
    payload: &mut [u8],
    max: usize,
    receive: impl FnOnce(&mut [u8], &mut ReceivedTable<'_>),
) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut table = vec![0; TABLE_BYTES];
    let mut view = ReceivedTable::new(&mut table, max).expect("a table");
    receive(payload, &mut view);
    let count = view.len();
    assert!(count <= max.min(MAX_DATAGRAMS));
    (0..count)
        .map(|index| {
            let word = |at: usize| {
                let at = index * ENTRY_BYTES + at;
                u32::from_ne_bytes(table[at..at + 4].try_into().expect("four bytes")) as usize
            };
            let slot = ADDRESSES_OFFSET + word(8) * SLOT_BYTES;
            let slot = table[slot..slot + SLOT_BYTES].try_into().expect("a slot");
            (read_slot(slot).expect("an address"), payload[word(0)..word(0) + word(4)].to_vec())
        })
        .collect()
}
