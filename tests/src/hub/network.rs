//! Networks beside this one: namespaces that `ip netns` made, which one thread can enter and leave again by ending.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns};

/// Where the namespace of that name is.
pub fn path_of(network: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(network)
}

/// Does something in another network, and waits for it.
///
/// # Panics
/// When there is no such network, or that panics.
pub fn inside<T: Send>(network: Option<&str>, act: impl FnOnce() -> T + Send) -> T {
    let Some(network) = network else {
        return act();
    };
    std::thread::scope(|scope| {
        let there = scope.spawn(|| {
            let namespace = File::open(path_of(network)).expect("a network namespace");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("root");
            act()
        });
        there.join().expect("it was done there")
    })
}

/// Listens on the loopback of another network.
///
/// # Panics
/// When somebody else does.
pub fn listen(network: Option<&str>, port: u16) -> TcpListener {
    inside(network, || {
        TcpListener::bind(("127.0.0.1", port)).expect("a port that nobody has")
    })
}
