//! The only code that speaks to hypervisors: Proxmox VE and Incus, behind one narrow trait (G9).
//!
//! **Invariant:** what may have been carried out is never sent again before somebody looked (H11). [`Error`] says which of the three it
//! is, and no client repeats a request by itself.
//!
//! **Invariant:** a hypervisor is believed by a named authority or a pinned certificate. There is no way to switch that off.
//!
//! **Invariant:** a secret leaves only in the request that it authenticates. It is no part of any text, error, log or `Debug`.

pub mod api;
pub mod doctor;
pub mod import;
pub mod incus;
pub mod proxmox;
pub mod trust;
pub mod wire;

mod act;
mod encode;
mod error;
mod observe;
mod parallel;
mod patience;
mod queue;
mod world;

pub use act::ActSettings;
pub use error::Error;
pub use world::{Guests, GuestsError, Opener};
