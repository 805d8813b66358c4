//! The guests of a hypervisor: which of them run, and which are to end.
//!
//! A guest that the file does not name is never touched, and of one that it names only what it says (G2, G5).

pub mod action;
pub mod desired;
pub mod facts;
pub(crate) mod inventory;
pub mod limits;
pub mod observed;
pub(crate) mod plan;
pub mod policy;
pub mod price;
pub mod say;
pub mod settle;
pub mod verbs;
