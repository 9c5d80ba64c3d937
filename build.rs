//! Links the addon the way Node.js expects: its symbols come from the running process.
fn main() {
    napi_build::setup();
}
