//! The services that a replica asks for when it dials in: how a connection begins, and each service's messages.
//!
//! A connection begins with the name of a service, as a message of 1 to 256 bytes of UTF-8; or, without a name and
//! without a message around it, with the magic number of RESTORE. Read as a length, that number is never the length of a
//! name, so the first four bytes tell the two apart.
//!
//! Both directions of each message are here, so that a test can play the replica. Pure, like all of
//! [`wire`](super).

pub mod election;
mod fault;
mod opening;
pub mod peer_feeder;
mod request;
pub mod restore;
pub mod syncup;

pub use fault::Fault;
pub use opening::Opening;
pub use request::{append_message, first_message};

/// The longest name of a service, in bytes.
pub const NAME_LEN_MAX: usize = 256;

/// The longest message that a service takes from a replica. The longest that a real replica sends has some 60 bytes and
/// a node's name; upstream would take up to 64 MiB, and ignore what is too much.
pub const REQUEST_LEN_MAX: usize = 4096;

/// A service, by its name. Names are compared exactly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// The stream of entries.
    PeerFeeder,
    /// Where the histories of a replica and its master agree.
    RepSyncup,
    /// All files of the log.
    Restore,
    /// Who is to be master.
    Election,
}

impl Service {
    /// All that have a name here.
    pub const ALL: [Service; 4] = [Service::PeerFeeder, Service::RepSyncup, Service::Restore, Service::Election];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Service::PeerFeeder => "PEER_FEEDER",
            Service::RepSyncup => "REP_SYNCUP",
            Service::Restore => "RESTORE",
            Service::Election => "ELECTION",
        }
    }

    /// The service of this name.
    pub fn of(name: &str) -> Option<Service> {
        Service::ALL.into_iter().find(|service| service.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_exactly() {
        for service in Service::ALL {
            assert_eq!(Service::of(service.name()), Some(service));
        }
        for other in ["peer_feeder", "PEER_FEEDER ", "PEER_FEEDER\0", "", "ADMIN"] {
            assert_eq!(Service::of(other), None, "{other}");
        }
    }
}
