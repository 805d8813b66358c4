//! Several futures at once on one thread, never more than a bound, as a queue hands them out.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// A job, on its way.
pub(crate) type Job<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Runs what `next` hands out, at most `limit` at once, until it hands out nothing and nothing runs; `done` is told of each end at once.
///
/// One thread polls all of them, so `next` and `done` never run at the same time as a job or each other: what they share needs no lock.
pub(crate) async fn run<'a, K, T>(
    limit: usize,
    mut next: impl FnMut() -> Option<(K, Job<'a, T>)>,
    mut done: impl FnMut(K, T),
) {
    let mut running: Vec<(K, Job<'a, T>)> = Vec::new();
    loop {
        while running.len() < limit.max(1) {
            match next() {
                Some(job) => running.push(job),
                None => break,
            }
        }
        if running.is_empty() {
            return;
        }
        let (index, output) = poll_fn(|context| {
            for (index, (_, job)) in running.iter_mut().enumerate() {
                if let Poll::Ready(output) = job.as_mut().poll(context) {
                    return Poll::Ready((index, output));
                }
            }
            Poll::Pending
        })
        .await;
        let (key, _) = running.swap_remove(index);
        done(key, output);
    }
}

/// Runs all of `jobs`, at most `limit` at once; the outputs are in the order of the jobs.
pub(crate) async fn all<'a, F: Future + 'a>(
    limit: usize,
    jobs: impl IntoIterator<Item = F>,
) -> Vec<F::Output> {
    let mut jobs = jobs.into_iter().enumerate();
    let mut outputs = Vec::new();
    let next = || {
        let (index, job) = jobs.next()?;
        let job: Job<'a, F::Output> = Box::pin(job);
        Some((index, job))
    };
    run(limit, next, |index, output| outputs.push((index, output))).await;
    outputs.sort_by_key(|(index, _)| *index);
    outputs.into_iter().map(|(_, output)| output).collect()
}
