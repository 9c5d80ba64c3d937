//! The echo server as a C program has it: epoll_wait(2), recvfrom(2) until nothing is there, sendto(2) for each.
//!
//! `epoll local=ADDRESS` prints its port, then answers what comes until its standard input ends.

use crate::receiver::open;
use crate::slices::wait_for_room;
use std::collections::HashMap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Answers until standard input ends.
pub fn serve(options: &HashMap<String, String>) -> io::Result<()> {
    let socket = UdpSocket::from(open(options["local"].parse().expect("an address"), false)?);
    println!("{}", socket.local_addr()?.port());
    let epoll = epoll_of(&[libc::STDIN_FILENO, socket.as_raw_fd()])?;
    loop {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: `event` is ours, has room for one event, and lives through the call.
        match unsafe { libc::epoll_wait(epoll.as_raw_fd(), &mut event, 1, -1) } {
            1 if event.u64 == socket.as_raw_fd() as u64 => answer(&socket)?,
            1 => return Ok(()),
            _ => match io::Error::last_os_error() {
                // A tracer that comes or goes.
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// Answers what is there.
fn answer(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            received => received?,
        };
        while let Err(error) = socket.send_to(&buffer[..length], from) {
            match error.kind() {
                io::ErrorKind::WouldBlock => wait_for_room(socket)?,
                _ => return Err(error),
            }
        }
    }
}

/// An epoll instance that tells by its number which of the descriptors can be read.
fn epoll_of(descriptors: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if epoll < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and this is its only owner.
    let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
    for &descriptor in descriptors {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: descriptor as u64 };
        // SAFETY: `event` is ours and lives through the call.
        if unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, descriptor, &mut event) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(epoll)
}
