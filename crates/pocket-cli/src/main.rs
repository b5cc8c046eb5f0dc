//! The reference pair.
fn main() {}
