//! The receiving peers: recvmmsg(2), with coalescing (UDP_GRO) or without, and recvfrom(2), one by one.
//!
//! `recvmmsg local=ADDRESS gro=BOOL [info=true]` or `recvfrom local=ADDRESS gro=false` prints its port, then answers each line `DATAGRAMS`
//! by reading as many, and printing how many came and the nanoseconds that they took.

use crate::messages::Messages;
use crate::receiver::{open, segment_size, set_option};
use socket2::Socket;
use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::net::UdpSocket;
use std::time::Instant;

/// Answers the lines of standard input until it ends.
pub fn serve(kind: &str, options: &HashMap<String, String>) -> io::Result<()> {
    let socket = open(options["local"].parse().expect("an address"), options["gro"] == "true")?;
    socket.set_recv_buffer_size(4 << 20)?;
    if options.get("info").is_some_and(|info| info == "true") {
        for option in [libc::IP_PKTINFO, libc::IP_RECVTOS] {
            set_option(&socket, libc::IPPROTO_IP, option, 1)?;
        }
    }
    println!("{}", socket.local_addr()?.as_socket().expect("an address").port());
    let mut receive: Box<dyn FnMut() -> io::Result<usize>> = match kind {
        "recvfrom" => {
            let socket = UdpSocket::from(socket);
            Box::new(move || one(&socket))
        }
        _ => {
            let mut messages = Messages::new();
            Box::new(move || several(&socket, &mut messages))
        }
    };
    for line in io::stdin().lock().lines() {
        let wanted: usize = line?.parse().expect("a number of datagrams");
        let (begin, mut datagrams) = (Instant::now(), 0);
        while datagrams < wanted {
            match receive()? {
                0 => break,
                count => datagrams += count,
            }
        }
        println!("{datagrams} {}", begin.elapsed().as_nanos());
        io::stdout().flush()?;
    }
    Ok(())
}

/// Datagrams of one recvmmsg(2); 0 where none is there.
fn several(socket: &Socket, messages: &mut Messages) -> io::Result<usize> {
    let count = messages.receive(socket)?;
    let datagrams = |index| {
        let (bytes, header) = messages.message(index);
        bytes.len().div_ceil(segment_size(header).unwrap_or(bytes.len()).max(1)).max(1)
    };
    Ok((0..count).map(datagrams).sum())
}

/// One datagram by recvfrom(2), with its source, as a C program reads it; 0 where none is there.
fn one(socket: &UdpSocket) -> io::Result<usize> {
    match socket.recv_from(&mut [0; 2048]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        received => received.map(|_| 1),
    }
}
