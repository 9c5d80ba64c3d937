//! The layout of a batch's table, the same numbers as in `ts/arena.ts`.

/// Raised whenever a number below changes; compared when the JavaScript half loads the binary.
pub const LAYOUT_VERSION: u32 = 1;
/// Datagrams in one table: the kernel's own limit of messages a call (`UIO_MAXIOV`).
pub const MAX_DATAGRAMS: usize = 1024;
/// Bytes of an entry: offset, length and address index, a `u32` each.
pub const ENTRY_BYTES: usize = 12;
/// Where the address slots begin.
pub const ADDRESSES_OFFSET: usize = MAX_DATAGRAMS * ENTRY_BYTES;
/// Bytes of an address slot: family, port, 16 bytes of address, flow info, scope id.
pub const SLOT_BYTES: usize = 32;
/// Bytes of the whole table.
pub const TABLE_BYTES: usize = ADDRESSES_OFFSET + MAX_DATAGRAMS * SLOT_BYTES;
/// The address index of a datagram that names no address: its socket is connected.
pub const NO_ADDRESS: u32 = u32::MAX;
