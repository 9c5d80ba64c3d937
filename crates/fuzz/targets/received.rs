//! What the kernel hands over, with the control messages of its own making: runs that it has coalesced, in tables and payloads
//! of every size. Whatever is sent over loopback arrives once, whole and in order, with its source.
//!
//! Input: the family, then steps: a byte that says which, and what it needs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};
use wasi_udp_engine::socket::{Buffers, UdpSocket};
use wasi_udp_engine::sys::MESSAGE_BYTES;
use wasi_udp_engine::table::{
    ADDRESSES_OFFSET, Batch, ENTRY_BYTES, NO_ADDRESS, ReceivedTable, SLOT_BYTES, TABLE_BYTES, read_slot, write_slot,
};
use wasi_udp_fuzz::Input;

/// Datagrams, and bytes, on their way at most: far less than the receiver's buffer takes, whatever a datagram costs there.
const MOST_DATAGRAMS: usize = 60;
const MOST_BYTES: usize = 60_000;
const MOST_MESSAGES: usize = 4;
/// Far longer than anything on loopback takes.
const PATIENCE: Duration = Duration::from_secs(8);

/// What outlives an input, as it does in a thread.
struct Kept {
    buffers: Buffers,
    payload: Vec<u8>,
    table: Vec<u8>,
}

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::new(Kept {
        buffers: Buffers::default(),
        payload: vec![0; MOST_MESSAGES * MESSAGE_BYTES],
        table: vec![0; TABLE_BYTES],
    });
}

struct Wire {
    receiver: UdpSocket,
    to: SocketAddr,
    senders: [UdpSocket; 2],
    sources: [SocketAddr; 2],
    /// Whether the receiver hears its first sender alone.
    connected: bool,
    /// Sent, and not received yet: who sent it, and its bytes.
    on_the_way: VecDeque<(SocketAddr, Vec<u8>)>,
    sent: usize,
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut wire = Wire::new(input.byte() & 1 != 0);
    KEPT.with_borrow_mut(|kept| {
        while input.has_more() {
            match input.byte() % 8 {
                0..=2 => {
                    let (size, count) = (input.short(), input.byte().into());
                    wire.send(kept, 0, size, count);
                }
                3 => {
                    let (size, count) = (input.short(), input.byte().into());
                    wire.send(kept, 1, size, count);
                }
                4 => {
                    let (room, messages) = (input.byte().into(), input.byte().into());
                    wire.receive(kept, room, messages);
                }
                5 => wire.coalesce(kept, input.byte() & 1 != 0),
                6 => wire.senders[0].set_segmentation(input.byte() & 1 != 0),
                _ => wire.reconnect(kept),
            }
        }
        wire.drain(kept);
    });
});

fn bound(ipv6: bool) -> (UdpSocket, SocketAddr) {
    let loopback = if ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let mut socket = UdpSocket::open(ipv6).expect("open");
    socket.bind(SocketAddr::new(loopback, 0)).expect("bind");
    let address = socket.local_address().expect("an address");
    (socket, address)
}

impl Wire {
    fn new(ipv6: bool) -> Self {
        let (receiver, to) = bound(ipv6);
        let [(one, first), (other, second)] = [bound(ipv6), bound(ipv6)];
        Self {
            receiver,
            to,
            senders: [one, other],
            sources: [first, second],
            connected: false,
            on_the_way: VecDeque::new(),
            sent: 0,
        }
    }

    /// Sends datagrams of one size, in one batch; of them the last is one byte shorter where there is one to spare.
    fn send(&mut self, kept: &mut Kept, sender: usize, size: usize, count: usize) {
        let bytes: usize = self.on_the_way.iter().map(|(_, bytes)| bytes.len()).sum();
        let size = size.min(MOST_BYTES - bytes);
        let fitting = (MOST_BYTES - bytes).checked_div(size).unwrap_or(MOST_DATAGRAMS);
        let count = count.min(fitting).min(MOST_DATAGRAMS - self.on_the_way.len());
        let mut payload = Vec::new();
        let mut table = vec![0; TABLE_BYTES];
        table[ADDRESSES_OFFSET..][..SLOT_BYTES].copy_from_slice(&write_slot(self.to));
        for index in 0..count {
            let size = if index > 0 && index + 1 == count { size.saturating_sub(1) } else { size };
            let datagram: Vec<u8> = (0..size).map(|at| (at ^ self.sent.wrapping_mul(37)) as u8).collect();
            let entry = [payload.len() as u32, size as u32, 0, 1].map(u32::to_ne_bytes).concat();
            table[index * ENTRY_BYTES..][..ENTRY_BYTES].copy_from_slice(&entry);
            payload.extend_from_slice(&datagram);
            self.sent += 1;
            // A connected receiver hears nobody else.
            if !(self.connected && sender == 1) {
                self.on_the_way.push_back((self.sources[sender], datagram));
            }
        }
        let batch = Batch::new(&payload, &table, count, 1).expect("a sound table");
        assert_eq!(self.senders[sender].send(&mut kept.buffers, &batch), Ok(count));
    }

    /// Receives at most `room` datagrams; how many.
    fn receive(&mut self, kept: &mut Kept, room: usize, messages: usize) -> usize {
        let messages = 1 + messages % MOST_MESSAGES;
        let Kept { buffers, payload, table } = kept;
        let payload = &mut payload[..messages * MESSAGE_BYTES];
        let mut received = ReceivedTable::new(table, room).expect("a table");
        self.receiver.receive(buffers, payload, &mut received).expect("receive");
        let count = received.len();
        assert!(count <= room);
        let mut ends: Vec<(usize, usize)> = Vec::new();
        for entry in table[..count * ENTRY_BYTES].chunks_exact(ENTRY_BYTES) {
            let word =
                |index: usize| u32::from_ne_bytes(entry[4 * index..][..4].try_into().expect("four bytes")) as usize;
            let (offset, length, address, alike) = (word(0), word(1), word(2), word(3));
            assert!(alike == 1 && address < count && address != NO_ADDRESS as usize);
            let slot = table[ADDRESSES_OFFSET + address * SLOT_BYTES..][..SLOT_BYTES].try_into().expect("a slot");
            let (source, bytes) = self.on_the_way.pop_front().expect("nothing comes that was not sent");
            assert_eq!(read_slot(slot), Some(source));
            assert_eq!(length, bytes.len());
            assert!(payload[offset..offset + length] == bytes, "bytes of another datagram");
            ends.push((offset, offset + length));
        }
        ends.sort_unstable();
        assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0), "datagrams that overlap");
        count
    }

    /// Has the receiver's kernel coalesce, or not. Where it stops, it tells no segment size of what it has coalesced before, so
    /// nothing must be on the way.
    fn coalesce(&mut self, kept: &mut Kept, on: bool) {
        if !on {
            self.drain(kept);
        }
        let _ = self.receiver.coalesce_receives(on);
    }

    /// Connects the receiver to its first sender, or dissolves that, with nothing on the way.
    fn reconnect(&mut self, kept: &mut Kept) {
        self.drain(kept);
        if self.connected {
            self.receiver.disconnect().expect("disconnect");
        } else {
            self.receiver.connect(self.sources[0]).expect("connect");
        }
        self.connected = !self.connected;
    }

    /// Receives all that is on the way, and then nothing.
    fn drain(&mut self, kept: &mut Kept) {
        let started = Instant::now();
        while !self.on_the_way.is_empty() {
            if self.receive(kept, 1024, MOST_MESSAGES - 1) == 0 {
                assert!(started.elapsed() < PATIENCE, "{} datagrams do not arrive", self.on_the_way.len());
                thread::yield_now();
            }
        }
        assert_eq!(self.receive(kept, 1024, 0), 0);
    }
}
