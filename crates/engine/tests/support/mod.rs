//! Batches, sockets and namespaces for tests.

#![allow(dead_code, reason = "each test uses some of it")]

#[cfg(target_os = "linux")]
pub mod namespace;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::socket::{Buffers, Interest, Ready, UdpSocket, poll};
use wasi_udp_engine::table::{
    ADDRESSES_OFFSET, Batch, ENTRY_BYTES, MAX_DATAGRAMS, NO_ADDRESS, ReceivedTable, SLOT_BYTES, TABLE_BYTES, read_slot,
    write_slot,
};

/// A payload and its table.
#[derive(Clone)]
pub struct Owned {
    pub payload: Vec<u8>,
    pub table: Vec<u8>,
    pub entries: usize,
    pub addresses: usize,
}

impl Owned {
    /// The batch of these datagrams; those that are alike share an entry, neighbours of one destination a slot.
    pub fn new(datagrams: &[(Option<SocketAddr>, Vec<u8>)]) -> Self {
        Self::build(datagrams, true)
    }

    /// The same, with an entry for each datagram.
    pub fn apart(datagrams: &[(Option<SocketAddr>, Vec<u8>)]) -> Self {
        Self::build(datagrams, false)
    }

    fn build(datagrams: &[(Option<SocketAddr>, Vec<u8>)], shared: bool) -> Self {
        let mut owned = Self { payload: Vec::new(), table: vec![0; TABLE_BYTES], entries: 0, addresses: 0 };
        let mut last = None;
        let mut entry = [0; 4];
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
            let length = bytes.len() as u32;
            if shared && entry[1..3] == [length, index] && owned.entries > 0 {
                entry[3] += 1;
            } else {
                entry = [owned.payload.len() as u32, length, index, 1];
                owned.entries += 1;
            }
            owned.set_entry(owned.entries - 1, entry);
            owned.payload.extend_from_slice(bytes);
        }
        owned
    }

    /// Offset, length, address, count.
    pub fn set_entry(&mut self, index: usize, words: [u32; 4]) {
        let at = index * ENTRY_BYTES;
        self.table[at..at + ENTRY_BYTES].copy_from_slice(&words.map(u32::to_ne_bytes).concat());
    }

    pub fn set_slot(&mut self, index: usize, slot: [u8; SLOT_BYTES]) {
        let at = ADDRESSES_OFFSET + index * SLOT_BYTES;
        self.table[at..at + SLOT_BYTES].copy_from_slice(&slot);
    }

    pub fn batch(&self) -> Batch<'_> {
        Batch::new(&self.payload, &self.table, self.entries, self.addresses).expect("a sound table")
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

/// The loopback address of each family, with port 0.
pub const LOOPBACKS: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0)];

/// The unspecified address of the same family.
pub fn unspecified(address: SocketAddr) -> SocketAddr {
    let ip = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    SocketAddr::new(ip, address.port())
}

/// A socket bound to the address, and what it is bound to.
pub fn bound(address: SocketAddr) -> (UdpSocket, SocketAddr) {
    let mut socket = UdpSocket::open(address.is_ipv6()).expect("open");
    socket.bind(address).expect("bind");
    let address = socket.local_address().expect("an address");
    (socket, address)
}

/// A socket whose port refuses every datagram while it lives, and its address: it is connected to itself.
pub fn refusing(loopback: SocketAddr) -> (UdpSocket, SocketAddr) {
    let (mut socket, address) = bound(loopback);
    socket.connect(address).expect("connect");
    (socket, address)
}

/// Whether the socket is ready within the time.
pub fn ready(socket: &UdpSocket, readable: bool, writable: bool, timeout: Duration) -> bool {
    let mut interests = [Interest { socket, readable, writable, ready: Ready::default() }];
    poll(&mut interests, Some(timeout)).expect("poll") == 1
}

/// Far longer than anything on loopback takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// So many datagrams as they arrive, received at most `max` at a time; fewer only where they stay away.
pub fn receive(socket: &mut UdpSocket, count: usize, max: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let (mut buffers, mut payload) = (Buffers::default(), vec![0; 16 * 65_536]);
    let mut all = Vec::new();
    while all.len() < count && ready(socket, true, false, PATIENCE) {
        all.extend(received(&mut payload, max, |payload, table| {
            socket.receive(&mut buffers, payload, table).expect("receive")
        }));
    }
    all
}

/// Sends all of the batch to where its connection or its addresses say, waiting where the socket blocks.
pub fn send_all(socket: &mut UdpSocket, datagrams: &[(Option<SocketAddr>, Vec<u8>)]) -> Result<(), Errno> {
    let mut buffers = Buffers::default();
    let mut left = datagrams;
    while !left.is_empty() {
        let batch = Owned::new(&left[..left.len().min(MAX_DATAGRAMS)]);
        left = &left[socket.send(&mut buffers, &batch.batch())?..];
        assert!(left.is_empty() || ready(socket, false, true, PATIENCE), "the socket stays blocked");
    }
    Ok(())
}
