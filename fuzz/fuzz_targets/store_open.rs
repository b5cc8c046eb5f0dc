//! See `pocket_fuzz`.
#![no_main]

// A panic of the backend that is caught and told as damage is none of libFuzzer's business; one that nobody catches is.
libfuzzer_sys::fuzz_target!(
    init: drop(std::panic::take_hook()),
    |bytes: &[u8]| {
        pocket_fuzz::run("store_open", bytes);
    }
);
