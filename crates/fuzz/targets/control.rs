//! Control messages of any level, type, size and number, written as the kernel writes them into as much room as there is: the
//! segment size is that of the first whole UDP_GRO message, what is told beside is that of the messages that are whole enough, and
//! nothing behind the room is read.
//!
//! Input: the room (a byte), then messages: a byte that says which level and type, the bytes of data (a byte, modulo 41), the data.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wasi_udp_engine::ancillary::Ancillary;
use wasi_udp_engine::sys::{TIME_OPTION, decode};
use wasi_udp_fuzz::Input;

const HEADER: usize = mem::size_of::<libc::cmsghdr>();
const ALIGNMENT: usize = mem::align_of::<usize>();

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let room = usize::from(input.byte());
    // The words end where the room does, but for the last word's rest: AddressSanitizer knows what lies behind.
    let mut control = vec![0u64; room.div_ceil(8)];
    let mut used = 0;
    let mut expected = None;
    let mut told = Ancillary::default();
    let mut is_found = false;
    while input.has_more() {
        let (level, kind) = match input.byte() % 16 {
            0..=3 => (libc::SOL_UDP, libc::UDP_GRO),
            4 => (libc::SOL_UDP, libc::UDP_SEGMENT),
            5 => (libc::SOL_SOCKET, libc::SCM_TIMESTAMP),
            6 => (libc::IPPROTO_IP, libc::IP_RECVERR),
            7 | 8 => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            9 | 10 => (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO),
            11 => (libc::IPPROTO_IP, libc::IP_TOS),
            12 => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
            13 => (libc::SOL_SOCKET, TIME_OPTION),
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
        learn(&mut told, level, kind, &data[..length - HEADER]);
    }
    // SAFETY: the first `used` bytes are control messages as the kernel writes them.
    assert_eq!(unsafe { decode(&mut control, used) }, (expected, told));
});

/// What a message tells, said once more: of each kind the last that is whole, but for IPv6's address, which gives way to IPv4's.
fn learn(told: &mut Ancillary, level: i32, kind: i32, data: &[u8]) {
    let word = |at: usize| data.get(at..at + 4).map(|bytes| <[u8; 4]>::try_from(bytes).expect("four bytes"));
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) if data.len() >= 12 => {
            let [interface, own, address] = [0, 4, 8].map(|at| word(at).expect("a word"));
            told.interface = u32::from_ne_bytes(interface);
            told.address = Some(IpAddr::V4(Ipv4Addr::from(address)));
            let is_group = address[0] >> 4 == 14 || address == [255; 4];
            told.is_shared = if own == [0; 4] { is_group } else { own != address };
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if data.len() >= 20 => {
            told.interface = u32::from_ne_bytes(word(16).expect("a word"));
            if told.address.is_none() {
                let address = Ipv6Addr::from(<[u8; 16]>::try_from(&data[..16]).expect("sixteen bytes"));
                told.address = Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4));
                told.is_shared = match told.address {
                    Some(IpAddr::V4(address)) => address.octets()[0] >> 4 == 14 || address.octets() == [255; 4],
                    _ => data[0] == 0xff,
                };
            }
        }
        (libc::IPPROTO_IP, libc::IP_TOS | libc::IP_RECVTOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
            if !data.is_empty() =>
        {
            told.class = Some(word(0).map_or(data[0], |word| i32::from_ne_bytes(word) as u8));
        }
        (libc::SOL_SOCKET, TIME_OPTION) if data.len() >= 16 => {
            let [seconds, nanoseconds] =
                [0, 8].map(|at| u64::from_ne_bytes(data[at..at + 8].try_into().expect("eight bytes")));
            told.time = Some(seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds));
        }
        _ => {}
    }
}

fn write(control: &mut [u64], at: usize, bytes: &[u8]) {
    for (at, &byte) in (at..).zip(bytes) {
        let mut word = control[at / 8].to_ne_bytes();
        word[at % 8] = byte;
        control[at / 8] = u64::from_ne_bytes(word);
    }
}
