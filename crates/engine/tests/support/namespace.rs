//! Network namespaces of a test's own: addresses, routes and shaped links that the machine does not notice.

use std::env;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use wasi_udp_engine::socket::UdpSocket;

const INSIDE: &str = "WASI_UDP_TEST_NAMESPACE";

/// Runs the rest of the test `name` in a new network namespace with a loopback device: runs this program again for that one
/// test, and says `true` there. Where the system gives no namespaces, says so and passes.
pub fn entered(name: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let again = env::current_exe().expect("this program");
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "sh", "-ec", script, "sh"]);
        command
    };
    match unshare("ip link set lo up && tc qdisc show dev lo").output() {
        Ok(output) if output.status.success() => {}
        refused => {
            eprintln!("{name} is skipped: it needs unshare, ip and tc, and leave to use them ({refused:?})");
            return false;
        }
    }
    let output = unshare("ip link set lo up; exec \"$@\"")
        .arg(again)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare ran before");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    false
}

/// Runs commands of a shell in the namespace of this thread.
pub fn sh(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).status().expect("sh");
    assert!(status.success(), "{script}");
}

/// Joins this namespace and a new one by a veth pair of that MTU, named `near` and `far`: 10.9.0.1 and fd09::1 are here,
/// 10.9.0.2 and fd09::2 are there. Sockets bound to the addresses there, one each; the namespace lives as long as they do.
pub fn joined<const N: usize>(mtu: usize, there: [SocketAddr; N]) -> [(UdpSocket, SocketAddr); N] {
    let (tell_thread, thread_told) = mpsc::channel();
    let (tell_linked, linked) = mpsc::channel::<()>();
    let other = thread::spawn(move || {
        // SAFETY: the call has no arguments in memory, and moves this thread alone.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "unshare");
        // SAFETY: the call has no arguments, and cannot fail.
        tell_thread.send(unsafe { libc::gettid() }).expect("the test waits");
        linked.recv().expect("the test links");
        sh("ip addr add 10.9.0.2/24 dev far; ip addr add fd09::2/64 dev far nodad; ip link set far up");
        there.map(super::bound)
    });
    let thread = thread_told.recv().expect("the other namespace");
    sh(&format!(
        "ip link add near mtu {mtu} type veth peer name far mtu {mtu} netns {thread}
         ip addr add 10.9.0.1/24 dev near; ip addr add fd09::1/64 dev near nodad; ip link set near up"
    ));
    tell_linked.send(()).expect("the other namespace waits");
    other.join().expect("the other namespace")
}
