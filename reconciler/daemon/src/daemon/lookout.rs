//! The poller: a thread that looks, while the loop sleeps, whether anything has changed.
//!
//! The loop could poll by itself. But most of the cost of an idle poll is the wake-up, and waking one plain thread costs less
//! than waking the async runtime.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::Notify;

/// Whether anything that the cycle reads may have moved since it last began to run: what [`super::Cycle::has_moved`]
/// would say, as far as it can be seen from outside.
pub type Look = Box<dyn FnMut() -> bool + Send>;

/// A poller; it stops when this is dropped.
pub(super) struct Lookout {
    seen: Arc<Notify>,
    relieved: Arc<AtomicBool>,
    thread: Thread,
}

impl fmt::Debug for Lookout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookout").finish_non_exhaustive()
    }
}

impl Lookout {
    /// Looks after `every`, again and again.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn post(mut look: Look, every: Duration) -> io::Result<Self> {
        let (seen, relieved) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (tell, is_relieved) = (Arc::clone(&seen), Arc::clone(&relieved));
        let keeps_watch = move || {
            loop {
                // A spurious wake-up only means one look too many.
                thread::park_timeout(every);
                if is_relieved.load(Ordering::Acquire) {
                    return;
                }
                if look() {
                    tell.notify_one();
                }
            }
        };
        let thread = thread::Builder::new()
            .name("lookout".to_owned())
            .spawn(keeps_watch)?;
        Ok(Self {
            seen,
            relieved,
            thread: thread.thread().clone(),
        })
    }

    /// Returns when something was seen since it last returned. What is seen is told again and again, at each look.
    pub(super) async fn seen(&self) {
        self.seen.notified().await;
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        // It ends by itself, at most one look later; nobody waits for it, as nothing it does can be in the way.
        self.relieved.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_moves_is_told_and_told_again_until_it_is_relieved() {
        let (gone, is_gone) = mpsc::channel::<()>();
        let mut looks = 0;
        let look = move || {
            let _ = &gone;
            looks += 1;
            looks >= 3
        };
        let lookout = Lookout::post(Box::new(look), Duration::from_millis(1)).unwrap();
        lookout.seen().await;
        lookout.seen().await;
        drop(lookout);
        // Its thread has ended when what it held is let go of.
        assert_eq!(is_gone.recv(), Err(mpsc::RecvError));
    }

    #[test]
    fn one_who_is_relieved_does_not_sleep_on() {
        let (gone, is_gone) = mpsc::channel::<()>();
        let look = move || {
            let _ = &gone;
            unreachable!("nobody waits for a day")
        };
        drop(Lookout::post(Box::new(look), Duration::from_secs(86_400)).unwrap());
        assert_eq!(is_gone.recv(), Err(mpsc::RecvError));
    }
}
