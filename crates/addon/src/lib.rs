//! N-API exports over `wasi-udp-engine`: free functions of integers and buffers, no panic past this point.

use napi_derive::napi;

/// The layout of the table that this binary reads; the JavaScript half compares it with its own.
#[napi(catch_unwind)]
pub fn layout() -> Vec<u32> {
    use wasi_udp_engine::table as t;
    vec![
        t::LAYOUT_VERSION,
        t::MAX_DATAGRAMS as u32,
        t::ENTRY_BYTES as u32,
        t::ADDRESSES_OFFSET as u32,
        t::SLOT_BYTES as u32,
        t::TABLE_BYTES as u32,
    ]
}

/// The version of this binary, equal to package.json's.
#[napi(catch_unwind)]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
