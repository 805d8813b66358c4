//! Owner responses: what the owner of a host service must answer before anybody touches it, and how far that is.
//!
//! Pure functions of the state repository. There is no step here, no executor and nothing that could act (A13): a lane says where an
//! answer stands, and opens nothing. `waiting_runtime_gate` is an end; whoever then acts does so elsewhere, by other means.
//!
//! Read in this order: [`words`], [`checks`] and [`lane`] are the vocabulary; [`records`] reads each file and `read` all of them; [`evaluate`] says which lane a
//! surface is in, with [`secrets`] and [`names`], [`refs`] and [`requests`] for what texts hold and [`attributions`] for whom they are from; [`say`] has the
//! sentences. [`report`] is the report of the source, byte for byte.

pub mod attributions;
pub mod checks;
pub mod evaluate;
pub mod lane;
pub mod names;
mod needles;
pub(crate) mod read;
pub mod records;
pub mod refs;
pub mod report;
pub mod requests;
pub mod say;
pub mod secrets;
pub mod words;
