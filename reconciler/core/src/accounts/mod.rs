//! The accounts of a host: who has one, what belongs to it, and how somebody comes and goes.

pub mod action;
pub mod blocked;
pub mod desired;
pub mod facts;
pub mod hindrances;
mod ids;
pub(crate) mod inventory;
pub mod limits;
mod line;
pub mod note;
pub mod observed;
mod own_groups;
pub(crate) mod plan;
pub mod policy;
pub(crate) mod policy_file;
pub mod price;
pub mod question;
pub mod refusal;
pub mod render;
pub mod root;
pub mod say;
pub mod settle;
pub mod shards;
pub mod sudoers;
pub mod verbs;
