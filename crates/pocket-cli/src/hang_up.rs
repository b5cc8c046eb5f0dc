//! Whether anybody still reads stdout: a command that waits for news would learn it only when it has some to write.

/// Ends when whoever read stdout has gone. A file is always read.
#[cfg(unix)]
pub(crate) async fn of_stdout() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    /// How long the thread outlives whoever waits.
    const TURN: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 500_000_000,
    };

    let (gone, told) = tokio::sync::oneshot::channel();
    let watch = move || {
        let stdout = std::io::stdout();
        while !gone.is_closed() {
            // What is asked for is nothing: errors and hang-ups are told always.
            let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
            match poll(&mut watched, Some(&TURN)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => {
                    let _ = gone.send(());
                    return;
                }
                Err(_) => return,
            }
        }
    };
    let begun = std::thread::Builder::new()
        .name("pocket-hang-up".to_owned())
        .spawn(watch);
    if begun.is_err() || told.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Nobody tells.
#[cfg(not(unix))]
pub(crate) async fn of_stdout() {
    std::future::pending::<()>().await;
}
