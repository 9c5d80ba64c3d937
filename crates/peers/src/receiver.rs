//! The receiver: sockets that keep what arrives, unread, until somebody asks what it was.
//!
//! `receiver local=ADDRESS sockets=N gro=BOOL` prints the ports. `count` reads what has arrived and prints `DATAGRAMS BYTES
//! DROPPED`; `unread` leaves everything unread from then on, in buffers of the system's default size.

use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// Room for the largest batch, bookkeeping of the kernel included; granted in full to root alone.
const LARGE_BUFFER: usize = 64 << 20;

/// Index of the dropped messages in what SO_MEMINFO tells (`SK_MEMINFO_DROPS` of linux/sock_diag.h), and how many it tells.
const DROPS: usize = 8;
const MEMINFO_VARS: usize = 9;

/// Answers the lines of standard input until it ends.
pub fn serve(options: &HashMap<String, String>) -> io::Result<()> {
    let local: SocketAddr = options["local"].parse().expect("an address");
    let count: usize = options["sockets"].parse().expect("a number");
    let sockets = (0..count).map(|_| open(local, options["gro"] == "true")).collect::<io::Result<Vec<_>>>()?;
    let usual = sockets[0].recv_buffer_size()? / 2;
    for socket in &sockets {
        set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, LARGE_BUFFER as libc::c_int)
            .or_else(|_| socket.set_recv_buffer_size(LARGE_BUFFER))?;
    }
    let ports: Vec<_> = sockets
        .iter()
        .map(|socket| socket.local_addr().map(|address| address.as_socket().unwrap().port().to_string()))
        .collect::<io::Result<_>>()?;
    println!("{}", ports.join(","));
    for line in io::stdin().lock().lines() {
        if line? == "unread" {
            sockets.iter().try_for_each(|socket| socket.set_recv_buffer_size(usual))?;
            println!("ready");
        } else {
            let mut arrived = Arrived::default();
            sockets.iter().try_for_each(|socket| arrived.read(socket))?;
            println!("{} {} {}", arrived.datagrams, arrived.bytes, arrived.dropped);
        }
        io::stdout().flush()?;
    }
    Ok(())
}

/// A nonblocking socket at that address; with `gro`, runs arrive as one message.
pub fn open(local: SocketAddr, gro: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, None)?;
    socket.bind(&local.into())?;
    socket.set_nonblocking(true)?;
    set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, gro.into())?;
    Ok(socket)
}

/// Sets an option whose value is an int.
pub fn set_option(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = mem::size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer is to a local of that length, which lives through the call.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What has arrived since the last count.
#[derive(Default)]
struct Arrived {
    datagrams: usize,
    bytes: usize,
    /// Messages that found no room, since the socket was opened.
    dropped: u32,
}

impl Arrived {
    /// Reads all that is there.
    fn read(&mut self, socket: &Socket) -> io::Result<()> {
        let mut buffer = vec![0; 65_536];
        loop {
            let (length, segment) = match receive(socket, &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                received => received?,
            };
            if buffer[..length].iter().any(|&byte| byte != 0x5a) {
                return Err(io::Error::other("a datagram arrived with other bytes than were sent"));
            }
            self.datagrams += length.div_ceil(segment).max(1);
            self.bytes += length;
        }
        self.dropped += dropped(socket)?;
        Ok(())
    }
}

/// One message: its bytes, and those of each datagram in it.
fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, usize)> {
    let mut control = [0u64; 4];
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: zeros are a valid msghdr: null pointers with lengths of 0.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = mem::size_of_val(&control) as _;
    // SAFETY: the header points to locals and to the buffer, which is borrowed mutably; all live through the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, 0) };
    let Ok(length) = usize::try_from(length) else { return Err(io::Error::last_os_error()) };
    Ok((length, segment_size(&header).unwrap_or(length).max(1)))
}

/// The segment size that came beside a run.
pub fn segment_size(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel has written the control message and its length, in the array that the header's owner keeps.
    let control = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }?;
    let is_gro = (control.cmsg_level, control.cmsg_type) == (libc::SOL_UDP, libc::UDP_GRO);
    // SAFETY: a UDP_GRO message carries an int.
    is_gro.then(|| unsafe { libc::CMSG_DATA(control).cast::<libc::c_int>().read_unaligned() } as usize)
}

/// Messages that the socket's buffer had no room for.
fn dropped(socket: &Socket) -> io::Result<u32> {
    let mut values = [0u32; MEMINFO_VARS];
    let mut length = mem::size_of_val(&values) as libc::socklen_t;
    let (start, size) = (values.as_mut_ptr().cast(), &raw mut length);
    // SAFETY: both pointers are to locals of that size, which live through the call.
    match unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, start, size) } {
        0 => Ok(values[DROPS]),
        _ => Err(io::Error::last_os_error()),
    }
}
