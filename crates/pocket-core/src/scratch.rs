//! Memory for bytes on their way, used again and again: of a row before it is sealed, of a document before it is divided.

use std::cell::Cell;
use std::io;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Memory of more bytes is given back.
const MOST: usize = 64 * 1024;

/// Lends empty memory.
pub(crate) fn with<T>(run: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    // Taken out meanwhile: what runs may want some itself, and gets other.
    let mut bytes = SPARE.take();
    let result = run(&mut bytes);
    if bytes.capacity() <= MOST {
        bytes.clear();
        SPARE.set(bytes);
    }
    result
}

/// Appends what is written. `Vec`'s own `Write` asks at each write whether there is memory at all.
pub(crate) struct Sink<'a>(pub(crate) &'a mut Vec<u8>);

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_empty_each_time_also_inside_of_itself_and_large_memory_is_not_kept() {
        for size in [10, MOST + 1, 10] {
            with(|outer| {
                assert!(outer.is_empty());
                outer.resize(size, 1);
                with(|inner| {
                    assert!(inner.is_empty());
                    inner.push(2);
                });
                assert!(outer.iter().all(|byte| *byte == 1));
            });
            with(|later| assert!(later.is_empty() && later.capacity() <= MOST));
        }
    }
}
