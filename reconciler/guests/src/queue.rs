//! Who is next: the steps of one guest one after the other, several guests at once (H10, G10).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Jobs in order, each about one guest. Who takes jobs out and tells of their ends does both on one thread, so there is nothing to lock;
/// in which order the ends come is anybody's guess, and `tests` tries every one.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// What has not begun, by guest; guests in the order in which they came.
    waiting: BTreeMap<usize, (String, VecDeque<T>)>,
    numbers: BTreeMap<String, usize>,
    /// Guests of which a job is under way.
    busy: BTreeSet<usize>,
    parallel: usize,
    closed: bool,
}

impl<T> Queue<T> {
    /// Jobs in order, of which at most `parallel` are under way at once.
    pub(crate) fn new(jobs: impl IntoIterator<Item = (String, T)>, parallel: usize) -> Self {
        let mut queue = Self {
            waiting: BTreeMap::new(),
            numbers: BTreeMap::new(),
            busy: BTreeSet::new(),
            parallel: parallel.max(1),
            closed: false,
        };
        for (guest, job) in jobs {
            let next = queue.numbers.len();
            let number = *queue.numbers.entry(guest.clone()).or_insert(next);
            let (_, jobs) = queue
                .waiting
                .entry(number)
                .or_insert_with(|| (guest, VecDeque::new()));
            jobs.push_back(job);
        }
        queue
    }

    /// The next job that may begin, with the number of its guest: none while as many as allowed are under way.
    pub(crate) fn take(&mut self) -> Option<(usize, T)> {
        if self.closed || self.busy.len() >= self.parallel {
            return None;
        }
        let (number, (_, jobs)) = self
            .waiting
            .iter_mut()
            .find(|(number, _)| !self.busy.contains(number))?;
        let number = *number;
        let job = jobs.pop_front().expect("guests without jobs are let go of");
        if jobs.is_empty() {
            self.waiting.remove(&number);
        }
        self.busy.insert(number);
        Some((number, job))
    }

    /// The job of that guest has ended.
    pub(crate) fn ended(&mut self, number: usize) {
        self.busy.remove(&number);
    }

    /// Nothing more begins; what is under way ends.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays every order in which jobs can end, and in which ends and beginnings can alternate.
    fn every_order(jobs: &[(&str, u32)], parallel: usize, close_after: Option<usize>) -> usize {
        #[derive(Clone, Copy)]
        enum Move {
            Take,
            End(usize),
        }
        let begin = || {
            Queue::new(
                jobs.iter().map(|(guest, job)| ((*guest).to_owned(), *job)),
                parallel,
            )
        };
        let mut paths = vec![Vec::<Move>::new()];
        let mut played = 0;
        while let Some(path) = paths.pop() {
            let mut queue = begin();
            let mut running: Vec<(usize, u32)> = Vec::new();
            let mut begun: Vec<u32> = Vec::new();
            for (step, it) in path.iter().enumerate() {
                match it {
                    Move::Take => {
                        let (number, job) = queue.take().expect("was there when the path was made");
                        let guest = |job: u32| jobs.iter().find(|it| it.1 == job).unwrap().0;
                        // Never two of one guest, never too many, and each guest's in order.
                        assert!(running.iter().all(|it| guest(it.1) != guest(job)));
                        assert!(running.len() < parallel.max(1));
                        let earlier = jobs.iter().take_while(|it| it.1 != job);
                        assert!(
                            earlier
                                .filter(|it| it.0 == guest(job))
                                .all(|it| begun.contains(&it.1))
                        );
                        begun.push(job);
                        running.push((number, job));
                    }
                    Move::End(index) => {
                        let (number, _) = running.remove(*index);
                        queue.ended(number);
                    }
                }
                if close_after == Some(step) {
                    queue.close();
                }
            }
            let mut moves: Vec<Move> = (0..running.len()).map(Move::End).collect();
            let more = queue.take().is_some();
            if more {
                moves.push(Move::Take);
            }
            if moves.is_empty() {
                played += 1;
                if close_after.is_none() {
                    let mut all = begun.clone();
                    all.sort_unstable();
                    assert_eq!(
                        all,
                        jobs.iter().map(|it| it.1).collect::<Vec<_>>(),
                        "each job once"
                    );
                }
            }
            for it in moves {
                let mut longer = path.clone();
                longer.push(it);
                paths.push(longer);
            }
        }
        played
    }

    /// G10, G26, H10, H17.
    #[test]
    fn jobs_of_a_guest_never_overlap_whatever_the_order_of_ends() {
        let jobs = [("a", 0), ("b", 1), ("a", 2), ("c", 3), ("b", 4), ("a", 5)];
        for parallel in 0..=4 {
            let played = every_order(&jobs, parallel, None);
            assert!(
                played >= usize::from(parallel > 1) * 10,
                "{played} orders at {parallel}"
            );
        }
        for step in 0..6 {
            every_order(&jobs[..5], 2, Some(step));
        }
    }
}
