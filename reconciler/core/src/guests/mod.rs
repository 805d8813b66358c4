//! The guests of a hypervisor: which of them run, how large they are, how they are called, and which begin or end.
//!
//! A guest that the file does not name is never touched, and of one that it names only what it says (G2, G5).
//!
//! `desired` is what is asked, `files` where it stands and `file` how it is read; `observed` is what a hypervisor shows, and `normal` how the two are compared;
//! `facts` is what the local journal says of our own doing, `backup` of the backups among it, `used` of a guest that was set aside and used
//! since, with the marks (`mark`) that an act made on
//! the way; `action` and `verbs`
//! are all that can happen; `plan` drafts it; `price`, `settle`, `limits` and `say` answer for it. The client that carries it out is the
//! crate `muster-guests`.

pub mod action;
pub mod backup;
pub mod blocked;
pub mod desired;
pub mod facts;
pub mod file;
pub(crate) mod files;
pub(crate) mod inventory;
pub mod limits;
pub mod mark;
pub mod normal;
pub mod note;
pub mod observed;
pub(crate) mod plan;
pub mod policy;
pub mod price;
pub mod question;
pub mod say;
pub mod settle;
pub(crate) mod shards;
pub mod used;
pub mod verbs;
