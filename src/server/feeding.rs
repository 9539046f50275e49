//! A connection that has become a stream: its session, and what the loop tells of it.

use std::sync::Arc;
use std::time::Instant;

use super::connection::Connection;
use super::events::Kind;
use super::shared::Shared;
use crate::acks::End;
use crate::session::Session;
use crate::session::link::{Callbacks, Link};
use crate::session::standing::{Place, Standing};
use crate::stream::Stream;
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::transport::Transport;

/// The session that feeds a replica from `start` on.
pub(super) fn session(
    shared: &Arc<Shared>,
    connection: &Arc<Connection>,
    transport: Box<dyn Transport>,
    start: u64,
    now: Instant,
) -> Session {
    let options = &shared.options;
    let waker = shared.loops.get().map(|loops| loops[connection.at_loop].waker()).expect("it runs");
    let name = connection.name().to_owned();
    let link = Arc::new(Link::new(waker, name, 1, start, options.logger.clone()));
    connection.set_link(Arc::clone(&link));
    let standing = Mutex::default();
    let fed = Arc::new(Fed { shared: Arc::clone(shared), connection: Arc::clone(connection), standing });
    shared.figures.joined.fetch_add(1, Ordering::Relaxed);
    let feed = Box::new(shared.feeds.feed(start));
    let stream = Stream::new(start, options.stream);
    let session = Session::new(stream, transport, feed, link, fed, options.session, now);
    shared.tell(Kind::Joined(start), connection);
    session
}

/// What the loop tells of a replica that is fed.
struct Fed {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    /// How it stood when the host was told last.
    standing: Mutex<Standing>,
}

impl Callbacks for Fed {
    fn takes_acks(&self) -> bool {
        true
    }

    #[inline]
    fn acked(&self, vlsn: u64) {
        self.connection.note_acked(vlsn);
        self.shared.events.push_ack(&self.connection);
    }

    fn stands(&self, standing: Standing) {
        let before = std::mem::replace(&mut *self.standing.lock(), standing);
        let tell = |kind| self.shared.events.push(kind, Some(&self.connection));
        match standing.stalled {
            Some(stall) if before.stalled != standing.stalled => tell(Kind::Stalled(stall)),
            None if before.stalled.is_some() => tell(Kind::GoesOn),
            _ => {}
        }
        if standing.place != before.place {
            match standing.place {
                Place::CaughtUp => tell(Kind::CaughtUp),
                Place::Behind => tell(Kind::FellBehind),
                Place::CatchingUp => {}
            }
        }
    }

    fn ended(&self, end: &End) {
        let Fed { shared, connection, .. } = self;
        shared.register.leave(connection);
        shared.note_end(end);
        let why = connection.ends_for();
        shared.figures.ended.fetch_add(1, Ordering::Relaxed);
        shared.events.push(Kind::Ended(end.clone(), why), Some(connection));
        if let Some(dialing) = &connection.dialing {
            dialing.note_ended(connection.acked_vlsn(), end);
        }
    }
}
