//! What a sender sends over and over: one batch, and where it goes.

use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

/// Segments in one message, and bytes: the limits of the engine's runs, so that all segment alike.
const MAX_SEGMENTS: usize = 64;
const MAX_RUN_BYTES: usize = 65_507;

/// The `key=value` words of a command line.
pub fn options(words: impl Iterator<Item = String>) -> HashMap<String, String> {
    words.filter_map(|word| word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))).collect()
}

/// One batch.
pub struct Load {
    /// Whether the socket is connected to the one destination.
    pub connected: bool,
    /// The datagrams' bytes, one behind the other.
    pub payload: Vec<u8>,
    /// Offset and length of each datagram.
    pub datagrams: Vec<(usize, usize)>,
    destinations: Vec<SocketAddr>,
}

/// Datagrams that leave as one message.
pub struct Run {
    /// Index of the first.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// Bytes of each.
    pub segment: usize,
}

impl Load {
    /// From `sizes=` (bytes, in turn), `batch=` (datagrams), `to=` (addresses, in turn), `connected=`.
    pub fn new(options: &HashMap<String, String>) -> Self {
        let option = |name: &str| options.get(name).unwrap_or_else(|| panic!("peers: {name}= is missing"));
        let sizes: Vec<usize> = option("sizes").split(',').map(|size| size.parse().expect("a size")).collect();
        let batch: usize = option("batch").parse().expect("a batch");
        let mut end = 0;
        let mut datagrams = Vec::with_capacity(batch);
        for index in 0..batch {
            let length = sizes[index % sizes.len()];
            datagrams.push((end, length));
            end += length;
        }
        Self {
            connected: option("connected") == "true",
            payload: vec![0x5a; end],
            datagrams,
            destinations: option("to").split(',').map(|to| to.parse().expect("an address")).collect(),
        }
    }

    /// A nonblocking socket for it.
    pub fn socket(&self) -> io::Result<Socket> {
        let first = self.destinations[0];
        let socket = Socket::new(Domain::for_address(first), Type::DGRAM, None)?;
        if self.connected {
            socket.connect(&first.into())?;
        }
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    /// Where a datagram goes.
    pub fn destination(&self, index: usize) -> SocketAddr {
        self.destinations[index % self.destinations.len()]
    }

    /// The name for a datagram's system call; none where the socket is connected.
    pub fn name(&self, index: usize) -> Option<SockAddr> {
        (!self.connected).then(|| self.destination(index).into())
    }

    /// The bytes of a run.
    pub fn bytes(&self, run: &Run) -> &[u8] {
        let (first, (last, length)) = (self.datagrams[run.first].0, self.datagrams[run.first + run.count - 1]);
        &self.payload[first..last + length]
    }

    /// The batch as runs of equal datagrams to one destination; of single ones where `segment` is false.
    pub fn runs(&self, segment: bool) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (index, &(_, length)) in self.datagrams.iter().enumerate() {
            match runs.last_mut() {
                Some(run)
                    if segment
                        && length == run.segment
                        && self.destination(run.first) == self.destination(index)
                        && run.count < MAX_SEGMENTS
                        && (run.count + 1) * length <= MAX_RUN_BYTES =>
                {
                    run.count += 1;
                }
                _ => runs.push(Run { first: index, count: 1, segment: length }),
            }
        }
        runs
    }
}
