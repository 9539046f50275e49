//! Who is connected: how many, who still has to say what it wants, and who is fed under which name.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Instant;

use super::connection::{Connection, Peer};
use super::dialing::Dialing;
use super::refusal::Refusal;
use crate::sync::Mutex;

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections that have not said what they want.
    pub greetings: usize,
}

/// What becomes of a replica that is fed when another of its name comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SameName {
    /// It ends, and the new one is fed. A replica whose connection broke does not have to wait until that is noticed.
    Replaces,
    /// It stays, and the new one is refused.
    IsRefused,
}

#[derive(Default)]
struct Inner {
    /// By number, and so in the order in which they came.
    connections: BTreeMap<u64, Arc<Connection>>,
    /// Those who have not said what they want.
    greetings: BTreeMap<u64, Arc<Connection>>,
    /// Who is fed, by name.
    streams: HashMap<CString, Arc<Connection>>,
    next_id: u64,
    is_closed: bool,
}

/// See the module's comment. Any thread.
pub(super) struct Register {
    limits: Limits,
    same_name: SameName,
    inner: Mutex<Inner>,
}

impl Register {
    pub(super) fn new(limits: Limits, same_name: SameName) -> Register {
        Register { limits, same_name, inner: Mutex::default() }
    }

    /// Somebody has come. An error if there is no room. If too many have not said what they want, the one that has had the
    /// longest time for it ends: who floods a server keeps nobody out for longer than it takes to say a name.
    pub(super) fn admit(&self, peer: Peer, at_loop: usize, now: Instant) -> Result<Arc<Connection>, Refusal> {
        let mut inner = self.inner.lock();
        let is_crowded = inner.greetings.len() >= self.limits.greetings;
        let longest = if is_crowded { inner.greetings.pop_first() } else { None };
        if let Some((id, _)) = &longest {
            // It counts no more, although it takes its loop a moment to close it.
            inner.connections.remove(id);
        }
        let connection = self.insert(&mut inner, |id| Connection::new(id, peer, at_loop, now));
        if let Ok(connection) = &connection {
            inner.greetings.insert(connection.id, Arc::clone(connection));
        }
        drop(inner);
        if let Some((_, longest)) = longest {
            longest.end(Some(Refusal::Crowded));
        }
        connection
    }

    /// The same for a connection that this side has made.
    pub(super) fn admit_dialled(
        &self,
        peer: Peer,
        at_loop: usize,
        now: Instant,
        dialing: &Arc<Dialing>,
    ) -> Result<Arc<Connection>, Refusal> {
        let make = |id| Connection::dialled(id, peer, at_loop, now, Arc::clone(dialing));
        self.insert(&mut self.inner.lock(), make)
    }

    fn insert(&self, inner: &mut Inner, make: impl FnOnce(u64) -> Connection) -> Result<Arc<Connection>, Refusal> {
        if inner.is_closed {
            return Err(Refusal::Stopped);
        }
        if inner.connections.len() >= self.limits.connections {
            return Err(Refusal::TooMany);
        }
        inner.next_id += 1;
        let connection = Arc::new(make(inner.next_id));
        inner.connections.insert(connection.id, Arc::clone(&connection));
        Ok(connection)
    }

    /// It has said what it wants.
    pub(super) fn note_greeted(&self, connection: &Connection) {
        self.inner.lock().greetings.remove(&connection.id);
    }

    /// It is to be fed under its name. `Ok`: whom it replaces, if there is anybody, and who was told to end.
    pub(super) fn join(&self, connection: &Arc<Connection>) -> Result<Option<Arc<Connection>>, Refusal> {
        let mut inner = self.inner.lock();
        let before = inner.streams.get(connection.name()).cloned();
        if before.is_some() && self.same_name == SameName::IsRefused {
            return Err(Refusal::NameTaken);
        }
        inner.streams.insert(connection.name().to_owned(), Arc::clone(connection));
        drop(inner);
        if let Some(before) = &before {
            before.end(Some(Refusal::Replaced));
        }
        Ok(before)
    }

    /// It has ended.
    pub(super) fn leave(&self, connection: &Connection) {
        connection.note_over();
        let mut inner = self.inner.lock();
        inner.connections.remove(&connection.id);
        inner.greetings.remove(&connection.id);
        if inner.streams.get(connection.name()).is_some_and(|stream| stream.id == connection.id) {
            inner.streams.remove(connection.name());
        }
    }

    /// Who is fed under that name.
    pub(super) fn stream(&self, name: &CStr) -> Option<Arc<Connection>> {
        self.inner.lock().streams.get(name).cloned()
    }

    /// All connections, in the order in which they came.
    pub(super) fn all(&self) -> Vec<Arc<Connection>> {
        self.inner.lock().connections.values().cloned().collect()
    }

    /// In a forked child: closes the descriptors that the child has of these, unless they were being changed at the fork.
    pub(super) fn close_in_child(&self) {
        if let Some(inner) = self.inner.try_lock() {
            inner.connections.values().for_each(|connection| connection.close_in_child());
        }
    }

    /// Admits nobody any more, and has all end.
    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.is_closed = true;
        let all: Vec<_> = inner.connections.values().cloned().collect();
        drop(inner);
        all.iter().for_each(|connection| connection.end(Some(Refusal::Stopped)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { connections: 4, greetings: 2 };

    fn admit(register: &Register) -> Result<Arc<Connection>, Refusal> {
        register.admit(Peer::of_tests("192.0.2.1:1000"), 0, Instant::now())
    }

    fn named(register: &Register, name: &CStr) -> Arc<Connection> {
        let connection = admit(register).unwrap();
        register.note_greeted(&connection);
        connection.set_name(name.to_owned());
        connection
    }

    #[test]
    fn who_says_nothing_for_the_longest_time_makes_room_and_nobody_who_has_spoken() {
        let register = Register::new(LIMITS, SameName::Replaces);
        let spoken = named(&register, c"a");
        let [first, second, third] = [(); 3].map(|()| admit(&register).unwrap());
        let ends = [&spoken, &first, &second, &third].map(|connection| connection.ends_for());
        assert_eq!(ends, [None, Some(Refusal::Crowded), None, None]);
        named(&register, c"b");
        assert!(second.is_ending() && !third.is_ending() && !spoken.is_ending());
        let fourth = admit(&register).unwrap();
        [&third, &fourth].iter().for_each(|connection| register.note_greeted(connection));
        assert_eq!(register.all().len(), 4, "those that were told to end are not counted");
        assert_eq!(admit(&register).err(), Some(Refusal::TooMany));
        register.leave(&spoken);
        assert!(admit(&register).is_ok());
    }

    #[test]
    fn a_replica_of_the_same_name_replaces_or_is_refused() {
        let register = Register::new(LIMITS, SameName::Replaces);
        let [old, new] = [c"r"; 2].map(|name| named(&register, name));
        assert!(register.join(&old).unwrap().is_none());
        let replaced = register.join(&new).unwrap().unwrap();
        assert_eq!((replaced.id, old.is_ending(), new.is_ending()), (old.id, true, false));
        register.leave(&old);
        assert_eq!(register.stream(c"r").unwrap().id, new.id, "the name is the new one's");
        register.leave(&new);
        assert!(register.stream(c"r").is_none());

        let register = Register::new(LIMITS, SameName::IsRefused);
        let [old, new] = [c"r"; 2].map(|name| named(&register, name));
        assert!(register.join(&old).unwrap().is_none());
        assert_eq!(register.join(&new).err(), Some(Refusal::NameTaken));
        assert!(!old.is_ending());
        register.leave(&new);
        assert_eq!(register.stream(c"r").unwrap().id, old.id);
    }

    #[test]
    fn who_comes_to_a_closed_one_is_refused_and_all_others_end() {
        let register = Register::new(LIMITS, SameName::Replaces);
        let connection = admit(&register).unwrap();
        register.close();
        assert!(connection.is_ending());
        assert_eq!(admit(&register).err(), Some(Refusal::Stopped));
    }
}
