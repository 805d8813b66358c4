//! Waiting for a task: asked often at first, then seldom, and never for ever.

use std::time::Duration;

use crate::api::{Progress, Result};

/// The first pause between two looks; starts of containers take a few of these.
const FIRST: Duration = Duration::from_millis(50);

/// The longest pause between two looks.
const LONGEST: Duration = Duration::from_secs(2);

/// Asks until a task has ended or `limit` is over; then it still runs. A look that finds nobody is no answer, and the next one may be.
pub(crate) async fn waiting<F: Future<Output = Result<Progress>>>(
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> Result<Progress> {
    let begun = tokio::time::Instant::now();
    let mut pause = FIRST;
    loop {
        match look().await {
            Ok(Progress::Runs) => {}
            Ok(ended) => return Ok(ended),
            Err(error) if error.is_unreachable() && begun.elapsed() < limit => {}
            Err(error) => return Err(error),
        }
        let left = limit.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(Progress::Runs);
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST);
    }
}
