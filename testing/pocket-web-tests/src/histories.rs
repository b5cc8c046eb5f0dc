//! Histories of the simulator: client, server and stores in one browser page, on virtual time.

use wasm_bindgen::prelude::wasm_bindgen;

/// Runs the history of a seed, and says what it came to. The driver compares it with what it comes to natively.
#[wasm_bindgen]
pub fn history(seed: u32) -> String {
    let digest = pocket_sim::digest(u64::from(seed));
    format!("{digest:?}")
}
