//! Options of sockets, and an IPv6 socket that speaks IPv4 as well, over loopback.

#![cfg(all(target_os = "linux", not(feature = "simulated")))]

mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use support::{LOOPBACKS, Owned, PATIENCE, bound, ready, received, refusing, send_all, unspecified};
use wasi_udp_engine::errno::Errno;
use wasi_udp_engine::options::{Membership, SocketOption};
use wasi_udp_engine::socket::{Buffers, UdpSocket};
use wasi_udp_engine::sys::{self, MESSAGE_BYTES};

const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// A socket that speaks both protocols, bound to the address.
fn dual(address: SocketAddr) -> (UdpSocket, SocketAddr) {
    let mut socket = UdpSocket::open(true).expect("open");
    socket.set_option(SocketOption::Ipv6Only, 0).expect("IPV6_V6ONLY");
    socket.bind(address).expect("bind");
    let address = socket.local_address().expect("an address");
    (socket, address)
}

fn send(socket: &mut UdpSocket, to: Option<SocketAddr>, bytes: &[u8]) -> Result<usize, Errno> {
    socket.send(&mut Buffers::default(), &Owned::new(&[(to, bytes.to_vec())]).batch())
}

fn receive(socket: &mut UdpSocket) -> (SocketAddr, Vec<u8>) {
    assert!(ready(socket, true, false, PATIENCE));
    let mut datagrams = received(&mut vec![0; MESSAGE_BYTES], 1, |payload, table| {
        socket.receive(&mut Buffers::default(), payload, table).expect("receive");
    });
    datagrams.pop().expect("a datagram")
}

#[test]
fn a_socket_of_both_protocols_names_ipv4_peers_as_what_they_are() {
    let (mut both, own) = dual(UNSPECIFIED);
    assert_eq!(own.ip(), UNSPECIFIED.ip());
    for loopback in LOOPBACKS {
        let (mut peer, address) = bound(loopback);
        assert_eq!(send(&mut both, Some(address), b"there"), Ok(1));
        let (source, bytes) = receive(&mut peer);
        assert_eq!((source, &bytes[..]), (SocketAddr::new(loopback.ip(), own.port()), &b"there"[..]));
        assert_eq!(send(&mut peer, Some(source), b"back"), Ok(1));
        assert_eq!(receive(&mut both), (address, b"back".to_vec()));
    }
}

#[test]
fn a_socket_of_both_protocols_connects_by_either_and_hears_of_refusals() {
    for loopback in LOOPBACKS {
        let (mut both, own) = dual(UNSPECIFIED);
        let (mut peer, address) = bound(loopback);
        both.connect(address).expect("connect");
        assert_eq!(both.local_address(), Ok(SocketAddr::new(loopback.ip(), own.port())));
        assert_eq!(send(&mut both, None, b"there"), Ok(1));
        assert_eq!(receive(&mut peer).0, SocketAddr::new(loopback.ip(), own.port()));
        assert!(both.option(SocketOption::PathMtu).expect("IP_MTU") > 1280);

        let (_refusing, nobody) = refusing(loopback);
        both.connect(nobody).expect("connect");
        assert_eq!(send(&mut both, None, b"refused"), Ok(1));
        assert!(ready(&both, true, false, PATIENCE));
        assert_eq!(both.check_send(), Err(Errno(libc::ECONNREFUSED)));
        both.disconnect().expect("disconnect");
        assert_eq!(both.local_address(), Ok(own));
    }
}

/// Linux forgets an error that a message of a batch meets behind others, unless the socket keeps those of its peer's protocol.
#[test]
fn a_refusal_within_a_batch_of_a_socket_of_both_protocols_is_told() {
    for loopback in LOOPBACKS {
        let (mut both, _) = dual(UNSPECIFIED);
        let (_refusing, nobody) = refusing(loopback);
        both.connect(nobody).expect("connect");
        let lengths = [(None, vec![0; 1]), (None, vec![0; 2]), (None, vec![0; 3])];
        let sent = both.send(&mut Buffers::default(), &Owned::new(&lengths).batch());
        assert!(sent.is_ok_and(|count| count >= 1), "{sent:?}");
        assert_eq!(both.check_send(), Err(Errno(libc::ECONNREFUSED)), "{loopback}");
    }
}

#[test]
fn runs_leave_a_socket_of_both_protocols_segmented() {
    for loopback in LOOPBACKS {
        let (mut both, _) = dual(UNSPECIFIED);
        let (mut peer, to) = bound(loopback);
        both.set_option(SocketOption::CoalescingReceive, i32::from(both.segmentation())).expect("UDP_GRO");
        let run: Vec<_> = (0..60).map(|i| (Some(to), vec![i; 1000])).collect();
        send_all(&mut both, &run).expect("send");
        let there = support::receive(&mut peer, run.len(), 1024);
        assert!(there.iter().map(|(_, bytes)| bytes).eq(run.iter().map(|(_, bytes)| bytes)));
        assert_eq!(both.statistics().segmented_runs > 0, both.segmentation());
        let own = SocketAddr::new(loopback.ip(), both.local_address().expect("an address").port());
        let back: Vec<_> = run.into_iter().map(|(_, bytes)| (Some(own), bytes)).collect();
        send_all(&mut peer, &back).expect("send");
        let here = support::receive(&mut both, back.len(), 1024);
        assert!(here.iter().map(|(source, bytes)| (*source, bytes)).eq(back.iter().map(|(_, bytes)| (to, bytes))));
    }
}

#[test]
fn a_socket_of_both_protocols_binds_to_an_address_of_ipv4() {
    let (_both, own) = dual(LOOPBACKS[0]);
    assert_eq!(own.ip(), LOOPBACKS[0].ip());
    assert_ne!(own.port(), 0);
}

#[test]
fn options_are_what_they_were_set_to() {
    let values = [
        (SocketOption::HopLimit, 7),
        (SocketOption::ReuseAddress, 1),
        (SocketOption::ReusePort, 1),
        (SocketOption::Broadcast, 1),
        (SocketOption::MulticastHopLimit, 5),
        (SocketOption::MulticastLoopback, 0),
        (SocketOption::TrafficClass, 0xb8),
        (SocketOption::DontFragment, 1),
        (SocketOption::DontFragment, 2),
        (SocketOption::DontFragment, 0),
    ];
    let mut both = UdpSocket::open(true).expect("open");
    both.set_option(SocketOption::Ipv6Only, 0).expect("IPV6_V6ONLY");
    let sockets = [UdpSocket::open(false).expect("open"), UdpSocket::open(true).expect("open"), both];
    for mut socket in sockets {
        for (option, value) in values {
            socket.set_option(option, value).unwrap_or_else(|errno| panic!("{option:?}: {errno}"));
            assert_eq!(socket.option(option), Ok(value), "{option:?}");
        }
        assert_eq!(socket.option(SocketOption::PathMtu), Err(Errno(libc::ENOTCONN)));
    }
}

#[test]
fn numbers_name_options() {
    for number in 1..=SocketOption::LAST {
        assert_eq!(SocketOption::of(number).map(|option| option as i32), Some(number));
    }
    assert_eq!((SocketOption::of(0), SocketOption::of(SocketOption::LAST + 1)), (None, None));
}

/// Of IPv4, since a loopback interface has no route for groups of IPv6.
#[test]
fn a_group_is_heard_while_it_is_joined_and_from_its_source_alone() {
    let interface = sys::interface_index("lo").expect("the loopback interface");
    let group = Ipv4Addr::new(232, 1, 2, 3).into();
    let (mut listener, own) = bound(unspecified(LOOPBACKS[0]));
    let (mut sender, source) = bound(LOOPBACKS[0]);
    sender.set_option(SocketOption::MulticastInterface, interface as i32).expect("IP_MULTICAST_IF");
    let to = SocketAddr::new(group, own.port());
    let mut hears = |from: Option<IpAddr>| {
        let membership = Membership { group, source: from, interface };
        listener.set_membership(&membership, true).expect("join");
        assert_eq!(send(&mut sender, Some(to), b"news"), Ok(1));
        let heard = ready(&listener, true, false, Duration::from_millis(50));
        if heard {
            assert_eq!(receive(&mut listener), (source, b"news".to_vec()));
        }
        listener.set_membership(&membership, false).expect("leave");
        assert_eq!(send(&mut sender, Some(to), b"nobody hears"), Ok(1));
        assert!(!ready(&listener, true, false, Duration::from_millis(50)));
        heard
    };
    assert!(hears(None));
    assert!(hears(Some(source.ip())));
    assert!(!hears(Some(Ipv4Addr::new(192, 0, 2, 1).into())));
}

/// Where there is a route to the group, or else ENODEV.
#[test]
fn without_an_interface_a_group_is_joined_and_left_once() {
    let (listener, _) = bound(unspecified(LOOPBACKS[0]));
    for source in [None, Some(Ipv4Addr::new(192, 0, 2, 1).into())] {
        let membership = Membership { group: Ipv4Addr::new(232, 1, 2, 4).into(), source, interface: 0 };
        let set = |join| listener.set_membership(&membership, join);
        if set(true) == Err(Errno(libc::ENODEV)) {
            continue;
        }
        // Linux takes a source twice.
        assert!(source.is_some() || set(true) == Err(Errno(libc::EADDRINUSE)));
        assert_eq!(set(false), Ok(()));
        // Linux says EINVAL where no source is left.
        assert!(source.is_some() && set(false).is_err() || set(false) == Err(Errno(libc::EADDRNOTAVAIL)));
    }
}
