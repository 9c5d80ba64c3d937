//! Coalescing against a plain model, and tables that contradict themselves.

mod support;

use proptest::prelude::*;
use support::Owned;
use wasi_udp_engine::runs::{MAX_RUN_BYTES, MAX_SEGMENTS, Run, group};
use wasi_udp_engine::table::{Batch, ENTRY_BYTES, MAX_DATAGRAMS, NO_ADDRESS, TABLE_BYTES};

/// The rule of a run, said once more in the plainest way: each datagram joins the run before it or begins a new one.
fn model(sizes: &[(u32, u32)], largest_segment: u32) -> Vec<Vec<usize>> {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for (index, &(address, size)) in sizes.iter().enumerate() {
        let joins = runs.last().is_some_and(|run: &Vec<usize>| {
            let segment = sizes[run[0]].1;
            let all_equal = run.iter().all(|&member| sizes[member].1 == segment);
            let bytes: u32 = run.iter().map(|&member| sizes[member].1).sum();
            sizes[run[0]].0 == address
                && all_equal
                && segment <= largest_segment
                && (1..=segment).contains(&size)
                && run.len() < MAX_SEGMENTS
                && (bytes + size) as usize <= MAX_RUN_BYTES
        });
        match runs.last_mut() {
            Some(run) if joins => run.push(index),
            _ => runs.push(vec![index]),
        }
    }
    runs
}

/// Groups a batch. Each datagram lies right behind the one before it, but for those of `apart`, a bit each. Those that are
/// alike share an entry, but where the bit of `split` is set.
fn with_runs<T>(
    sizes: &[(u32, u32)],
    largest_segment: usize,
    [apart, split]: [u64; 2],
    table: &mut [u8],
    payload: &[u8],
    check: impl FnOnce(&Batch<'_>, &[Run]) -> T,
) -> T {
    let mut end = 0;
    let mut entries = 0;
    let mut entry = [0; 4];
    for (index, &(address, size)) in sizes.iter().enumerate() {
        let offset = end + bit(apart, index) as u32;
        let address = if address == 0 { NO_ADDRESS } else { address - 1 };
        if entries > 0 && offset == end && entry[1..3] == [size, address] && !bit(split, index) {
            entry[3] += 1;
        } else {
            entry = [offset, size, address, 1];
            entries += 1;
        }
        let words = table.as_chunks_mut::<ENTRY_BYTES>().0[entries - 1].as_chunks_mut().0;
        for (word, value) in words.iter_mut().zip(entry) {
            *word = value.to_ne_bytes();
        }
        end = offset + size;
    }
    let batch = Batch::new(payload, table, entries, 4).expect("a sound table");
    assert_eq!(batch.len(), sizes.len());
    let mut runs = Vec::new();
    group(&batch, 0..batch.len(), largest_segment, &mut runs);
    check(&batch, &runs)
}

fn bit(bits: u64, index: usize) -> bool {
    bits >> (index % 64) & 1 == 1
}

/// A table with four good addresses.
fn table() -> Vec<u8> {
    let address = "127.0.0.1:9".parse().expect("an address");
    let other = "127.0.0.1:10".parse().expect("an address");
    Owned::new(&[(Some(address), vec![]), (Some(other), vec![]), (Some(address), vec![]), (Some(other), vec![])]).table
}

fn agrees(batch: &Batch<'_>, runs: &[Run], sizes: &[(u32, u32)], largest_segment: usize, apart: u64) -> bool {
    let model = model(sizes, u32::try_from(largest_segment).unwrap_or(u32::MAX));
    runs.len() == model.len()
        && runs.iter().zip(&model).all(|(run, members)| {
            let mut pieces = batch.pieces(run.place, run.count as usize);
            run.datagrams().eq(members.iter().copied())
                && run.segment == sizes[members[0]].1
                && run.bytes == members.iter().map(|&member| sizes[member].1).sum::<u32>()
                // Pieces end where datagrams lie apart, and nowhere else.
                && members.chunk_by(|_, &member| !bit(apart, member)).all(|piece| {
                    let bytes = piece.iter().map(|&member| sizes[member].1 as usize).sum::<usize>();
                    pieces.next().is_some_and(|piece| piece.len() == bytes)
                })
                && pieces.next().is_none()
        })
}

#[test]
fn ten_million_random_batches_agree_with_the_model() {
    let (mut table, payload) = (table(), vec![0; 140 * 65_508]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let choices = [0, 1, 64, 64, 64, 64, 63, 1000, 1023, 1024, 32_753, 32_754, 65_507];
    for _ in 0..10_000_000 {
        let count = if random(100) == 0 { 140 } else { random(7) } as usize;
        let mut sizes = [(0, 0); 140];
        // Neighbours are often equal, so that runs come about.
        let mut last = (random(3) as u32, 64);
        for slot in &mut sizes[..count] {
            if random(if count > 7 { 40 } else { 4 }) == 0 {
                last = (random(4) as u32, choices[random(choices.len() as u64) as usize]);
            }
            *slot = last;
        }
        let largest_segment = [usize::MAX, 1023, 64, 0][random(4) as usize];
        let sizes = &sizes[..count];
        let apart = random(1 << 40) & random(1 << 40) & random(1 << 40);
        let split = random(1 << 40) & random(1 << 40);
        let good = with_runs(sizes, largest_segment, [apart, split], &mut table, &payload, |batch, runs| {
            agrees(batch, runs, sizes, largest_segment, apart)
        });
        assert!(good, "{sizes:?} with segments of at most {largest_segment}");
    }
}

proptest! {
    #[test]
    fn runs_obey_the_rule(
        sizes in prop::collection::vec((0u32..3, prop_oneof![Just(0), Just(100), Just(1024), 0u32..66_000]), 0..300),
        largest_segment in prop_oneof![Just(usize::MAX), 0usize..2000],
        apart in prop_oneof![Just(0), any::<u64>()],
        split in any::<u64>(),
    ) {
        let payload = vec![0; 300 * 66_001];
        with_runs(&sizes, largest_segment, [apart, split], &mut table(), &payload, |batch, runs| {
            let order: Vec<usize> = runs.iter().flat_map(Run::datagrams).collect();
            prop_assert!(order.into_iter().eq(0..sizes.len()), "every datagram once, in order");
            for run in runs.iter().filter(|run| run.is_segmented()) {
                let members = &sizes[run.datagrams()];
                let (last, rest) = members.split_last().expect("a run has members");
                prop_assert!(members.iter().all(|member| member.0 == members[0].0), "one destination");
                prop_assert!(rest.iter().all(|member| member.1 == run.segment), "equal segments");
                prop_assert!((1..=run.segment).contains(&last.1), "the last may be shorter, not empty");
                prop_assert!(members.len() <= MAX_SEGMENTS);
                prop_assert!(members.iter().map(|member| member.1 as usize).sum::<usize>() <= MAX_RUN_BYTES);
                prop_assert!(run.segment as usize <= largest_segment);
            }
            prop_assert!(agrees(batch, runs, &sizes, largest_segment, apart));
            Ok(())
        })?;
    }

    #[test]
    fn no_forged_table_passes(
        table in prop::collection::vec(any::<u32>(), TABLE_BYTES / 4),
        small in any::<bool>(),
        payload in 0usize..100_000,
        count in 0usize..2000,
        addresses in 0usize..2000,
    ) {
        // Half of the tables have small numbers, so that some get as far as the last checks.
        let table: Vec<u8> = table.iter().flat_map(|word| if small { word % 50_000 } else { *word }.to_ne_bytes()).collect();
        let payload = vec![0; payload];
        if let Ok(batch) = Batch::new(&payload, &table, count, addresses) {
            prop_assert!(count <= MAX_DATAGRAMS && addresses <= MAX_DATAGRAMS && batch.len() <= MAX_DATAGRAMS);
            let lengths: usize = batch.entries().map(|entry| entry.length as usize * entry.count as usize).sum();
            prop_assert_eq!(batch.pieces(batch.place(0), batch.len()).map(<[u8]>::len).sum::<usize>(), lengths);
            for entry in batch.entries() {
                prop_assert_eq!(batch.destination(entry.address).is_none(), entry.address == NO_ADDRESS);
            }
        }
    }
}

#[test]
fn each_kind_of_forgery_is_named() {
    let address = "127.0.0.1:9".parse().expect("an address");
    let sound = || Owned::new(&[(Some(address), vec![1, 2, 3]), (Some(address), vec![4])]);
    let refusal = |owned: &Owned| match Batch::new(&owned.payload, &owned.table, owned.entries, owned.addresses) {
        Ok(_) => "sound".to_owned(),
        Err(forged) => forged.to_string(),
    };
    assert_eq!(refusal(&sound()), "sound");
    let entries = [
        ([4, 1, 0, 1], "must lie in the payload of 4 bytes, got offset"),
        ([0, 5, 0, 1], "must lie in the payload of 4 bytes, got offset"),
        ([0, 1, 0, 5], "must lie in the payload of 4 bytes, got offset"),
        ([u32::MAX, 1, 0, 1], "must lie in the payload of 4 bytes, got offset"),
        ([1, u32::MAX, 0, 1], "must lie in the payload of 4 bytes, got offset"),
        ([u32::MAX; 4], "must lie in the payload of 4 bytes, got offset"),
        ([0, 1, 1, 1], "must name one of its 1 addresses"),
        ([0, 1, u32::MAX - 1, 1], "must name one of its 1 addresses"),
        ([0, 1, 0, 0], "must have a datagram"),
        ([0, 0, 0, 1024], "at most 1024"),
        ([0, 0, 0, u32::MAX], "at most 1024"),
    ];
    for (entry, text) in entries {
        let mut owned = sound();
        owned.set_entry(1, entry);
        assert!(refusal(&owned).contains(text), "{entry:?}: {}", refusal(&owned));
    }
    for (word, value) in [(0, 5u32), (0, 0), (4, 65_536), (4, u32::MAX)] {
        let mut owned = sound();
        let at = wasi_udp_engine::table::ADDRESSES_OFFSET + word;
        owned.table[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        assert!(refusal(&owned).contains("must have family 4 or 6"));
    }
    for (entries, addresses) in [(1025, 1), (1, 1025), (usize::MAX, 0)] {
        let owned = Owned { entries, addresses, ..sound() };
        assert!(refusal(&owned).contains("at most 1024"));
    }
    let mut owned = sound();
    owned.table.pop();
    assert!(refusal(&owned).contains("a table has 81920 bytes"));
}

#[test]
fn some_datagrams_of_a_batch_are_grouped_as_if_there_were_no_others() {
    let (mut table, payload) = (table(), vec![0; 200 * 100]);
    let sizes: Vec<_> =
        (0..150).map(|index| (u32::from(index / 70 == 1), if index % 50 == 49 { 40 } else { 100 })).collect();
    with_runs(&sizes, usize::MAX, [0, 0], &mut table, &payload, |batch, _| {
        for first in 0..=sizes.len() {
            for end in first..=sizes.len() {
                let mut runs = Vec::new();
                group(batch, first..end, usize::MAX, &mut runs);
                let expected = model(&sizes[first..end], u32::MAX);
                let expected = expected.iter().map(|members| first + members[0]..first + members[0] + members.len());
                assert!(runs.iter().map(Run::datagrams).eq(expected), "{first}..{end}: {runs:?}");
            }
        }
    });
}
