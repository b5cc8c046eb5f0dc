//! The doorbell: wakes readers when a head has moved. It carries no data, and nothing depends on hearing each ring.

use pocket_core::Seq;
use tokio::sync::watch;

/// The doorbell of one namespace.
#[derive(Debug)]
pub(crate) struct Doorbell {
    head: watch::Sender<Seq>,
}

impl Doorbell {
    pub(crate) fn new() -> Self {
        Self {
            head: watch::Sender::new(Seq::ZERO),
        }
    }

    /// Wakes whoever listens, if `head` is news.
    pub(crate) fn ring(&self, head: Seq) {
        self.head.send_if_modified(|known| {
            let moved = head > *known;
            *known = head.max(*known);
            moved
        });
    }

    /// Listens from now on; the newest head can always be asked for.
    pub(crate) fn listen(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newer_head_rings() {
        let doorbell = Doorbell::new();
        let mut listener = doorbell.listen();
        doorbell.ring(Seq::new(3));
        assert!(listener.has_changed().unwrap());
        assert_eq!(*listener.borrow_and_update(), Seq::new(3));
        doorbell.ring(Seq::new(2));
        doorbell.ring(Seq::new(3));
        assert!(!listener.has_changed().unwrap());
    }
}
