//! The verbs of guests, one row each.

crate::verb::verbs! {
    /// The verb of a step about a guest: the word that is signed, shown and journaled.
    Start = "guest.start", Fixed, "start", "guest", "guests",
        "`run: stopped` in the guest's row";
    Shutdown = "guest.shutdown", Fixed, "shut down", "guest", "guests",
        "`run: running` in the guest's row";
    Destroy = "guest.destroy", Floor, "destroy", "guest", "guests",
        "nothing: what it held is gone";
}
