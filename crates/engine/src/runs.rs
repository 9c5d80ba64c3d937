//! Which datagrams of a batch may leave as one message: the rule of a run, as a pure function.

#![forbid(unsafe_code)]

use crate::table::{Batch, Entry};

/// Segments in one message: `UDP_MAX_SEGMENTS` of linux/udp.h was 64 before it became 128, and is the least of any kernel.
pub const MAX_SEGMENTS: usize = 64;
/// Bytes in one message: a UDP datagram's largest payload over IPv4, which bounds the segmented one on its way too.
pub const MAX_RUN_BYTES: usize = 65_507;

/// Consecutive datagrams of a batch that leave as one message.
///
/// A run of several has one destination and one non-zero size, of which only the last datagram may fall short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Index of the first datagram.
    pub first: u32,
    /// Datagrams in the run; 1 for what goes plainly.
    pub count: u32,
    /// Bytes of each datagram but the last.
    pub segment: u32,
    /// Bytes in all.
    pub bytes: u32,
    /// Whether each datagram lies right behind the one before it in the payload.
    pub adjacent: bool,
}

impl Run {
    /// One datagram on its own.
    pub fn plain(first: usize, length: u32) -> Self {
        Self { first: first as u32, count: 1, segment: length, bytes: length, adjacent: true }
    }

    /// Whether the message carries UDP_SEGMENT. A run of one never does: some drivers (PPPoE) lose such packets.
    pub fn is_segmented(&self) -> bool {
        self.count > 1
    }

    /// The indexes of its datagrams.
    pub fn datagrams(&self) -> std::ops::Range<usize> {
        self.first as usize..(self.first + self.count) as usize
    }
}

/// Groups the datagrams from `first` on into runs, in order, and appends them to `runs`.
///
/// Only datagrams of at most `largest_segment` bytes form runs; 0 has every datagram go plainly.
pub fn group(batch: &Batch<'_>, first: usize, largest_segment: usize, runs: &mut Vec<Run>) {
    let mut first = first;
    let mut entries = batch.entries().skip(first).peekable();
    while let Some(head) = entries.next() {
        let mut run = Run::plain(first, head.length);
        if head.length != 0 && head.length as usize <= largest_segment.min(MAX_RUN_BYTES) {
            let mut end = head.end();
            let mut join = |entry: Entry| {
                run.count += 1;
                run.bytes += entry.length;
                run.adjacent &= u64::from(entry.offset) == end;
                end = entry.end();
            };
            let equals = MAX_SEGMENTS.min(MAX_RUN_BYTES / head.length as usize);
            let mut count = 1;
            while count < equals
                && let Some(entry) =
                    entries.next_if(|entry| (entry.length, entry.address) == (head.length, head.address))
            {
                join(entry);
                count += 1;
            }
            let room = MAX_RUN_BYTES - count * head.length as usize;
            let shorter = 1..head.length.min(room as u32 + 1);
            if count < MAX_SEGMENTS
                && let Some(entry) =
                    entries.next_if(|entry| shorter.contains(&entry.length) && entry.address == head.address)
            {
                join(entry);
            }
        }
        first = run.datagrams().end;
        runs.push(run);
    }
}
