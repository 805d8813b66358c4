//! daemon
pub mod cycle;
mod tell;
