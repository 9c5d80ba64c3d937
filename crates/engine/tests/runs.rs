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

/// The runs of a batch. Each datagram lies right behind the one before it, but for those of `apart`, a bit each.
fn with_runs<T>(
    sizes: &[(u32, u32)],
    largest_segment: usize,
    apart: u64,
    table: &mut [u8],
    payload: &[u8],
    check: impl FnOnce(&[Run]) -> T,
) -> T {
    let mut end = 0;
    for (index, (entry, &(address, size))) in table.as_chunks_mut::<ENTRY_BYTES>().0.iter_mut().zip(sizes).enumerate() {
        let offset = end + is_apart(apart, index) as u32;
        end = offset + size;
        let address = if address == 0 { NO_ADDRESS } else { address - 1 };
        for (word, value) in entry.as_chunks_mut().0.iter_mut().zip([offset, size, address]) {
            *word = value.to_ne_bytes();
        }
    }
    let batch = Batch::new(payload, table, sizes.len(), 4).expect("a sound table");
    let mut runs = Vec::new();
    group(&batch, 0, largest_segment, &mut runs);
    check(&runs)
}

fn is_apart(apart: u64, index: usize) -> bool {
    apart >> (index % 64) & 1 == 1
}

/// A table with four good addresses.
fn table() -> Vec<u8> {
    let address = "127.0.0.1:9".parse().expect("an address");
    let other = "127.0.0.1:10".parse().expect("an address");
    Owned::new(&[(Some(address), vec![]), (Some(other), vec![]), (Some(address), vec![]), (Some(other), vec![])]).table
}

fn agrees(runs: &[Run], sizes: &[(u32, u32)], largest_segment: usize, apart: u64) -> bool {
    let model = model(sizes, u32::try_from(largest_segment).unwrap_or(u32::MAX));
    runs.len() == model.len()
        && runs.iter().zip(&model).all(|(run, members)| {
            run.datagrams().eq(members.iter().copied())
                && run.segment == sizes[members[0]].1
                && run.bytes == members.iter().map(|&member| sizes[member].1).sum::<u32>()
                && run.adjacent == members[1..].iter().all(|&member| !is_apart(apart, member))
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
        let good = with_runs(sizes, largest_segment, apart, &mut table, &payload, |runs| {
            agrees(runs, sizes, largest_segment, apart)
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
    ) {
        with_runs(&sizes, largest_segment, apart, &mut table(), &vec![0; 300 * 66_001], |runs| {
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
            prop_assert!(agrees(runs, &sizes, largest_segment, apart));
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
            prop_assert!(count <= MAX_DATAGRAMS && addresses <= MAX_DATAGRAMS);
            for entry in batch.entries() {
                prop_assert_eq!(batch.bytes(entry).len(), entry.length as usize);
                prop_assert_eq!(batch.destination(entry).is_none(), entry.address == NO_ADDRESS);
            }
        }
    }
}

#[test]
fn each_kind_of_forgery_is_named() {
    let address = "127.0.0.1:9".parse().expect("an address");
    let sound = || Owned::new(&[(Some(address), vec![1, 2, 3]), (Some(address), vec![4])]);
    let refusal = |owned: &Owned| match Batch::new(&owned.payload, &owned.table, owned.count, owned.addresses) {
        Ok(_) => "sound".to_owned(),
        Err(forged) => forged.to_string(),
    };
    assert_eq!(refusal(&sound()), "sound");
    let entries = [
        ([4, 1, 0], "must lie in the payload of 4 bytes, got offset"),
        ([0, 5, 0], "must lie in the payload of 4 bytes, got offset"),
        ([u32::MAX, 1, 0], "must lie in the payload of 4 bytes, got offset"),
        ([1, u32::MAX, 0], "must lie in the payload of 4 bytes, got offset"),
        ([u32::MAX, u32::MAX, 0], "must lie in the payload of 4 bytes, got offset"),
        ([0, 1, 1], "must name one of its 1 addresses"),
        ([0, 1, u32::MAX - 1], "must name one of its 1 addresses"),
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
    for (count, addresses) in [(1025, 1), (1, 1025), (usize::MAX, 0)] {
        let owned = Owned { count, addresses, ..sound() };
        assert!(refusal(&owned).contains("at most 1024"));
    }
    let mut owned = sound();
    owned.table.pop();
    assert!(refusal(&owned).contains("a table has 45056 bytes"));
}
