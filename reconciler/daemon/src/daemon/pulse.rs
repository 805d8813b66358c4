//! The health of a loop: whether its cycles come to an end (liveness), and whether the last one went well (readiness).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Cycle, CycleStatus, Health, Look, PATIENCE, Tells, Why};

/// The health of one loop, shared with whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Mutex<Beat>>);

#[derive(Debug, Default)]
struct Beat {
    /// When the cycle that runs began, or last asked whether it is to stop; `None` while none runs.
    since: Option<Instant>,
    /// How the last one went.
    last: Option<Health>,
}

impl Pulse {
    /// Whether no cycle has been running for too long without a sign of life.
    pub fn turns(&self, now: Instant) -> bool {
        let since = self.beat().since;
        since.is_none_or(|since| now.saturating_duration_since(since) < PATIENCE)
    }

    /// Whether there was a cycle, and the last one went well.
    pub fn is_well(&self) -> bool {
        self.beat().last == Some(Health::Well)
    }

    /// The cycle is being put together, begins, or gives a sign of life: its patience is counted from now on. Putting it
    /// together counts like a cycle.
    pub fn begins(&self) {
        self.beat().since = Some(Instant::now());
    }

    /// It could not be put together, or went down.
    pub fn fails(&self) {
        *self.beat() = Beat {
            since: None,
            last: Some(Health::Broken),
        };
    }

    fn beat(&self) -> MutexGuard<'_, Beat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cycle whose pulse can be felt.
pub struct Pulsing {
    /// What runs.
    pub cycle: Box<dyn Cycle>,
    /// Who is told how it goes.
    pub pulse: Pulse,
}

impl Cycle for Pulsing {
    fn has_moved(&mut self) -> bool {
        self.cycle.has_moved()
    }

    fn prepare(&mut self) {
        self.cycle.prepare();
    }

    fn run(&mut self, why: Why, stop: &dyn Fn() -> bool) -> CycleStatus {
        self.pulse.begins();
        let stop = || {
            self.pulse.begins();
            stop()
        };
        let summary = self.cycle.run(why, &stop);
        *self.pulse.beat() = Beat {
            since: None,
            last: Some(summary.health),
        };
        summary
    }

    fn watch_paths(&self) -> Vec<PathBuf> {
        self.cycle.watch_paths()
    }

    fn look(&self, tells: Tells, every: Duration) -> Option<Look> {
        self.cycle.look(tells, every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Goes(Vec<Health>, Pulse);

    impl Cycle for Goes {
        fn has_moved(&mut self) -> bool {
            true
        }
        fn run(&mut self, _: Why, _: &dyn Fn() -> bool) -> CycleStatus {
            // While it runs, what the last one came to still counts.
            let now = Instant::now();
            assert!(self.1.turns(now) && !self.1.turns(now + PATIENCE));
            CycleStatus {
                health: self.0.remove(0),
                line: String::new(),
                due_in: None,
            }
        }
        fn watch_paths(&self) -> Vec<PathBuf> {
            vec!["/srv".into()]
        }
    }

    #[test]
    fn a_loop_is_well_once_a_cycle_was_and_until_one_is_not() {
        let pulse = Pulse::default();
        let health = vec![Health::Failed, Health::Well, Health::Failed, Health::Well];
        let mut cycle = Pulsing {
            cycle: Box::new(Goes(health.clone(), pulse.clone())),
            pulse: pulse.clone(),
        };
        assert!(!pulse.is_well());
        for health in health {
            assert_eq!(cycle.run(Why::Drift, &|| false).health, health);
            assert_eq!(pulse.is_well(), health == Health::Well);
            assert!(pulse.turns(Instant::now() + PATIENCE));
        }
        assert!(cycle.has_moved() && cycle.watch_paths() == [PathBuf::from("/srv")]);
    }
}
