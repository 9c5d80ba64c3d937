//! The table that a receive fills: room, counts, and which datagrams share an address slot.

mod support;

use std::net::SocketAddr;
use wasi_udp_engine::table::{
    ADDRESSES_OFFSET, ENTRY_BYTES, MAX_DATAGRAMS, ReceivedTable, SLOT_BYTES, TABLE_BYTES, write_slot,
};

#[test]
fn it_has_room_for_as_many_as_are_asked_for_and_no_more_than_a_table_holds() {
    let source: SocketAddr = "127.0.0.1:9".parse().expect("an address");
    for max in [0, 1, 3, MAX_DATAGRAMS, MAX_DATAGRAMS + 1, usize::MAX] {
        let mut table = vec![0; TABLE_BYTES];
        let mut received = ReceivedTable::new(&mut table, max).expect("a table");
        let most = max.min(MAX_DATAGRAMS);
        for count in 0..most {
            assert_eq!((received.len(), received.room(), received.is_empty()), (count, most - count, count == 0));
            received.push(count, 1, source, None);
        }
        assert_eq!((received.len(), received.room(), received.is_empty()), (most, 0, most == 0));
    }
    for size in [0, TABLE_BYTES - 1, TABLE_BYTES + 1] {
        assert!(ReceivedTable::new(&mut vec![0; size], 1).is_err(), "{size} bytes");
    }
}

#[test]
fn datagrams_of_one_source_in_a_row_share_a_slot() {
    let sources: [SocketAddr; 2] = ["127.0.0.1:9", "[fe80::1%3]:9"].map(|text| text.parse().expect("an address"));
    let order = [0, 0, 1, 1, 1, 0, 1];
    let mut table = vec![0; TABLE_BYTES];
    let mut received = ReceivedTable::new(&mut table, order.len()).expect("a table");
    for (index, &source) in order.iter().enumerate() {
        received.push(10 * index, index, sources[source], None);
    }
    let slots = [0, 0, 1, 1, 1, 2, 3];
    for (index, (&source, &slot)) in order.iter().zip(&slots).enumerate() {
        let entry = [10 * index, index, slot, 1].map(|word| (word as u32).to_ne_bytes()).concat();
        assert_eq!(table[index * ENTRY_BYTES..][..ENTRY_BYTES], entry);
        assert_eq!(table[ADDRESSES_OFFSET + slot * SLOT_BYTES..][..SLOT_BYTES], write_slot(sources[source]));
    }
}
