//! The receiving peer: recvmmsg(2), with coalescing (UDP_GRO) or without.
//!
//! `recvmmsg local=ADDRESS gro=BOOL` prints its port, then answers each line `DATAGRAMS` by reading as many, and printing how
//! many came and the nanoseconds that they took.

use crate::receiver::{open, segment_size};
use socket2::Socket;
use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::os::fd::AsRawFd;
use std::time::Instant;
use std::{mem, ptr};

/// Messages of one system call, each with room for the largest.
const MESSAGES: usize = 64;
const MESSAGE_BYTES: usize = 65_536;

/// Answers the lines of standard input until it ends.
pub fn serve(options: &HashMap<String, String>) -> io::Result<()> {
    let socket = open(options["local"].parse().expect("an address"), options["gro"] == "true")?;
    socket.set_recv_buffer_size(4 << 20)?;
    println!("{}", socket.local_addr()?.as_socket().expect("an address").port());
    let mut buffers = Buffers::new();
    for line in io::stdin().lock().lines() {
        let wanted: usize = line?.parse().expect("a number of datagrams");
        let (begin, mut datagrams) = (Instant::now(), 0);
        while datagrams < wanted {
            match buffers.receive(&socket)? {
                0 => break,
                count => datagrams += count,
            }
        }
        println!("{datagrams} {}", begin.elapsed().as_nanos());
        io::stdout().flush()?;
    }
    Ok(())
}

struct Buffers {
    payload: Vec<u8>,
    controls: Vec<[u64; 4]>,
    names: Vec<libc::sockaddr_storage>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Buffers {
    fn new() -> Self {
        // SAFETY: zeros are a valid address of no family, and a valid header of null pointers.
        let (name, header) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Self {
            payload: vec![0; MESSAGES * MESSAGE_BYTES],
            controls: vec![[0; 4]; MESSAGES],
            names: vec![name; MESSAGES],
            vectors: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: MESSAGE_BYTES }; MESSAGES],
            headers: vec![header; MESSAGES],
        }
    }

    /// Datagrams of one recvmmsg(2); 0 where none is there.
    fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
        for (index, header) in self.headers.iter_mut().enumerate() {
            let header = &mut header.msg_hdr;
            self.vectors[index].iov_base = self.payload[index * MESSAGE_BYTES..].as_mut_ptr().cast();
            header.msg_iov = &raw mut self.vectors[index];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut self.names[index]).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as _;
            header.msg_control = self.controls[index].as_mut_ptr().cast();
            header.msg_controllen = mem::size_of_val(&self.controls[index]) as _;
        }
        let headers = self.headers.as_mut_ptr();
        // SAFETY: the headers were written above and point into arrays of `self`, borrowed mutably for this call.
        let count = unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, MESSAGES as u32, 0, ptr::null_mut()) };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) };
        };
        let datagrams = |header: &libc::mmsghdr| {
            let length = header.msg_len as usize;
            length.div_ceil(segment_size(&header.msg_hdr).unwrap_or(length).max(1)).max(1)
        };
        Ok(self.headers[..count].iter().map(datagrams).sum())
    }
}
