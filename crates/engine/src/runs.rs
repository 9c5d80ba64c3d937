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
    /// Bytes of all of them.
    pub bytes: u32,
    /// Whether they lie one behind the other in the payload, and so are one piece of it.
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
    let mut entries = batch.entries().enumerate().skip(first);
    let Some((_, head)) = entries.next() else { return };
    let mut run = Run::plain(first, head.length);
    let mut address = head.address;
    let mut end = head.offset.wrapping_add(head.length);
    // Whether the run may still grow: a shorter datagram is its last.
    let mut open = joins(head.length, largest_segment);
    for (index, entry) in entries {
        let fits = open
            && entry.address == address
            && entry.length != 0
            && entry.length <= run.segment
            && (run.count as usize) < MAX_SEGMENTS
            && (run.bytes + entry.length) as usize <= MAX_RUN_BYTES;
        if fits {
            run.count += 1;
            run.bytes += entry.length;
            run.adjacent &= entry.offset == end;
            open = entry.length == run.segment;
        } else {
            runs.push(run);
            run = Run::plain(index, entry.length);
            address = entry.address;
            open = joins(entry.length, largest_segment);
        }
        end = entry.offset.wrapping_add(entry.length);
    }
    runs.push(run);
}

fn joins(length: u32, largest_segment: usize) -> bool {
    length != 0 && length as usize <= largest_segment.min(MAX_RUN_BYTES)
}
