//! The accounts of a host: who has one, what belongs to it, and how somebody comes and goes.

pub mod action;
pub mod desired;
pub mod facts;
mod ids;
pub(crate) mod line;
pub mod observed;
pub(crate) mod plan;
pub mod policy;
pub mod question;
pub mod render;
pub mod say;
pub mod settle;
pub mod verbs;
