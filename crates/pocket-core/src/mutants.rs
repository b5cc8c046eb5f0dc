//! Planted bugs for the simulator, chosen at run time. Compiled in with the feature `mutants` only.

#[cfg(feature = "mutants")]
thread_local! {
    static ACTIVE: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

/// Makes this thread run with one planted bug, or with none.
#[cfg(feature = "mutants")]
pub fn plant(name: Option<&str>) {
    ACTIVE.with_borrow_mut(|active| *active = name.map(str::to_owned));
}

/// What a search of binaries finds where planted bugs were compiled in.
#[cfg(feature = "mutants")]
#[used]
static MARKER: &str = "pocket-mutant:compiled-in";

/// Whether the planted bug of this name is active on this thread.
// Not inlined: comparisons that are folded away could hide the names from that search.
#[cfg(feature = "mutants")]
#[inline(never)]
pub fn active(name: &str) -> bool {
    ACTIVE.with_borrow(|active| active.as_deref() == Some(name))
}

/// Never, in a product: the name is not even compiled in.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the name must vanish from product binaries, also in debug builds' linking"
)]
pub const fn active(_name: &str) -> bool {
    false
}
