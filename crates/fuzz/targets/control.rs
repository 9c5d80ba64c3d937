//! Control messages of any level, type, size and number, written as the kernel writes them into as much room as there is: the
//! segment size is that of the first whole UDP_GRO message, and nothing behind the room is read.
//!
//! Input: the room (a byte, modulo 129), then messages: a byte that says which level and type, the bytes of data (a byte,
//! modulo 41), the data.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::mem;
use wasi_udp_engine::sys::segment_size_in;
use wasi_udp_fuzz::Input;

const HEADER: usize = mem::size_of::<libc::cmsghdr>();
const ALIGNMENT: usize = mem::align_of::<usize>();

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let room = usize::from(input.byte()) % 129;
    // The words end where the room does, but for the last word's rest: AddressSanitizer knows what lies behind.
    let mut control = vec![0u64; room.div_ceil(8)];
    let mut used = 0;
    let mut expected = None;
    let mut is_found = false;
    while input.has_more() {
        let (level, kind) = match input.byte() % 8 {
            0..=3 => (libc::SOL_UDP, libc::UDP_GRO),
            4 => (libc::SOL_UDP, libc::UDP_SEGMENT),
            5 => (libc::SOL_SOCKET, libc::SCM_TIMESTAMP),
            6 => (libc::IPPROTO_IP, libc::IP_RECVERR),
            _ => (input.word() as i32, input.word() as i32),
        };
        let data: Vec<u8> = (0..input.byte() % 41).map(|_| input.byte()).collect();
        // put_cmsg of net/core/scm.c: a message that finds no room for its header is left out, one that finds too little for its
        // data is cut.
        let left = room - used;
        if left < HEADER {
            break;
        }
        let length = (HEADER + data.len()).min(left);
        let header =
            [length.to_ne_bytes().to_vec(), level.to_ne_bytes().to_vec(), kind.to_ne_bytes().to_vec()].concat();
        write(&mut control, used, &header);
        write(&mut control, used + HEADER, &data[..length - HEADER]);
        used += (HEADER + data.len()).next_multiple_of(ALIGNMENT).min(left);
        if (level, kind) == (libc::SOL_UDP, libc::UDP_GRO) && !is_found && length >= HEADER + 4 {
            is_found = true;
            let size = i32::from_ne_bytes(data[..4].try_into().expect("four bytes"));
            expected = usize::try_from(size).ok().filter(|&size| size > 0);
        }
    }
    // SAFETY: the first `used` bytes are control messages as the kernel writes them.
    assert_eq!(unsafe { segment_size_in(&mut control, used) }, expected);
});

fn write(control: &mut [u64], at: usize, bytes: &[u8]) {
    for (at, &byte) in (at..).zip(bytes) {
        let mut word = control[at / 8].to_ne_bytes();
        word[at % 8] = byte;
        control[at / 8] = u64::from_ne_bytes(word);
    }
}
