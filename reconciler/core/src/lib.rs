//! core
pub mod compat;
pub mod diagnostic;
pub mod python;
pub mod repo;
pub mod schema;
pub mod yaml;
