//! What was made of files, made anew when they have changed: a secret or a certificate that is renewed needs no restart.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::HttpError;
use crate::cycle::chain;
use crate::stamp::{self, Stamp};

/// A value out of files. What was good is kept until the files are good again.
pub(super) struct Fresh<T> {
    paths: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<T, HttpError> + Send + Sync>,
    held: Mutex<(Vec<Stamp>, T)>,
}

impl<T: Clone> Fresh<T> {
    /// Makes it for the first time.
    pub(super) fn read(
        paths: Vec<PathBuf>,
        make: impl Fn() -> Result<T, HttpError> + Send + Sync + 'static,
    ) -> Result<Self, HttpError> {
        let stamps = stamps(&paths);
        let value = make()?;
        Ok(Self {
            paths,
            make: Box::new(make),
            held: Mutex::new((stamps, value)),
        })
    }

    /// As the files say now, or last said when they were good.
    pub(super) fn current(&self) -> T {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, value) = &mut *held;
        let now = stamps(&self.paths);
        if *seen != now {
            // Once for each change, also where it cannot be used.
            *seen = now;
            match (self.make)() {
                Ok(new) => *value = new,
                Err(error) => {
                    tracing::warn!("What it was stays in use: {}.", chain(&error));
                }
            }
        }
        value.clone()
    }
}

impl<T> fmt::Debug for Fresh<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fresh").field(&self.paths).finish()
    }
}

/// Links are followed.
fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    paths
        .iter()
        .map(|path| stamp::of(fs::metadata(path)))
        .collect()
}
