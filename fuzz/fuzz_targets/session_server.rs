//! See `pocket_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    pocket_fuzz::run("session_server", bytes);
});
