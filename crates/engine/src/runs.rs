//! Which datagrams of a batch may leave as one message: the rule of a run, as a pure function.

#![forbid(unsafe_code)]

use crate::table::Batch;

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
    while first < batch.len() {
        let head = batch.entry(first);
        let mut run = Run::plain(first, head.length);
        if head.length != 0 && head.length as usize <= largest_segment.min(MAX_RUN_BYTES) {
            let most = MAX_SEGMENTS.min(MAX_RUN_BYTES / head.length as usize);
            let (equals, adjacent) = batch.alike(first, most);
            run.count = equals as u32;
            run.bytes = run.count * head.length;
            run.adjacent = adjacent;
            // The last may fall short.
            let next = first + equals;
            if equals < MAX_SEGMENTS && next < batch.len() {
                let last = batch.entry(next);
                let room = MAX_RUN_BYTES as u32 - run.bytes;
                if (1..head.length.min(room + 1)).contains(&last.length) && last.address == head.address {
                    run.adjacent &= u64::from(last.offset) == u64::from(head.offset) + u64::from(run.bytes);
                    run.count += 1;
                    run.bytes += last.length;
                }
            }
        }
        first = run.datagrams().end;
        runs.push(run);
    }
}
