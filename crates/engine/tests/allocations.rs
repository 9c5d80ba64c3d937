//! Nothing is allocated in a steady state: a program of its own, whose allocator counts.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;
use support::{LOOPBACKS, Owned, bound, ready};
use wasi_udp_engine::socket::Buffers;
use wasi_udp_engine::table::{Batch, ReceivedTable, TABLE_BYTES};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work, by its own contract; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn sends_checks_and_receives_allocate_nothing_once_warm() {
    let (mut table, mut payload) = (vec![0; TABLE_BYTES], vec![0; 16 * 65_536]);
    for loopback in LOOPBACKS {
        let (mut receiver, to) = bound(loopback);
        let (_other, elsewhere) = bound(loopback);
        let _ = receiver.coalesce_receives(true);
        let (mut sender, _) = bound(loopback);
        let mut buffers = Buffers::default();
        let list: Vec<_> = (0..100)
            .map(|index| (Some(if index % 10 == 0 { elsewhere } else { to }), vec![0; 50 + index / 30]))
            .collect();
        let owned = Owned::new(&list);
        let mut warm = 0;
        for round in 0..50 {
            if round == 10 {
                warm = ALLOCATIONS.get();
            }
            sender.set_segmentation(round % 3 != 0);
            let batch =
                Batch::new(&owned.payload, &owned.table, owned.entries, owned.addresses).expect("a sound table");
            assert_eq!(sender.send(&mut buffers, &batch), Ok(100));
            assert_eq!(sender.check_send(), Ok(true));
            let mut arrived = 0;
            while arrived < 90 {
                // Less than a coalesced message holds, so that some are kept.
                let mut received = ReceivedTable::new(&mut table, 4).expect("a table");
                receiver.receive(&mut buffers, &mut payload, &mut received).expect("receive");
                arrived += received.len();
                let nothing = received.is_empty();
                if nothing {
                    let before = ALLOCATIONS.get();
                    assert!(ready(&receiver, true, false, Duration::from_secs(20)), "{arrived} arrived");
                    warm += ALLOCATIONS.get() - before;
                }
            }
        }
        assert_eq!(ALLOCATIONS.get() - warm, 0, "{loopback}");
    }
}
