//! How long datagrams take from the call that sends them to their arrival.
//!
//! `arrivals local=ADDRESS` prints its port, then answers each line `DATAGRAMS` by waiting for as many, and printing how many
//! came, and the median and the 99th percentile of their nanoseconds. A datagram begins with the time of its sending:
//! CLOCK_MONOTONIC in nanoseconds, little endian.

use crate::clocks::{arrival, now, percentile, stamp_arrivals, wait_readable};
use crate::messages::Messages;
use crate::receiver::open;
use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::os::fd::AsRawFd;

/// How long nothing may come until the rest counts as lost.
const PATIENCE: u64 = 1_000_000_000;

/// Answers the lines of standard input until it ends.
pub fn serve(options: &HashMap<String, String>) -> io::Result<()> {
    let socket = open(options["local"].parse().expect("an address"), false)?;
    stamp_arrivals(&socket)?;
    println!("{}", socket.local_addr()?.as_socket().expect("an address").port());
    let mut messages = Messages::new();
    for line in io::stdin().lock().lines() {
        let wanted: usize = line?.parse().expect("a number of datagrams");
        let mut times = Vec::with_capacity(wanted);
        while times.len() < wanted {
            wait_readable(&mut [libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 }], PATIENCE)?;
            // The kernel stamps with the one clock, senders read the other.
            let apart = now(libc::CLOCK_REALTIME) - now(libc::CLOCK_MONOTONIC);
            match messages.receive(&socket)? {
                0 => break,
                count => times.extend((0..count).map(|index| {
                    let (bytes, header) = messages.message(index);
                    let sent = u64::from_le_bytes(bytes[..8].try_into().expect("a time"));
                    (arrival(header) - apart).saturating_sub(sent)
                })),
            }
        }
        times.sort_unstable();
        println!("{} {} {}", times.len(), percentile(&times, 50), percentile(&times, 99));
        io::stdout().flush()?;
    }
    Ok(())
}
