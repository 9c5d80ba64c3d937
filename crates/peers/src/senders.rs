//! The senders. Each prepares all that can be prepared, as nothing of it is what they are here to show.

use crate::load::{Load, Run};
use crate::slices::SendBatch;
use quinn_udp::{Transmit, UdpSocketState};
use socket2::{SockAddr, Socket};
use std::os::fd::AsRawFd;
use std::{io, mem, ptr};

/// The sender of that name.
pub fn by_name<'a>(name: &str, socket: &'a Socket, load: &'a Load) -> SendBatch<'a> {
    match name {
        "sendto" => sendto(socket, load),
        "sendmmsg" => sendmmsg(socket, load, false),
        "segment" => sendmmsg(socket, load, true),
        "quinn" => quinn(socket, load),
        _ => panic!("peers: sendto, sendmmsg, segment, quinn or receiver, got {name:?}"),
    }
}

/// sendto(2), one by one, as a C program would.
fn sendto<'a>(socket: &'a Socket, load: &'a Load) -> SendBatch<'a> {
    let names: Vec<_> = (0..load.datagrams.len()).map(|index| load.name(index)).collect();
    Box::new(move || {
        for (index, &(offset, length)) in load.datagrams.iter().enumerate() {
            let bytes = load.payload[offset..offset + length].as_ptr().cast();
            let (name, name_length) = pointer(&names[index]);
            // SAFETY: the bytes and the name are borrowed for the closure's life; the kernel only reads them.
            if unsafe { libc::sendto(socket.as_raw_fd(), bytes, length, 0, name.cast(), name_length) } < 0 {
                return accepted_before(index);
            }
        }
        Ok(load.datagrams.len())
    })
}

/// One sendmmsg(2) a batch; with `segment`, runs leave as one message each (UDP_SEGMENT).
fn sendmmsg<'a>(socket: &'a Socket, load: &'a Load, segment: bool) -> SendBatch<'a> {
    let runs = load.runs(segment);
    let names: Vec<_> = runs.iter().map(|run| load.name(run.first)).collect();
    let mut controls: Vec<_> = runs.iter().map(|run| segment_control(run.segment as u16)).collect();
    let mut vectors: Vec<_> = runs.iter().map(|run| vector(load.bytes(run))).collect();
    let mut headers: Vec<libc::mmsghdr> = Vec::with_capacity(runs.len());
    for (index, run) in runs.iter().enumerate() {
        // SAFETY: zeros are a valid mmsghdr: null pointers with lengths of 0.
        let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
        let (name, name_length) = pointer(&names[index]);
        header.msg_hdr.msg_name = name.cast_mut().cast();
        header.msg_hdr.msg_namelen = name_length;
        header.msg_hdr.msg_iov = &raw mut vectors[index];
        header.msg_hdr.msg_iovlen = 1;
        if run.count > 1 {
            header.msg_hdr.msg_control = controls[index].as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = mem::size_of_val(&controls[index]) as _;
        }
        headers.push(header);
    }
    Box::new(move || {
        // What the headers point to belongs to the closure.
        let _kept = (&names, &vectors, &controls);
        // SAFETY: the headers point into the vectors above, whose heap blocks neither move nor change any more, and into
        // the load's payload, borrowed for the closure's life; the kernel writes only the headers' lengths.
        match unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), headers.len() as u32, 0) } {
            sent if sent < 0 => accepted_before(0),
            sent => Ok(count(&runs[..sent as usize])),
        }
    })
}

/// quinn-udp: one sendmsg(2) a run.
fn quinn<'a>(socket: &'a Socket, load: &'a Load) -> SendBatch<'a> {
    let state = UdpSocketState::new(socket.into()).expect("quinn-udp");
    let runs = load.runs(state.max_gso_segments() > 1);
    Box::new(move || {
        for (index, run) in runs.iter().enumerate() {
            let transmit = Transmit {
                destination: load.destination(run.first),
                ecn: None,
                contents: load.bytes(run),
                segment_size: (run.count > 1).then_some(run.segment),
                src_ip: None,
            };
            if let Err(error) = state.try_send(socket.into(), &transmit) {
                return if index > 0 { Ok(count(&runs[..index])) } else { Err(error) };
            }
        }
        Ok(load.datagrams.len())
    })
}

fn count(runs: &[Run]) -> usize {
    runs.iter().map(|run| run.count).sum()
}

/// The outcome of a batch whose next system call failed: an error only where nothing went before.
fn accepted_before(accepted: usize) -> io::Result<usize> {
    if accepted > 0 { Ok(accepted) } else { Err(io::Error::last_os_error()) }
}

fn pointer(name: &Option<SockAddr>) -> (*const libc::sockaddr_storage, libc::socklen_t) {
    name.as_ref().map_or((ptr::null(), 0), |name| (name.as_ptr().cast(), name.len()))
}

fn vector(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

/// The control message that names the segment size, with its padding.
fn segment_control(segment: u16) -> [u64; 3] {
    let mut control = [0u64; 3];
    let header = control.as_mut_ptr().cast::<libc::cmsghdr>();
    // SAFETY: 24 aligned bytes hold a cmsghdr and the two bytes of the segment size.
    unsafe {
        (*header).cmsg_level = libc::SOL_UDP;
        (*header).cmsg_type = libc::UDP_SEGMENT;
        (*header).cmsg_len = libc::CMSG_LEN(2) as _;
        libc::CMSG_DATA(header).cast::<u16>().write_unaligned(segment);
    }
    control
}
