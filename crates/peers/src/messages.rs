//! What one recvmmsg(2) brings.

use socket2::Socket;
use std::io;
use std::os::fd::AsRawFd;
use std::{mem, ptr};

/// Messages of one system call, each with room for the largest.
const MESSAGES: usize = 64;
const MESSAGE_BYTES: usize = 65_536;

/// The buffers that are filled again and again.
pub struct Messages {
    payload: Vec<u8>,
    controls: Vec<[u64; 16]>,
    names: Vec<libc::sockaddr_storage>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Messages {
    pub fn new() -> Self {
        // SAFETY: zeros are a valid address of no family, and a valid header of null pointers.
        let (name, header) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Self {
            payload: vec![0; MESSAGES * MESSAGE_BYTES],
            controls: vec![[0; 16]; MESSAGES],
            names: vec![name; MESSAGES],
            vectors: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: MESSAGE_BYTES }; MESSAGES],
            headers: vec![header; MESSAGES],
        }
    }

    /// Reads what is there, up to 64 messages; how many, 0 where none is there.
    pub fn receive(&mut self, socket: &Socket) -> io::Result<usize> {
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
        match usize::try_from(count) {
            Ok(count) => Ok(count),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error => Err(error),
            },
        }
    }

    /// The bytes of a message of the last call, and the header, which its control messages are read from.
    pub fn message(&self, index: usize) -> (&[u8], &libc::msghdr) {
        let header = &self.headers[index];
        let start = index * MESSAGE_BYTES;
        (&self.payload[start..start + header.msg_len as usize], &header.msg_hdr)
    }
}
