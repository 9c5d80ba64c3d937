//! Which datagrams of a batch may leave as one message: the rule of a run, as a pure function.

#![forbid(unsafe_code)]

use crate::table::{Batch, Entry, Place};
use std::ops::Range;

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
    /// Index of their address slot, or `NO_ADDRESS`.
    pub address: u32,
    /// Where the first datagram stands in the batch.
    pub place: Place,
}

impl Run {
    /// The run of the datagram of that index alone; `head` is the entry at its place.
    pub fn alone(first: usize, place: Place, head: Entry) -> Self {
        let Entry { length, address, .. } = head;
        Self { first: first as u32, count: 1, segment: length, bytes: length, address, place }
    }

    /// Whether the message carries UDP_SEGMENT. A run of one never does: some drivers (PPPoE) lose such packets.
    pub fn is_segmented(&self) -> bool {
        self.count > 1
    }

    /// The indexes of its datagrams.
    pub fn datagrams(&self) -> Range<usize> {
        self.first as usize..(self.first + self.count) as usize
    }
}

/// Groups those datagrams of a batch into runs, in order, and appends them to `runs`.
///
/// Only datagrams of at most `largest_segment` bytes form runs; 0 has every datagram go plainly.
pub fn group(batch: &Batch<'_>, datagrams: Range<usize>, largest_segment: usize, runs: &mut Vec<Run>) {
    let mut first = datagrams.start;
    let mut place = batch.place(first);
    while first < datagrams.end
        && let Some(head) = batch.entry(place)
    {
        let left = datagrams.end - first;
        let mut run = Run::alone(first, place, head);
        let Run { segment, address, .. } = run;
        let mut next = place;
        if segment != 0 && segment as usize <= largest_segment.min(MAX_RUN_BYTES) {
            let most = MAX_SEGMENTS.min(left);
            run.count = batch.alike(place, most.min(MAX_RUN_BYTES / segment as usize)) as u32;
            run.bytes = run.count * segment;
            batch.advance(&mut next, run.count as usize);
            // The last may fall short.
            let room = MAX_RUN_BYTES as u32 - run.bytes;
            if (run.count as usize) < most
                && let Some(last) = batch.entry(next)
                && (1..segment.min(room + 1)).contains(&last.length)
                && last.address == address
            {
                run.count += 1;
                run.bytes += last.length;
                batch.advance(&mut next, 1);
            }
        } else {
            batch.advance(&mut next, 1);
        }
        first += run.count as usize;
        place = next;
        runs.push(run);
    }
}
