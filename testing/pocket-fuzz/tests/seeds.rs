//! Each fuzz target over its seeds, over what once crashed it, and over damaged copies of both: on stable, in seconds.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use pocket_fuzz::{TARGETS, seeds};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Damaged copies of each input.
const COPIES: usize = 20;

#[test]
fn every_target_bears_its_seeds_and_damaged_copies_of_them() {
    let mut dice = ChaCha8Rng::seed_from_u64(7);
    for target in TARGETS {
        let mut inputs = seeds::of(target.name);
        assert!(inputs.len() > 2, "{} has seeds", target.name);
        inputs.extend(seeds::regressions(target.name));
        for (name, bytes) in inputs {
            println!("{}: {name}", target.name);
            (target.run)(&bytes);
            for _ in 0..COPIES {
                (target.run)(&damaged(&bytes, &mut dice));
            }
        }
    }
}

/// A few bytes changed, left out, repeated or added.
fn damaged(bytes: &[u8], dice: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..dice.random_range(1..6) {
        let at = dice.random_range(0..=bytes.len());
        let end = (at + dice.random_range(1..8)).min(bytes.len());
        match dice.random_range(0..5) {
            0 if at < bytes.len() => bytes[at] = dice.random(),
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.random_range(0..8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                bytes.extend(part);
            }
            _ => bytes.insert(at, dice.random_range(0..16)),
        }
    }
    bytes
}

#[test]
fn every_target_has_a_binary_of_its_own() {
    let manifest = std::fs::read_to_string(seeds::root().join("fuzz/Cargo.toml")).unwrap();
    for target in TARGETS {
        let path = format!("fuzz_targets/{}.rs", target.name);
        assert!(manifest.contains(&format!("path = \"{path}\"")), "{path}");
        let body = std::fs::read_to_string(seeds::root().join("fuzz").join(&path)).unwrap();
        let call = format!("pocket_fuzz::run(\"{}\", bytes)", target.name);
        assert!(body.contains(&call), "{path} does not run its target");
    }
    let binaries = manifest.matches("[[bin]]").count();
    assert_eq!(binaries, TARGETS.len());
}
