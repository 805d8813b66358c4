//! The only code that speaks to a hosted forge: GitHub, on github.com or Enterprise, and Forgejo or Gitea.
//!
//! [`github::connect`] and [`forgejo::connect`] give a [`Reader`] and a [`Writer`], the two traits of `muster_core::forge`. They
//! share one conversation: one request at a time, as forges ask for, one memory of what has not changed, and one of how long the
//! forge wants to be left alone.
//!
//! **Invariant:** a request goes to the host that settings name, and nowhere else. Addresses that a forge answers with are never
//! followed; of the next page, only its query is taken.
//!
//! **Invariant:** a secret leaves only in the `Authorization` of a request. It is no part of any text, error, log or `Debug`.
//!
//! Calls block, as a cycle does: it runs on a thread of its own, and its traits know nothing of an executor. The conversation
//! keeps its own, so a reader or writer may move between threads, also those of another executor that are there to block.
//! Nothing is sent twice by itself, and nobody waits in here but for the second between two changes.

pub mod clock;
pub mod secret;
pub mod wire;

mod answers;
mod cache;
mod client;
mod connect;
mod conversation;
mod dialect;
mod jwt;
mod protection;
mod read;
mod request;
mod status;
mod write;

pub mod forgejo;
pub mod github;

pub mod webhook;

pub use dialect::{NotARepository, Repository};
pub use protection::Protection;
pub use read::Reader;
pub use write::Writer;
