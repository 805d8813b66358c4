//! The only code that speaks git.
//!
//! It reads the state repository (its *origin*) into muster's own bare repository (the *mirror*), reads files by object
//! id from there, merges proposals in memory, keeps the ledger, and leaves notes. It has no policy: which commit is
//! adopted, what a file means and what is reported is decided elsewhere.
//!
//! Nothing here ever checks out a work tree, runs a hook, or follows the configuration of a repository that is not
//! muster's own. Reading goes through [`gix`]'s object database in process, and every object that is used is hashed
//! again; git itself runs only in [`run`](mod@run), with a cleared environment and within limits.

pub mod at;
pub mod files;
pub mod ledger;
pub mod merge;
pub mod mirror;
pub mod notes;
pub mod origin;
pub mod owner;
pub mod run;

mod about;
mod bring;
mod counterpart;
mod gather;
mod local;
mod objects;
mod pack;
mod refs;
mod remote;
mod shared;
mod sync;
mod wire;

pub use about::About;
pub use counterpart::{Counterpart, LookError, Move, PushError};
pub use files::{BlobId, File, Files};
pub use gather::Gathered;

pub use ledger::{Ledger, LedgerError, LedgerState};
pub use merge::{MergeError, Merged};
pub use mirror::{Ancestry, FetchError, Heads, Mirror, Proposals, TagObject, WantedTags};

pub use notes::{Notes, NotesError, Writer};
pub use origin::{Origin, OriginError, Signature};
pub use pack::Packed;
pub use shared::{Shared, SharedError};
