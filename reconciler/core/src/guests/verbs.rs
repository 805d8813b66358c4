//! The verbs of guests, one row each.

crate::verb::verbs! {
    /// The verb of a step about a guest: the word that is signed, shown and journaled.
    Record = "guest.record", Fixed, "record", "guest", "guests",
        "nothing, and nothing needs to: it only says which guest it is";
    Start = "guest.start", Fixed, "start", "guest", "guests",
        "`run: stopped` in the guest's row";
    Shutdown = "guest.shutdown", Fixed, "shut down", "guest", "guests",
        "`run: running` in the guest's row";
    Stop = "guest.stop", Fixed, "stop by force", "guest", "guests",
        "`run: running` in the guest's row";
    Cores = "guest.cores", Fixed, "change the cores of", "guest", "guests",
        "the number before in the guest's row";
    Memory = "guest.memory", Fixed, "change the memory of", "guest", "guests",
        "the amount before in the guest's row";
    Description = "guest.description", Fixed, "describe", "guest", "guests",
        "the text before in the guest's row";
    Tags = "guest.tags", Fixed, "tag", "guest", "guests",
        "the tags before in the guest's row";
    Onboot = "guest.onboot", Fixed, "change whether the hypervisor starts", "guest", "guests",
        "the other word in the guest's row";
    Create = "guest.create", Fixed, "create", "guest", "guests",
        "`destroy: true` in the guest's row, which waits for a release";
    Discard = "guest.discard", Fixed, "discard", "unfinished guest", "unfinished guests",
        "nothing, and nothing is lost: it was made by muster and never used";
    Destroy = "guest.destroy", Floor, "destroy", "guest", "guests",
        "taking `destroy: true` out of the guest's row, as long as the guest is set aside";
    Overwrite = "guest.overwrite", Floor, "overwrite", "guest", "guests",
        "`overwrite` with the backup that was made before it";
    Restore = "guest.restore", Fixed, "give back", "guest", "guests",
        "`destroy: true` in the guest's row, which waits for a release";
    Purge = "guest.purge", Floor, "purge", "guest", "guests",
        "nothing but the backup that stays";
    NoteUse = "guest.note", Fixed, "note the use of", "guest", "guests",
        "nothing, and nothing needs to: it only says that somebody used what is set aside";
}
