//! Records of what goes beside datagrams: written and read, shared where they are equal, refused where they are none.

use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wasi_udp_engine::ancillary::{Ancillary, RECORD_BYTES};
use wasi_udp_engine::table::{
    ADDRESSES_OFFSET, Batch, ENTRY_BYTES, Forged, RECORDS_OFFSET, ReceivedTable, SLOT_BYTES, TABLE_BYTES, write_slot,
};

fn any_ancillary() -> impl Strategy<Value = Ancillary> {
    let address = prop_oneof![
        Just(None),
        any::<u32>().prop_map(|bits| Some(IpAddr::V4(Ipv4Addr::from(bits)))),
        any::<u128>().prop_map(|bits| Some(IpAddr::V6(Ipv6Addr::from(bits)))),
    ];
    (address, any::<bool>(), any::<u32>(), any::<Option<u8>>(), any::<Option<u64>>()).prop_map(
        |(address, is_shared, interface, class, time)| Ancillary { address, is_shared, interface, class, time },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(ancillary in any_ancillary()) {
        prop_assert_eq!(Ancillary::read(&ancillary.write()), Some(ancillary));
        prop_assert_eq!(ancillary.is_empty(), ancillary.write() == [0; RECORD_BYTES]);
    }
}

const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);

fn class(class: u8) -> Ancillary {
    Ancillary { class: Some(class), ..Ancillary::default() }
}

#[test]
fn received_datagrams_share_a_slot_where_source_and_record_are_equal() {
    let mut table = vec![0; TABLE_BYTES];
    let mut received = ReceivedTable::new(&mut table, 8).expect("a table");
    for told in [None, None, Some(class(1)), Some(class(1)), Some(class(2)), None, Some(Ancillary::default())] {
        received.push(0, 1, HERE, told.as_ref());
    }
    assert_eq!(received.len(), 7);
    let index = |entry: usize| table[entry * ENTRY_BYTES + 8];
    assert_eq!([0, 1, 2, 3, 4, 5, 6].map(index), [0, 0, 1, 1, 2, 3, 4]);
    let record =
        |slot: usize| table[RECORDS_OFFSET + slot * RECORD_BYTES..][..RECORD_BYTES].try_into().expect("a record");
    assert_eq!(
        [1, 2, 4].map(record).map(|record| Ancillary::read(&record)),
        [Some(class(1)), Some(class(2)), Some(Ancillary::default())]
    );
}

/// A table of one datagram, with that slot and that record.
fn table_of(slot: [u8; SLOT_BYTES], record: [u8; RECORD_BYTES]) -> Vec<u8> {
    let mut table = vec![0; TABLE_BYTES];
    for (word, value) in table.as_chunks_mut::<4>().0.iter_mut().zip([0u32, 1, 0, 1]) {
        *word = value.to_ne_bytes();
    }
    table[ADDRESSES_OFFSET..][..SLOT_BYTES].copy_from_slice(&slot);
    table[RECORDS_OFFSET..][..RECORD_BYTES].copy_from_slice(&record);
    table
}

#[test]
fn a_record_counts_where_the_batch_has_records() {
    let table = table_of(write_slot(HERE), class(9).write());
    let plain = Batch::new(b"x", &table, 1, 1).expect("a table");
    assert_eq!((plain.destination(0), plain.ancillary(0)), (Some(HERE), None));
    let batch = Batch::with_records(b"x", &table, 1, 1).expect("a table");
    assert_eq!((batch.destination(0), batch.ancillary(0)), (Some(HERE), Some(class(9))));
    assert!(!batch.leaves_by_ipv6(0));
}

#[test]
fn a_slot_of_no_family_names_the_peer_where_the_batch_has_records() {
    let table = table_of([0; SLOT_BYTES], class(9).write());
    assert_eq!(Batch::new(b"x", &table, 1, 1).err(), Some(Forged::Address(0)));
    for ipv6 in [false, true] {
        let batch = Batch::with_records(b"x", &table, 1, 1).expect("a table").for_socket(true, ipv6);
        assert_eq!((batch.destination(0), batch.ancillary(0)), (None, Some(class(9))));
        assert_eq!(batch.leaves_by_ipv6(0), ipv6);
    }
}

#[test]
fn a_record_of_an_unknown_family_is_forged() {
    let mut record = class(9).write();
    record[0..4].copy_from_slice(&5u32.to_ne_bytes());
    let table = table_of(write_slot(HERE), record);
    assert!(Batch::new(b"x", &table, 1, 1).is_ok());
    let forged = Batch::with_records(b"x", &table, 1, 1).expect_err("a forged record");
    assert_eq!(forged, Forged::Record(0));
    assert_eq!(forged.to_string(), "record 0 of the table must have family 0, 4 or 6");
}

#[test]
fn on_macos_a_packet_info_leaves_the_socket_its_address_and_its_peer() {
    let [own, other, any]: [IpAddr; 3] =
        ["192.0.2.1", "192.0.2.2", "0.0.0.0"].map(|text| text.parse().expect("an address"));
    let asked = |address, interface| Ancillary { address, interface, class: Some(3), ..Ancillary::default() };
    for (given, bound, expected) in [
        (asked(None, 0), own, Some(asked(None, 0))),
        (asked(Some(own), 0), any, Some(asked(Some(own), 0))),
        (asked(Some(own), 7), any, Some(asked(Some(own), 0))),
        (asked(Some(own), 7), own, Some(asked(None, 0))),
        (asked(Some(other), 7), own, None),
        (asked(None, 7), own, None),
        (asked(None, 7), any, Some(asked(None, 7))),
    ] {
        assert_eq!(given.for_macos(bound), expected, "{given:?} of {bound}");
    }
}

#[test]
fn groups_and_broadcasts_are_known_by_their_addresses() {
    for (text, is_shared) in [
        ("192.0.2.1", false),
        ("224.0.0.251", true),
        ("255.255.255.255", true),
        ("2001:db8::1", false),
        ("ff02::fb", true),
        ("::ffff:192.0.2.1", false),
        ("::ffff:224.0.0.251", true),
    ] {
        let mut told = Ancillary::default();
        told.tell_address(text.parse().expect("an address"));
        assert_eq!(told.is_shared, is_shared, "{text}");
    }
}

#[test]
fn a_packet_info_of_ipv6_is_taken_whole_and_gives_way_to_one_of_ipv4() {
    let info = [Ipv6Addr::LOCALHOST.octets().as_slice(), &5u32.to_ne_bytes()].concat();
    for cut in 0..info.len() {
        let mut told = Ancillary::default();
        told.tell_packet_info_v6(&info[..cut]);
        assert!(told.is_empty());
    }
    let mut told = Ancillary::default();
    told.tell_packet_info_v6(&info);
    assert_eq!(told, Ancillary { address: Some(Ipv6Addr::LOCALHOST.into()), interface: 5, ..Ancillary::default() });
    let mut told = Ancillary { address: Some(Ipv4Addr::LOCALHOST.into()), ..Ancillary::default() };
    told.tell_packet_info_v6(&info);
    assert_eq!(told, Ancillary { address: Some(Ipv4Addr::LOCALHOST.into()), interface: 5, ..Ancillary::default() });
}
