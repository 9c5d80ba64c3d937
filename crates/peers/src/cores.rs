//! Which core who runs on. Where the scheduler chooses, a server is woken now on its client's core and now on another, which
//! takes some microseconds more; and what is compared would be the scheduler's choices.

use std::{fs, io, mem};

/// Gives this process one core and each thread of the server another, of those that this process may use; or leaves them
/// where they are, if there is only one.
pub fn keep_apart(server: libc::pid_t) -> io::Result<()> {
    let size = mem::size_of::<libc::cpu_set_t>();
    // SAFETY: zeros are a valid set, the empty one.
    let mut allowed: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the set is ours, of that size, and lives through the call.
    if unsafe { libc::sched_getaffinity(0, size, &mut allowed) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the numbers are those that the set has room for.
    let mut cores = (0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &allowed) });
    let (Some(first), Some(last)) = (cores.next(), cores.next_back()) else { return Ok(()) };
    for entry in fs::read_dir(format!("/proc/{server}/task"))? {
        let thread = entry?.file_name().to_str().and_then(|name| name.parse().ok()).expect("a thread's number");
        run_on(thread, last)?;
    }
    run_on(0, first)
}

/// Has a thread run on that core alone; 0 is the thread that calls.
fn run_on(thread: libc::pid_t, core: usize) -> io::Result<()> {
    // SAFETY: zeros are a valid set, the empty one.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the core was a member of a set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the set is ours, of that size, and lives through the call.
    match unsafe { libc::sched_setaffinity(thread, mem::size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
