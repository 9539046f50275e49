//! The beginning of a connection: which service it is for.

use std::time::{Duration, Instant};

use super::error::ServiceError;
use crate::wire::service::{NAME_LEN_MAX, Opening, Service};

/// How long a replica has to name a service, in all.
pub const NAME_LIMIT: Duration = Duration::from_secs(10);

/// Which services are offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offers {
    /// The stream.
    pub peer_feeder: bool,
    /// The search for a common point.
    pub rep_syncup: bool,
    /// All files, as a message.
    pub restore: bool,
    /// All files, without messages.
    pub raw_restore: bool,
    /// The answers of one that is master already.
    pub election: bool,
}

impl Default for Offers {
    /// All but elections: a node whose elections nobody answers stays what it is, and one whose elections are answered takes
    /// this one for its master.
    fn default() -> Offers {
        Offers { peer_feeder: true, rep_syncup: true, restore: true, raw_restore: true, election: false }
    }
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Greeted {
    /// A service, by its name.
    Service(Service),
    /// RESTORE, by its magic number: that is taken already.
    RawRestore,
}

/// See the module's comment.
#[derive(Debug)]
pub struct Greeting {
    offers: Offers,
    arrived: Vec<u8>,
    began: Instant,
    limit: Duration,
}

impl Greeting {
    /// A connection that was just made, and has `limit` to say what it is for.
    pub fn new(offers: Offers, limit: Duration, now: Instant) -> Greeting {
        Greeting { offers, arrived: Vec::new(), began: now, limit }
    }

    /// When it wants a turn, if nothing comes.
    pub fn deadline(&self) -> Instant {
        self.began + self.limit
    }

    /// Takes what has arrived, a piece; says what the connection is for, once that is known. What is wrong is found with
    /// the first bytes that show it.
    pub fn turn(&mut self, arrived: &[u8], now: Instant) -> Result<Option<Greeted>, ServiceError> {
        self.arrived.extend_from_slice(arrived);
        let step = "the name of a service";
        let parsed = Opening::parse(&self.arrived);
        let parsed = parsed.map_err(|fault| ServiceError::Fault { service: "a connection", step, fault })?;
        let Some((opening, len)) = parsed else {
            // What is kept until then is no longer than a name.
            debug_assert!(self.arrived.len() < 4 + NAME_LEN_MAX);
            if now < self.deadline() {
                return Ok(None);
            }
            let waited_ms = u64::try_from(now.duration_since(self.began).as_millis()).unwrap_or(u64::MAX);
            return Err(ServiceError::Timeout { service: "a connection", step, waited_ms, len: self.arrived.len() });
        };
        let greeted = match opening {
            Opening::RawRestore => Greeted::RawRestore,
            Opening::Name(name) => match Service::of(name) {
                Some(service) => Greeted::Service(service),
                None => return Err(ServiceError::NotOffered { name: name.to_owned() }),
            },
        };
        let (is_offered, name) = match greeted {
            Greeted::Service(service @ Service::PeerFeeder) => (self.offers.peer_feeder, service.name()),
            Greeted::Service(service @ Service::RepSyncup) => (self.offers.rep_syncup, service.name()),
            Greeted::Service(service @ Service::Restore) => (self.offers.restore, service.name()),
            Greeted::Service(service @ Service::Election) => (self.offers.election, service.name()),
            Greeted::RawRestore => (self.offers.raw_restore, "RESTORE, without messages"),
        };
        if !is_offered {
            return Err(ServiceError::NotOffered { name: name.to_owned() });
        }
        self.arrived.drain(..len);
        Ok(Some(greeted))
    }

    /// The replica has closed the connection before it has said what it is for. Without a byte that is no error: so one
    /// looks whether a port is open.
    pub fn closed(&self) -> Result<(), ServiceError> {
        let (service, step) = ("a connection", "the name of a service");
        if self.arrived.is_empty() {
            return Ok(());
        }
        Err(ServiceError::Closed { service, step, len: self.arrived.len() })
    }

    /// What has arrived behind.
    pub fn into_rest(self) -> Vec<u8> {
        self.arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::service::Fault;

    const ALL: Offers =
        Offers { election: true, peer_feeder: true, rep_syncup: true, restore: true, raw_restore: true };

    fn bytes(opening: Opening<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        opening.append_to(&mut out);
        out
    }

    #[test]
    fn each_service_is_found_out_a_byte_at_a_time_and_what_follows_is_kept() {
        let now = Instant::now();
        let named = Service::ALL.map(|service| (Opening::Name(service.name()), Greeted::Service(service)));
        for (opening, greeted) in named.into_iter().chain([(Opening::RawRestore, Greeted::RawRestore)]) {
            let bytes = bytes(opening);
            let mut greeting = Greeting::new(ALL, NAME_LIMIT, now);
            for (at, byte) in bytes.iter().enumerate() {
                let expected = (at + 1 == bytes.len()).then_some(greeted);
                assert_eq!(greeting.turn(&[*byte], now), Ok(expected), "byte {at} of {opening:?}");
            }
            let mut greeting = Greeting::new(ALL, NAME_LIMIT, now);
            assert_eq!(greeting.turn(&[&bytes[..], b"behind"].concat(), now), Ok(Some(greeted)));
            assert_eq!(greeting.into_rest(), b"behind");
        }
    }

    #[test]
    fn what_is_not_offered_is_an_error_that_names_it() {
        let now = Instant::now();
        let none =
            Offers { election: false, peer_feeder: false, rep_syncup: false, restore: false, raw_restore: false };
        let asked = |opening| Greeting::new(none, NAME_LIMIT, now).turn(&bytes(opening), now).unwrap_err().to_string();
        for service in Service::ALL {
            assert_eq!(
                asked(Opening::Name(service.name())),
                format!("service `{}` is not offered here", service.name())
            );
        }
        assert!(asked(Opening::RawRestore).contains("without messages"));
        let admin = Greeting::new(ALL, NAME_LIMIT, now).turn(&bytes(Opening::Name("AD\nMIN")), now).unwrap_err();
        assert_eq!(admin.to_string(), "service `AD\\nMIN` is not offered here");
        let default = Greeting::new(Offers::default(), NAME_LIMIT, now).turn(&bytes(Opening::Name("ELECTION")), now);
        assert_eq!(default, Err(ServiceError::NotOffered { name: "ELECTION".to_owned() }));
    }

    /// Whatever a byte is changed to, the connection goes on or ends with a fault, and not later than the name.
    #[test]
    fn garbage_at_every_byte_is_a_fault_or_another_name() {
        let now = Instant::now();
        let good = bytes(Opening::Name("PEER_FEEDER"));
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = good.clone();
                bytes[at] = byte;
                let mut greeting = Greeting::new(ALL, NAME_LIMIT, now);
                let result = greeting.turn(&bytes, now);
                match (at, result) {
                    (_, Ok(Some(Greeted::Service(Service::PeerFeeder)))) => {
                        assert!(byte == good[at] || at == 0 && byte > 11)
                    }
                    (0..4, Ok(None) | Err(ServiceError::Fault { .. } | ServiceError::NotOffered { .. })) => {}
                    (4.., Err(ServiceError::NotOffered { .. })) => {}
                    (4.., Err(ServiceError::Fault { fault, .. })) => assert_eq!(fault, Fault::NameNotText),
                    (_, other) => panic!("byte {at} as {byte}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_name_has_its_time_in_all_and_a_drip_does_not_prolong_it() {
        let began = Instant::now();
        let mut greeting = Greeting::new(ALL, NAME_LIMIT, began);
        assert_eq!(greeting.deadline(), began + NAME_LIMIT);
        let bytes = bytes(Opening::Name("PEER_FEEDER"));
        for (second, byte) in bytes.iter().take(10).enumerate() {
            assert_eq!(greeting.turn(&[*byte], began + Duration::from_secs(second as u64)), Ok(None));
        }
        let error = greeting.turn(&[], greeting.deadline()).unwrap_err();
        assert!(matches!(error, ServiceError::Timeout { waited_ms: 10_000, len: 10, .. }), "{error}");
    }

    #[test]
    fn who_closes_without_a_word_only_looked_whether_the_port_is_open() {
        let now = Instant::now();
        let mut greeting = Greeting::new(ALL, NAME_LIMIT, now);
        assert_eq!(greeting.closed(), Ok(()));
        greeting.turn(&[11, 0], now).unwrap();
        assert!(matches!(greeting.closed(), Err(ServiceError::Closed { len: 2, .. })));
    }
}
