//! The daemon of muster and its command line.
//!
//! Settings and a state directory come first, the journal keeps what must not be forgotten, a cycle reads, decides and
//! acts, and the loop runs one when there is a reason to.

pub mod refused_tags;
pub mod settings;

pub mod clock;
pub mod host_key;
pub mod journal;
pub mod last_cycle;
pub mod state_dir;
pub mod suspension;

mod answers;
pub mod bot;
pub mod cycle;
mod stamp;
mod tell;

pub mod bot_store;
pub mod console;
pub mod executors;
pub mod fleet;
pub mod outside;
pub mod paint;
pub mod push;
pub mod reader;

pub mod daemon;

pub mod http;

pub mod commands;
pub mod demo;
pub mod exit;
pub mod trust;

#[cfg(test)]
mod scene;
