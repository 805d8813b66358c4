//! The reader: a process of its own that fetches from origins and decodes what strangers pushed there.
//!
//! The one who acts, who may be root, asks it and believes little. It is given bytes and ids; every object that counts is
//! hashed again (`Far`), and so is each commit on the way from the adopted one to the next, so that a reader which somebody
//! took over can withhold and not invent. It has bounded memory, and bounded time for each answer; one that dies or takes too
//! long is started again, later and later.
//!
//! For a local origin it is a child that runs as the repository's owner, so that nothing there is read with more rights than
//! the owner has. For a remote one it is a service that has the network and git's keys, and nothing else.

mod branches;
mod client;
mod frame;
mod last_look;
mod link;
mod message;
mod serve;

pub(crate) use client::{Far, far_fetch};
pub use client::{Reader, Way};
pub(crate) use last_look::LastLook;
pub use link::IsWanted;
pub(crate) use link::Lost;
pub use message::ReaderError;
pub use serve::{Desk, Reads, bind_this_process};
