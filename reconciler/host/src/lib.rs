//! The only code that reads or changes this machine.

pub mod accounts;
pub mod root;
pub mod run;
