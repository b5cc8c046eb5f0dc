//! CRC-32 (ISO-HDLC, as in gzip): the sum that stored values and pages carry.

#[cfg(not(target_arch = "wasm32"))]
pub use crc32fast::Hasher as Crc32;
#[cfg(target_arch = "wasm32")]
pub use small::Crc32;

/// The sum of these bytes.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = Crc32::new();
    sum.update(bytes);
    sum.finalize()
}

/// For WebAssembly: the tables of `crc32fast` are 16 kB that no compression makes smaller, and a page would download them.
/// These are made when the first sum is.
#[cfg(any(test, target_arch = "wasm32"))]
#[allow(unreachable_pub, reason = "native code tests it only")]
mod small {
    use std::sync::OnceLock;

    /// How many bytes are taken at once, each by a table of its own.
    const STEP: usize = 8;

    /// The polynomial, its bits reversed.
    const POLYNOMIAL: u32 = 0xedb8_8320;

    type Tables = [[u32; 256]; STEP];

    /// A sum in the making.
    #[derive(Clone, Copy, Debug)]
    pub struct Crc32(u32);

    impl Default for Crc32 {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Crc32 {
        /// The sum of no bytes.
        pub fn new() -> Self {
            Self(!0)
        }

        /// With these bytes behind those before.
        pub fn update(&mut self, bytes: &[u8]) {
            static TABLES: OnceLock<Tables> = OnceLock::new();
            let tables = TABLES.get_or_init(tables);
            let mut steps = bytes.chunks_exact(STEP);
            for step in steps.by_ref() {
                let sum = self.0.to_le_bytes();
                self.0 = (0..STEP).fold(0, |next, at| {
                    let byte = step[at] ^ sum.get(at).copied().unwrap_or(0);
                    next ^ tables[STEP - 1 - at][usize::from(byte)]
                });
            }
            for byte in steps.remainder() {
                let [low, ..] = self.0.to_le_bytes();
                self.0 = (self.0 >> 8) ^ tables[0][usize::from(low ^ byte)];
            }
        }

        /// The sum.
        pub fn finalize(self) -> u32 {
            !self.0
        }
    }

    /// The first table: what a byte does to the sum; each other: what it does when one more byte follows.
    fn tables() -> Tables {
        let mut tables = [[0; 256]; STEP];
        for byte in 0..=255_u8 {
            let mut sum = u32::from(byte);
            for _ in 0..8 {
                sum = (sum >> 1) ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 };
            }
            tables[0][usize::from(byte)] = sum;
        }
        for further in 1..STEP {
            for byte in 0..=255_u8 {
                let sum = tables[further - 1][usize::from(byte)];
                let [low, ..] = sum.to_le_bytes();
                tables[further][usize::from(byte)] = (sum >> 8) ^ tables[0][usize::from(low)];
            }
        }
        tables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_implementations_give_the_sum_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let mut sum = small::Crc32::new();
        sum.update(b"123456789");
        assert_eq!(sum.finalize(), 0xcbf4_3926);
    }

    #[test]
    fn both_give_one_sum_wherever_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..300_u32).map(|at| ((at * at) >> 3) as u8).collect();
        for cut in 0..bytes.len() {
            let (front, back) = bytes.split_at(cut);
            let mut sum = small::Crc32::default();
            sum.update(front);
            sum.update(back);
            assert_eq!(sum.finalize(), crc32(&bytes), "cut at {cut}");
            let mut sum = small::Crc32::new();
            sum.update(front);
            assert_eq!(sum.finalize(), crc32(front), "of {cut} bytes");
        }
    }
}
