//! What a loop knows of a log that its sessions have read to the end: whether there may be more, and who is to be asked.
//!
//! Each log has its own. A session that runs dry has its log's notification armed, and then looks once more; what is found
//! by then, or said later, concerns the sessions of that log alone. There is no system call here, and no session: the loop
//! does what this says.

use std::sync::Arc;

use super::slots::SlotKey;
use crate::source::Origin;
use crate::sys::waker::Waker;

/// Whether those who have read all there was need to ask again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watching {
    /// There may be more: the notification is not armed, or something has happened since.
    Unknown,
    /// The notification is armed: they ask once more.
    Armed,
    /// They had nothing after the notification was armed, and nothing has happened since: they need not ask.
    Quiet,
}

/// Of one log: see the module's comment.
#[derive(Debug)]
pub struct Watch {
    watching: Watching,
    /// Whether the notification may have events that are still to be taken: what was just committed is sent first.
    has_events: bool,
    /// How often something has said that the log has changed: a notification, a call, or the safety look, which believes
    /// nothing. Every session's source is to hear of it before it looks again.
    news: u64,
    /// Whether the notification tells of whatever is waited for, as of when it was armed last.
    is_notified: bool,
    /// The sessions that had nothing when they looked last, and have had no cause to look again.
    dry: Vec<SlotKey>,
}

impl Default for Watch {
    fn default() -> Watch {
        Watch { watching: Watching::Unknown, has_events: false, news: 0, is_notified: false, dry: Vec::new() }
    }
}

impl Watch {
    /// Whether a session that had nothing need not ask again at its next turn.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.watching == Watching::Quiet
    }

    /// Whether its sessions are looking once more, after it was armed.
    pub fn is_armed(&self) -> bool {
        self.watching == Watching::Armed
    }

    /// Whether the notification tells of whatever is waited for.
    #[inline]
    pub fn is_notified(&self) -> bool {
        self.is_notified
    }

    /// How often something has said that it has changed.
    pub fn news(&self) -> u64 {
        self.news
    }

    /// Whether events may be there to be taken.
    pub fn has_events(&self) -> bool {
        self.has_events
    }

    /// The notification's descriptor is readable. False: that was known, and nobody has relied on it since.
    pub fn note_readable(&mut self) -> bool {
        if self.has_events {
            return false;
        }
        self.has_events = true;
        self.watching = Watching::Unknown;
        true
    }

    /// Somebody says that it has changed.
    pub fn note_news(&mut self) {
        self.news += 1;
        self.watching = Watching::Unknown;
    }

    /// A session has found something where it had nothing before: then the notification, if it was armed, has fired.
    pub fn note_found(&mut self) {
        self.has_events |= self.watching != Watching::Unknown;
        self.watching = Watching::Unknown;
    }

    /// A session that reads it has nothing. If that is believed from now on, it is among the dry: false where it has still
    /// to hear of news, up to [`news`](Self::news), and to look again. `heard`: what it has heard of.
    pub fn note_dry(&mut self, session: SlotKey, heard: u64) -> bool {
        // One that is about to be armed tells them then.
        if self.watching != Watching::Unknown && heard != self.news {
            return false;
        }
        self.dry.push(session);
        true
    }

    /// The sessions that had nothing when they looked last.
    pub fn dry(&self) -> &[SlotKey] {
        &self.dry
    }

    /// Whether it is to be armed, so that its dry sessions can look once more and rest.
    pub fn wants_arming(&self) -> bool {
        self.watching == Watching::Unknown && !self.dry.is_empty()
    }

    /// Before it is armed, or not waited for: whether events are to be taken. That they are there is news.
    pub fn take_events(&mut self) -> bool {
        let has_events = std::mem::take(&mut self.has_events);
        self.news += u64::from(has_events);
        has_events
    }

    /// It is armed, or cannot be; `is_notified`: it tells of whatever its dry sessions wait for. They look once more.
    pub fn note_armed(&mut self, is_notified: bool) {
        debug_assert!(!self.has_events, "they would end the sleep that this is for");
        self.watching = Watching::Armed;
        self.is_notified = is_notified;
    }

    /// Its sessions have looked once more. True: those who have nothing can rest, until the safety look.
    pub fn note_looked(&mut self) -> bool {
        let is_armed = self.watching == Watching::Armed;
        if is_armed {
            self.watching = Watching::Quiet;
        }
        is_armed
    }

    /// A session rests that waits for something of which the notification does not tell.
    pub fn note_unnotified(&mut self) {
        self.is_notified = false;
    }

    /// The sessions that are to look again, into `into`, which is empty.
    pub fn take_dry(&mut self, into: &mut Vec<SlotKey>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut self.dry, into);
    }
}

/// A log that a loop waits for, on behalf of some of its sessions.
pub struct Watched {
    /// What tells when there is more. A source of the host's own has no such thing, and a log of its own here.
    pub origin: Option<Arc<dyn Origin>>,
    /// What it wakes the loop by.
    pub waker: Arc<Waker>,
    /// What is known of it.
    pub watch: Watch,
    /// How many tasks read it.
    pub readers: usize,
    /// Whether the driver waits for its notification.
    pub is_waited_for: bool,
    /// Whether the loop has noted that it may have events.
    pub is_eventful: bool,
}

impl Watched {
    /// One that nobody reads yet.
    pub fn new(origin: Option<Arc<dyn Origin>>, waker: Arc<Waker>) -> Watched {
        Watched { origin, waker, watch: Watch::default(), readers: 0, is_waited_for: false, is_eventful: false }
    }

    /// Takes the events that there may be.
    pub fn take_events(&mut self) {
        if self.watch.take_events()
            && let Some(origin) = &self.origin
        {
            origin.take_events(&self.waker);
        }
    }

    /// Has the next change noticed, and only that. False: it cannot be.
    pub fn arm(&mut self) -> bool {
        self.take_events();
        self.origin.as_ref().is_none_or(|origin| origin.arm())
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::Slots;
    use super::*;

    fn keys<const N: usize>() -> [SlotKey; N] {
        let mut slots = Slots::default();
        [(); N].map(|()| slots.insert(()))
    }

    fn taken(watch: &mut Watch) -> Vec<SlotKey> {
        let mut dry = Vec::new();
        watch.take_dry(&mut dry);
        dry
    }

    /// As a loop does it, with the sessions that are dry.
    fn armed(watch: &mut Watch) -> Vec<SlotKey> {
        assert!(watch.wants_arming());
        let dry = taken(watch);
        watch.take_events();
        watch.note_armed(true);
        dry
    }

    /// One that rests, and the session that does.
    fn quiet() -> (Watch, SlotKey) {
        let [key] = keys();
        let mut watch = Watch::default();
        assert!(watch.note_dry(key, 0));
        armed(&mut watch);
        assert!(watch.note_dry(key, 0) && watch.note_looked() && watch.is_quiet());
        (watch, key)
    }

    #[test]
    fn it_rests_when_those_who_had_nothing_have_looked_once_more() {
        let [a, b] = keys();
        let mut watch = Watch::default();
        assert!(!watch.wants_arming(), "nobody waits for it");
        assert!(watch.note_dry(a, 0) && watch.note_dry(b, 0));
        assert_eq!(armed(&mut watch), [a, b]);
        assert!(watch.is_armed() && watch.is_notified() && !watch.wants_arming());
        assert!(watch.note_dry(b, 0));
        assert!(watch.note_looked(), "also if one of them has found something old");
        assert!(watch.is_quiet());
        assert_eq!(taken(&mut watch), [b]);
    }

    #[test]
    fn what_is_found_after_it_was_armed_has_fired_it() {
        let [key] = keys();
        let mut watch = Watch::default();
        watch.note_found();
        assert!(!watch.has_events(), "it was not armed");
        watch.note_dry(key, 0);
        armed(&mut watch);
        watch.note_found();
        assert!(watch.has_events() && !watch.note_looked() && !watch.is_quiet());
        watch.note_dry(key, 0);
        assert!(watch.take_events() && !watch.take_events());
        assert_eq!(watch.news(), 1, "events are news");
        let (mut watch, _) = quiet();
        watch.note_found();
        assert!(watch.has_events() && watch.wants_arming(), "and for those who rest there is more, too");
    }

    #[test]
    fn events_are_told_of_once_until_they_are_taken() {
        let (mut watch, key) = quiet();
        assert!(watch.note_readable() && !watch.note_readable());
        assert_eq!(taken(&mut watch), [key]);
        assert!(!watch.is_quiet() && !watch.wants_arming(), "nobody is dry any more");
        assert!(watch.note_dry(key, 0));
        assert!(watch.wants_arming());
        armed(&mut watch);
        assert!(watch.note_readable());
    }

    #[test]
    fn news_that_a_session_has_not_heard_are_heard_before_it_rests() {
        let (mut watch, key) = quiet();
        let [other] = keys();
        watch.note_news();
        assert_eq!(taken(&mut watch), [key]);
        assert!(watch.note_dry(key, 0), "it hears of them when the log is armed");
        armed(&mut watch);
        assert!(watch.note_dry(key, 1));
        assert!(!watch.note_dry(other, 0), "one that comes later has to look again");
        assert!(watch.note_dry(other, 1));
        assert!(watch.note_looked());
        assert!(!watch.note_dry(other, 0));
    }

    #[test]
    fn news_while_all_look_once_more_begin_it_anew() {
        let [a, b] = keys();
        let mut watch = Watch::default();
        watch.note_dry(a, 0);
        watch.note_dry(b, 0);
        armed(&mut watch);
        watch.note_dry(a, 0);
        watch.note_news();
        assert!(!watch.note_looked());
        assert_eq!(taken(&mut watch), [a]);
        assert!(watch.note_dry(b, 0) && watch.wants_arming());
    }
}
