//! A table of any content against a plain model: what `Batch::new` refuses and why; and of what passes, the datagrams, the
//! runs, the pieces.
//!
//! Input: flags (bit 0: the counts of entries and addresses are given, a short each; bit 1: the table is a byte short; bit 2: each
//! slot has a record, which holds the bytes of the slot behind it),
//! bytes of payload (a word, modulo 150,000), the largest segment (a short; 65,535 for any), which datagrams to group (two
//! shorts, modulo their number), then entries and slots, each after a byte that says which form it has.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use wasi_udp_engine::ancillary::Ancillary;
use wasi_udp_engine::runs::{MAX_RUN_BYTES, MAX_SEGMENTS, Run, group};
use wasi_udp_engine::table::{
    ADDRESSES_OFFSET, Batch, ENTRY_BYTES, Entry, Forged, MAX_DATAGRAMS, NO_ADDRESS, RECORDS_OFFSET, SLOT_BYTES, Slot,
    TABLE_BYTES, read_slot, write_slot,
};
use wasi_udp_fuzz::Input;

const MOST_PAYLOAD: usize = 150_000;

/// Bytes that tell where they lie.
static PAYLOAD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..MOST_PAYLOAD).map(|at| (at ^ (at >> 8).wrapping_mul(7) ^ (at >> 16).wrapping_mul(31)) as u8).collect()
});

/// A datagram of the model: the first byte in the payload, the byte behind its last, its address index.
#[derive(Clone, Copy)]
struct Datagram {
    start: usize,
    end: usize,
    address: u32,
}

impl Datagram {
    fn size(&self) -> usize {
        self.end - self.start
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let flags = input.byte();
    let claimed = (flags & 1 != 0).then(|| (input.short(), input.short()));
    let payload = &PAYLOAD[..input.word() as usize % MOST_PAYLOAD];
    let largest = match input.short() {
        0xffff => usize::MAX,
        largest => largest,
    };
    let (from, to) = (input.short(), input.short());
    let (entries, slots) = content(&mut input);
    let (used, addresses) = claimed.unwrap_or((entries.len(), slots.len()));

    let mut table = vec![0; TABLE_BYTES];
    for (bytes, Entry { offset, length, address, count }) in
        table[..ADDRESSES_OFFSET].chunks_exact_mut(ENTRY_BYTES).zip(&entries)
    {
        bytes.copy_from_slice(&[offset, length, address, count].map(|word| word.to_ne_bytes()).concat());
    }
    for (bytes, slot) in table[ADDRESSES_OFFSET..RECORDS_OFFSET].chunks_exact_mut(SLOT_BYTES).zip(&slots) {
        bytes.copy_from_slice(slot);
    }
    let has_records = flags & 4 != 0;
    for (bytes, slot) in table[RECORDS_OFFSET..].chunks_exact_mut(SLOT_BYTES).zip(slots.iter().skip(1)) {
        bytes.copy_from_slice(slot);
    }
    if flags & 2 != 0 {
        table.pop();
    }
    let entry =
        |index: usize| entries.get(index).copied().unwrap_or(Entry { offset: 0, length: 0, address: 0, count: 0 });
    let slot = |index: usize| slots.get(index).copied().unwrap_or_default();

    let make = if has_records { Batch::with_records } else { Batch::new };
    let batch = make(payload, &table, used, addresses);
    let expected = model(payload.len(), table.len(), used, addresses, entry, slot, has_records);
    let (batch, datagrams) = match (batch, expected) {
        (Ok(batch), Ok(datagrams)) => (batch, datagrams),
        (batch, expected) => {
            assert_eq!(batch.map(|batch| batch.len()), expected.map(|datagrams| datagrams.len()));
            return;
        }
    };
    assert_eq!((batch.len(), batch.is_empty()), (datagrams.len(), datagrams.is_empty()));
    assert!(batch.entries().eq((0..used).map(entry)));
    for index in (0..addresses).chain([addresses, NO_ADDRESS as usize]) {
        assert_eq!(batch.destination(index as u32), if index < addresses { model_address(&slot(index)) } else { None });
        let record =
            (has_records && index < addresses).then(|| slot(index + 1)).and_then(|record| model_record(&record));
        assert_eq!(batch.ancillary(index as u32), record.filter(|record| *record != Ancillary::default()));
    }
    let (from, to) = (from % (datagrams.len() + 1), to % (datagrams.len() + 1));
    let range = from.min(to)..from.max(to);
    check_places(&batch, &datagrams, range.clone());
    let mut runs = Vec::new();
    group(&batch, range.clone(), largest, &mut runs);
    check_runs(&batch, &datagrams, range.start, &runs, &model_runs(&datagrams[range], largest));
});

/// Entries and slots, by what the input says of each.
fn content(input: &mut Input<'_>) -> (Vec<Entry>, Vec<Slot>) {
    let (mut entries, mut slots): (Vec<Entry>, Vec<Slot>) = (Vec::new(), Vec::new());
    while input.has_more() && entries.len() <= MAX_DATAGRAMS && slots.len() <= MAX_DATAGRAMS {
        let last = entries.last().copied().unwrap_or(Entry { offset: 0, length: 0, address: NO_ADDRESS, count: 1 });
        let behind = last.end() as u32;
        match input.byte() % 8 {
            0 => entries.push(Entry {
                offset: input.word(),
                length: input.word(),
                address: input.word(),
                count: input.word(),
            }),
            // Behind the one before: another length, another address, the same once more, many of it.
            1 => entries.push(Entry { offset: behind, length: input.short() as u32, count: 1, ..last }),
            2 => entries.push(Entry { offset: behind, address: u32::from(input.byte()), ..last }),
            3 => entries.push(Entry { offset: behind, count: u32::from(input.byte()), ..last }),
            4 => {
                for time in 0..input.short() % MAX_DATAGRAMS {
                    let offset = behind.wrapping_add(last.length.wrapping_mul(time as u32));
                    entries.push(Entry { offset, count: 1, ..last });
                }
            }
            // Somewhere else.
            5 => entries.push(Entry { offset: input.short() as u32, count: u32::from(input.byte()), ..last }),
            6 => slots.push(input.bytes()),
            _ => slots.push(write_slot(SocketAddr::from((Ipv4Addr::from(input.bytes()), input.short() as u16)))),
        }
    }
    (entries, slots)
}

/// The datagrams of a table, or the first rule that it breaks, said once more in the plainest way.
fn model(
    payload: usize,
    table: usize,
    entries: usize,
    addresses: usize,
    entry: impl Fn(usize) -> Entry,
    slot: impl Fn(usize) -> Slot,
    has_records: bool,
) -> Result<Vec<Datagram>, Forged> {
    if table != TABLE_BYTES {
        return Err(Forged::TableSize(table));
    }
    if entries > MAX_DATAGRAMS || addresses > MAX_DATAGRAMS {
        return Err(Forged::Count(entries.max(addresses) as u64));
    }
    let mut total = 0u128;
    for index in 0..entries {
        let one = entry(index);
        if one.count == 0 {
            return Err(Forged::NoDatagram(index));
        }
        if u128::from(one.offset) + u128::from(one.length) * u128::from(one.count) > payload as u128 {
            return Err(Forged::OutOfPayload(index, one, payload));
        }
        if one.address != NO_ADDRESS && one.address as usize >= addresses {
            return Err(Forged::AddressIndex(index, one, addresses));
        }
        total += u128::from(one.count);
    }
    if total > MAX_DATAGRAMS as u128 {
        return Err(Forged::Count(total as u64));
    }
    let is_address = |slot: &Slot| model_address(slot).is_some() || has_records && slot[..4] == [0; 4];
    if let Some(index) = (0..addresses).find(|&index| !is_address(&slot(index))) {
        return Err(Forged::Address(index));
    }
    if let Some(index) = (0..addresses).find(|&index| has_records && model_record(&slot(index + 1)).is_none()) {
        return Err(Forged::Record(index));
    }
    let datagrams = (0..entries).map(entry).flat_map(|Entry { offset, length, address, count }| {
        (0..count as usize).map(move |index| {
            let start = offset as usize + index * length as usize;
            Datagram { start, end: start + length as usize, address }
        })
    });
    Ok(datagrams.collect())
}

/// The address in a slot, which says the same when it is written again, but for what IPv4 does not use.
fn model_address(slot: &Slot) -> Option<SocketAddr> {
    let word = |index: usize| u32::from_ne_bytes(slot[4 * index..][..4].try_into().expect("four bytes"));
    let bytes = match word(0) {
        4 => 12,
        6 => SLOT_BYTES,
        _ => return None,
    };
    if word(1) > 65_535 {
        return None;
    }
    let address = read_slot(slot).expect("a family and a port are all that an address needs");
    let written = write_slot(address);
    assert_eq!((&written[..bytes], address.port()), (&slot[..bytes], word(1) as u16));
    assert!(written[bytes..].iter().all(|&byte| byte == 0));
    Some(address)
}

/// What a record says, which says the same when it is written again.
fn model_record(record: &Slot) -> Option<Ancillary> {
    if ![0, 4, 6].contains(&record[if cfg!(target_endian = "little") { 0 } else { 3 }]) {
        assert_eq!(Ancillary::read(record), None);
        return None;
    }
    let said = Ancillary::read(record).expect("a family is all that a record needs");
    assert_eq!(Ancillary::read(&said.write()), Some(said));
    Some(said)
}

/// The rule of a run: each datagram joins the run before it or begins a new one.
fn model_runs(datagrams: &[Datagram], largest: usize) -> Vec<&[Datagram]> {
    let mut runs: Vec<&[Datagram]> = Vec::new();
    let mut first = 0;
    for next in 1..=datagrams.len() {
        let run = &datagrams[first..next];
        let segment = run[0].size();
        let joins = datagrams.get(next).is_some_and(|datagram| {
            run.iter().all(|member| member.size() == segment)
                && datagram.address == run[0].address
                && segment <= largest
                && (1..=segment).contains(&datagram.size())
                && run.len() < MAX_SEGMENTS
                && run.len() * segment + datagram.size() <= MAX_RUN_BYTES
        });
        if !joins {
            runs.push(run);
            first = next;
        }
    }
    runs
}

fn check_runs(batch: &Batch<'_>, datagrams: &[Datagram], mut first: usize, runs: &[Run], expected: &[&[Datagram]]) {
    assert_eq!(runs.len(), expected.len());
    for (run, members) in runs.iter().zip(expected) {
        assert_eq!(run.datagrams(), first..first + members.len());
        assert_eq!(run.is_segmented(), members.len() > 1);
        assert_eq!((run.segment as usize, run.address), (members[0].size(), members[0].address));
        assert_eq!(run.bytes as usize, members.iter().map(Datagram::size).sum::<usize>());
        let bytes = members.chunk_by(|one, next| one.end == next.start).map(|piece| {
            let [head, .., tail] = piece else { return &PAYLOAD[piece[0].start..piece[0].end] };
            &PAYLOAD[head.start..tail.end]
        });
        assert!(batch.pieces(run.place, run.count as usize).eq(bytes));
        first += members.len();
    }
    assert!(first <= datagrams.len());
}

/// Places are those of the datagrams, by whichever way they are reached; `alike` counts what is equal.
fn check_places(batch: &Batch<'_>, datagrams: &[Datagram], range: std::ops::Range<usize>) {
    let (first, second) = (range.start, range.end);
    let mut place = batch.place(first);
    assert_eq!(batch.entry(place).map(|entry| entry.address), datagrams.get(first).map(|datagram| datagram.address));
    let head = datagrams.get(first).map(|datagram| (datagram.size(), datagram.address));
    let alike = datagrams[first..].iter().take_while(|one| Some((one.size(), one.address)) == head).count();
    for most in [0, 1, second - first, usize::MAX] {
        assert_eq!(batch.alike(place, most), alike.min(most));
    }
    batch.advance(&mut place, second - first);
    assert_eq!(place, batch.place(second));
    assert_eq!(batch.entry(batch.place(datagrams.len() + first)), None);
}
