//! What `muster` ends with. The numbers from 64 on are those of `sysexits.h`.

/// All is well.
pub const OK: u8 = 0;
/// The command did its work, and what it looked at is not in order; or it could not do its work for a reason that has no
/// number of its own.
pub const FAILED: u8 = 1;
/// `muster plan` has something to show: steps, whether they would run or wait.
pub const CHANGES: u8 = 2;
/// A wrong command line of `validate` and `derive`, which keep the numbers of the program they replace (R25).
pub const USAGE_COMPAT: u8 = 2;
/// A wrong command line. The unit does not restart after it.
pub const USAGE: u8 = 64;
/// A file or directory that was named cannot be read.
pub const NO_INPUT: u8 = 66;
/// The state repository did not answer.
pub const UNAVAILABLE: u8 = 69;
/// Journal, ledger or state directory cannot be used as they are; a person has to look.
pub const STATE: u8 = 70;
/// Something could not be written.
pub const IO: u8 = 74;
/// Another muster holds the lock; later it may work.
pub const BUSY: u8 = 75;
/// This needs root.
pub const NO_PERMISSION: u8 = 77;
/// The settings cannot be used, or `muster init` was not run.
pub const CONFIG: u8 = 78;
/// A signal asked for the end of `muster demo`.
pub const INTERRUPTED: u8 = 130;
