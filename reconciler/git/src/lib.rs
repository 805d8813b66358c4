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
pub mod folder;
pub mod ledger;
pub mod merge;
pub mod mirror;
pub mod notes;
pub mod origin;
pub mod owner;
pub mod reader;
pub mod run;
pub mod short;

mod about;
mod ancestry;
mod bare;
mod bring;
mod carry;
mod commits;
mod counterpart;
mod fetch;
mod fetch_error;
mod fresh;
mod gather;
mod heads;
mod layout;
mod local;
mod objects;
mod pack;
mod read_error;
mod refs;
mod refused;
mod remote;
mod shared;
mod signature;
mod sync;
mod tags;
mod tidy;
mod versions;
mod wire;

pub use about::CommitInfo;
pub use ancestry::Ancestry;
pub use counterpart::{Counterpart, LookError, Move, PushError};
pub use fetch_error::FetchError;
pub use files::{BlobId, File, Files};
pub use heads::{Gathered, Heads, Proposals, WantedTags};
pub use layout::LayoutError;
pub use ledger::{Ledger, LedgerError, LedgerState};
pub use merge::{MergeError, Merged};
pub use mirror::{Mirror, TagObject};
pub use notes::{Notes, NotesError, Writer};
pub use origin::{Origin, OriginError};
pub use pack::Packed;
pub use shared::{Shared, SharedError};
pub use signature::Signature;
pub use tidy::Untidy;
pub use versions::Version;
