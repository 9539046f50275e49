//! Events of a server: what has happened, and to whom.

use std::ffi::{CStr, CString, c_char};
use std::sync::Arc;

use super::border::{Owned, give, given};
use super::connection::{NXF_SERVICE_UNKNOWN, service_of};
use super::error::nxf_error;
use super::runner::{NXF_LOG_READING, NXF_RUN_NEW};
use super::status::{
    NXF_AGAIN, NXF_CLOSED, NXF_E_LOG_AHEAD, NXF_E_PROTOCOL, NXF_E_WRITE_TIMEOUT, NXF_OK, NXF_TIMEOUT, name_among,
    named, nxf_status,
};
use crate::acks::End;
use crate::error::Error;
use crate::server::connection::Connection;
use crate::server::events::{Event, Kind};
use crate::server::refusal::Refusal;
use crate::session::service::ServiceError;

/// A replica is fed from now on; vlsn is the first VLSN that it gets. If it is dialled from 0 on, vlsn is 0.
pub const NXF_EVENT_JOINED: u32 = 1;
/// It has acknowledged up to vlsn, on this connection. Several acknowledgements that nobody has taken yet are one
/// event.
pub const NXF_EVENT_ACKED: u32 = 2;
/// It has acknowledged all that the log holds, but what was just appended.
pub const NXF_EVENT_CAUGHT_UP: u32 = 3;
/// It had caught up, and something has waited for too long since. It is told again when it has caught up.
pub const NXF_EVENT_FELL_BEHIND: u32 = 4;
/// The log does not go on where it is read for this replica, and that has lasted for longer than the settle time.
/// log_state and reason say what is waited for, lsn where, and vlsn is a VLSN that was not found although later ones
/// were; 0 if there is no such VLSN.
pub const NXF_EVENT_STALLED: u32 = 5;
/// It asked for what the log has no more, and was told that it has to restore.
pub const NXF_EVENT_NEEDS_RESTORE: u32 = 6;
/// It fetches the files of the log: count files.
pub const NXF_EVENT_RESTORING: u32 = 7;
/// It was sent all files of the log: count bytes.
pub const NXF_EVENT_RESTORED: u32 = 8;
/// A connection came to nothing: reason and status say why. There was no stream.
pub const NXF_EVENT_REFUSED: u32 = 9;
/// A replica is fed no longer. run_state, status and reason say why; vlsn is the highest VLSN that it has acknowledged.
pub const NXF_EVENT_ENDED: u32 = 10;
/// The log cannot be read on: error says why. Nobody can be fed beyond that place. It is told once for each such error.
pub const NXF_EVENT_LOG_BROKEN: u32 = 11;
/// The host did not take events in time, and count of them found no room (server.events_max). nxf_server_connections()
/// says how things are now. Acknowledgements of replicas that are connected are never lost; with the end of a stream
/// comes what was acknowledged last.
pub const NXF_EVENT_LOST: u32 = 12;
/// The log goes on, after an NXF_EVENT_STALLED.
pub const NXF_EVENT_GOES_ON: u32 = 13;

const KINDS: &[(u32, &CStr)] = named![
    NXF_EVENT_JOINED,
    NXF_EVENT_ACKED,
    NXF_EVENT_CAUGHT_UP,
    NXF_EVENT_FELL_BEHIND,
    NXF_EVENT_STALLED,
    NXF_EVENT_NEEDS_RESTORE,
    NXF_EVENT_RESTORING,
    NXF_EVENT_RESTORED,
    NXF_EVENT_REFUSED,
    NXF_EVENT_ENDED,
    NXF_EVENT_LOG_BROKEN,
    NXF_EVENT_LOST,
    NXF_EVENT_GOES_ON,
];

/// The name of an NXF_EVENT_..., such as "NXF_EVENT_JOINED". Any other number has the name "NXF_UNKNOWN". Never NULL;
/// valid for as long as the library is loaded. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn nxf_event_kind_name(kind: u32) -> *const c_char {
    name_among(KINDS, &kind).unwrap_or(c"NXF_UNKNOWN").as_ptr()
}

/// Something that has happened. The library makes it, and nothing changes it afterwards; strings and error belong to
/// it. Members may be added at its end, and kinds may be added: pass over those that you do not know. The number of a
/// kind is never used again.
#[repr(C)]
pub struct nxf_event {
    /// How many bytes of it the library has filled.
    pub struct_size: usize,
    /// What: NXF_EVENT_...
    pub kind: u32,
    /// What the connection is for: NXF_SERVICE_...
    pub service: u32,
    /// The number of the connection; 0 if the event is about no connection, or about an attempt to make one.
    pub connection_id: u64,
    /// The VLSN that the kind names; otherwise 0.
    pub vlsn: u64,
    /// The number that the kind names; otherwise 0.
    pub count: u64,
    /// For NXF_EVENT_STALLED the place in the log, as an LSN; otherwise 0.
    pub lsn: u64,
    /// For NXF_EVENT_ENDED how the stream ended: an NXF_RUN_... from NXF_RUN_STOPPED on. Otherwise NXF_RUN_NEW.
    pub run_state: u32,
    /// For NXF_EVENT_STALLED what the log is waited for: NXF_LOG_... Otherwise NXF_LOG_READING.
    pub log_state: u32,
    /// For NXF_EVENT_ENDED and NXF_EVENT_LOG_BROKEN the error, or NXF_OK. For NXF_EVENT_REFUSED the error, or:
    /// NXF_E_PROTOCOL: the replica said something wrong, or asked for a service that is not offered. NXF_E_LOG_AHEAD:
    /// it wants to begin above the end of the log. NXF_TIMEOUT: it, or the host that had to name it, took too long.
    /// NXF_CLOSED: it closed the connection in the middle of something. NXF_AGAIN: there was no room for it. NXF_OK:
    /// the host refused it, or a replica of its name is to stay. For any other kind NXF_OK.
    pub status: nxf_status,
    /// The name of the replica; while it has none, its address. "" if the event is about no connection. Never NULL.
    pub replica_name: *const c_char,
    /// The address and port of the replica, as in nxf_connection. "" if the event is about no connection. Never NULL.
    pub peer: *const c_char,
    /// Why, in words, for NXF_EVENT_REFUSED, NXF_EVENT_STALLED, NXF_EVENT_LOG_BROKEN, and NXF_EVENT_ENDED where this
    /// side ended the stream or it failed. Otherwise "". Never NULL.
    pub reason: *const c_char,
    /// The error, if status is negative and there is more to know of it; otherwise NULL.
    pub error: *const nxf_error,
}

/// An event as C has it, and what it points to.
#[repr(C)]
pub(super) struct Told {
    // The first, so that a pointer to it is one to all of this.
    event: nxf_event,
    connection: Option<Arc<Connection>>,
    reason: Option<Arc<CStr>>,
    error: Option<Arc<nxf_error>>,
}

impl Told {
    pub(super) fn new(Event { kind, connection }: &Event) -> Told {
        let about = connection.as_deref();
        let mut told = Told {
            event: nxf_event {
                struct_size: size_of::<nxf_event>(),
                kind: 0,
                service: about.map_or(NXF_SERVICE_UNKNOWN, |connection| service_of(connection.purpose())),
                connection_id: about.map_or(0, |connection| connection.id),
                vlsn: 0,
                count: 0,
                lsn: 0,
                run_state: NXF_RUN_NEW,
                log_state: NXF_LOG_READING,
                status: NXF_OK,
                replica_name: about.map_or(c"", Connection::name).as_ptr(),
                peer: about.map_or(c"", |connection| connection.peer.text.as_c_str()).as_ptr(),
                reason: c"".as_ptr(),
                error: std::ptr::null(),
            },
            connection: connection.clone(),
            reason: None,
            error: None,
        };
        told.tell(kind);
        told
    }

    fn tell(&mut self, kind: &Kind) {
        let event = &mut self.event;
        match kind {
            Kind::Joined(vlsn) => (event.kind, event.vlsn) = (NXF_EVENT_JOINED, *vlsn),
            Kind::Acked(vlsn) => (event.kind, event.vlsn) = (NXF_EVENT_ACKED, *vlsn),
            Kind::CaughtUp => event.kind = NXF_EVENT_CAUGHT_UP,
            Kind::FellBehind => event.kind = NXF_EVENT_FELL_BEHIND,
            Kind::Stalled(stall) => {
                let state = stall.reason.state();
                (event.kind, event.log_state) = (NXF_EVENT_STALLED, state.code);
                (event.lsn, event.vlsn) = (stall.at.0, stall.missing_vlsn.unwrap_or(0));
                self.tell_why(state.words);
            }
            Kind::GoesOn => event.kind = NXF_EVENT_GOES_ON,
            Kind::NeedsRestore => event.kind = NXF_EVENT_NEEDS_RESTORE,
            Kind::Restoring => {
                let files = self.connection.as_ref().map_or(0, |connection| connection.restored().files);
                (event.kind, event.count) = (NXF_EVENT_RESTORING, files);
            }
            Kind::Restored(bytes) => (event.kind, event.count) = (NXF_EVENT_RESTORED, *bytes),
            Kind::Lost(count) => (event.kind, event.count) = (NXF_EVENT_LOST, *count),
            Kind::Refused(refusal) => {
                event.kind = NXF_EVENT_REFUSED;
                event.status = status_of(refusal);
                self.tell_why(&refusal.to_string());
                self.tell_error(error_of(refusal));
            }
            Kind::Ended(end, why) => {
                event.kind = NXF_EVENT_ENDED;
                event.run_state = end.state().code;
                event.vlsn = self.connection.as_ref().map_or(0, |connection| connection.acked_vlsn());
                match (end, why) {
                    (End::Failed(error), _) => {
                        event.status = error.status();
                        self.tell_why(&error.to_string());
                        self.tell_error(Some(error));
                    }
                    (End::Stopped, Some(refusal)) => self.tell_why(&refusal.to_string()),
                    (End::Stopped | End::ClosedByPeer(_), _) => {}
                }
            }
            Kind::LogBroken(error) => {
                event.kind = NXF_EVENT_LOG_BROKEN;
                event.status = error.status();
                self.tell_why(&error.to_string());
                self.tell_error(Some(error));
            }
        }
    }

    fn tell_why(&mut self, reason: &str) {
        let reason: Arc<CStr> = CString::new(reason.replace('\0', " ")).unwrap_or_default().into();
        self.event.reason = self.reason.insert(reason).as_ptr();
    }

    fn tell_error(&mut self, error: Option<&Error>) {
        let Some(error) = error.filter(|error| error.status() < NXF_OK) else { return };
        let replica = self.connection.as_ref().map(|connection| connection.name().to_owned());
        let error = Arc::new(nxf_error::new(error.clone(), replica));
        self.event.error = Arc::as_ptr(self.error.insert(error));
    }

    /// The event, for as long as this is there.
    pub(super) fn event(&self) -> &nxf_event {
        &self.event
    }

    /// Gives it to C.
    pub(super) fn give(self) -> *mut nxf_event {
        give(self).cast()
    }
}

fn status_of(refusal: &Refusal) -> nxf_status {
    match refusal {
        Refusal::ByHost | Refusal::NameTaken | Refusal::Replaced | Refusal::Stopped => NXF_OK,
        Refusal::TooMany | Refusal::Crowded => NXF_AGAIN,
        Refusal::NotNamed | Refusal::Service(ServiceError::Timeout { .. }) => NXF_TIMEOUT,
        Refusal::Service(ServiceError::NotTaken { .. }) => NXF_E_WRITE_TIMEOUT,
        Refusal::Service(ServiceError::Closed { .. }) => NXF_CLOSED,
        Refusal::Service(ServiceError::AheadOfLog { .. }) => NXF_E_LOG_AHEAD,
        Refusal::Service(
            ServiceError::Fault { .. } | ServiceError::NotOffered { .. } | ServiceError::TooLarge { .. },
        ) => NXF_E_PROTOCOL,
        Refusal::Service(ServiceError::Log { error, .. }) | Refusal::Failed(error) => error.status(),
    }
}

fn error_of(refusal: &Refusal) -> Option<&Error> {
    match refusal {
        Refusal::Service(ServiceError::Log { error, .. }) | Refusal::Failed(error) => Some(error),
        _ => None,
    }
}

/// Releases an event that nxf_server_next_event() has given, strings and error with it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_event_free(event: *mut nxf_event) {
    let event = event.cast::<Told>();
    given!(event: owned);
    drop(event.map(Owned::take));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_given_and_taken_back_with_all_that_it_points_to() {
        let error = Error::os("open", "a file", std::io::Error::from_raw_os_error(libc::EMFILE));
        let text = error.to_string();
        let event = Told::new(&Event { kind: Kind::LogBroken(error), connection: None }).give();
        // SAFETY: it was just given, and is read before it is taken back.
        unsafe {
            assert_eq!(((*event).kind, (*event).status), (NXF_EVENT_LOG_BROKEN, crate::ffi::status::NXF_E_OS));
            assert_eq!(CStr::from_ptr((*event).reason).to_str(), Ok(&*text));
            assert_eq!(crate::ffi::error::nxf_error_errno((*event).error), libc::EMFILE);
            assert_eq!(CStr::from_ptr((*event).replica_name), c"");
            nxf_event_free(event);
        }
        let lost = Told::new(&Event { kind: Kind::Lost(3), connection: None });
        assert_eq!((lost.event().kind, lost.event().count), (NXF_EVENT_LOST, 3));
        assert!(lost.event().error.is_null());
    }

    #[test]
    fn every_kind_has_its_name_and_its_number() {
        let constants = include_str!("event.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub const NXF_")?.split_once(": u32 = "))
            .map(|(name, code)| (code.trim_end_matches(';').parse::<u32>().unwrap(), format!("NXF_{name}")));
        let in_table = KINDS.iter().map(|(code, name)| (*code, name.to_str().unwrap().to_owned()));
        assert_eq!(constants.collect::<Vec<_>>(), in_table.collect::<Vec<_>>());
    }
}
