//! The real client against a forge in memory, of each kind.

mod model;
mod routes;
mod skin;

mod faults;
mod reading;
mod telling;
