//! Connections of a server: who is at the other end, and what for.

use std::ffi::{CStr, CString, c_char};
use std::sync::Arc;
use std::time::Instant;

use super::border::{Owned, give, given};
use super::runner::{RunFigures, millis, nxf_runner_stats_t};
use super::status::{name_among, named};
use crate::error::Result;
use crate::server::Server;
use crate::server::connection::{Connection, Peer, Purpose};
use crate::source::Origin;
use crate::states::run;

/// The replica has not said what it wants.
pub const NXF_SERVICE_UNKNOWN: u32 = 0;
/// It wants to be fed ("PEER_FEEDER").
pub const NXF_SERVICE_STREAM: u32 = 1;
/// It asks which entries the log holds, to find one that it has, too ("REP_SYNCUP").
pub const NXF_SERVICE_SYNCUP: u32 = 2;
/// It fetches the files of the log in a message ("RESTORE").
pub const NXF_SERVICE_RESTORE: u32 = 3;
/// It fetches the files of the log without messages.
pub const NXF_SERVICE_RAW_RESTORE: u32 = 4;
/// It holds an election ("ELECTION").
pub const NXF_SERVICE_ELECTION: u32 = 5;

const SERVICES: &[(u32, &CStr)] = named![
    NXF_SERVICE_UNKNOWN,
    NXF_SERVICE_STREAM,
    NXF_SERVICE_SYNCUP,
    NXF_SERVICE_RESTORE,
    NXF_SERVICE_RAW_RESTORE,
    NXF_SERVICE_ELECTION,
];

/// The name of an NXF_SERVICE_..., such as "NXF_SERVICE_STREAM". Any other number has the name "NXF_UNKNOWN". Never
/// NULL; valid for as long as the library is loaded. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn nxf_service_name(service: u32) -> *const c_char {
    name_among(SERVICES, &service).unwrap_or(c"NXF_UNKNOWN").as_ptr()
}

/// What C has of a purpose.
pub(super) fn service_of(purpose: Purpose) -> u32 {
    match purpose {
        Purpose::Unknown => NXF_SERVICE_UNKNOWN,
        Purpose::Stream => NXF_SERVICE_STREAM,
        Purpose::Syncup => NXF_SERVICE_SYNCUP,
        Purpose::Restore => NXF_SERVICE_RESTORE,
        Purpose::RawRestore => NXF_SERVICE_RAW_RESTORE,
        Purpose::Election => NXF_SERVICE_ELECTION,
    }
}

/// Whoever has connected, and has to be named. The library makes it, and it is valid during the call that it is given
/// to, strings included. Members may be added at its end.
#[repr(C)]
pub struct nxf_peer {
    /// How many bytes of it the library has filled.
    pub struct_size: usize,
    /// Its address and port, such as "192.0.2.1:1000" or "[2001:db8::1]:1000"; "local" for a Unix domain socket. Never
    /// NULL.
    pub peer: *const c_char,
    /// Its address alone, such as "192.0.2.1" or "2001:db8::1"; "" for a Unix domain socket. Never NULL.
    pub host: *const c_char,
    /// Its port; 0 for a Unix domain socket. It is another for each connection.
    pub port: u16,
    /// What it wants: NXF_SERVICE_...
    pub service: u32,
}

/// Calls `body` with what C gets of a peer.
pub(super) fn with_peer<T>(peer: &Peer, purpose: Purpose, body: impl FnOnce(&nxf_peer) -> T) -> T {
    let host = peer.address.map_or_else(String::new, |address| address.ip().to_string());
    let host = CString::new(host).unwrap_or_default();
    body(&nxf_peer {
        struct_size: size_of::<nxf_peer>(),
        peer: peer.text.as_ptr(),
        host: host.as_ptr(),
        port: peer.address.map_or(0, |address| address.port()),
        service: service_of(purpose),
    })
}

/// A connection of a server, as it was when the listing was made. It belongs to the listing, strings and statistics
/// included. Members may be added at its end.
#[repr(C)]
pub struct nxf_connection {
    /// How many bytes of it the library has filled.
    pub struct_size: usize,
    /// Its number, from 1 on. No other connection of this server has it, or had it.
    pub connection_id: u64,
    /// The replica's name; until it has one, its address. Never NULL.
    pub replica_name: *const c_char,
    /// The replica's address and port, such as "192.0.2.1:1000"; "local" for a Unix domain socket. Never NULL.
    pub peer: *const c_char,
    /// For how many milliseconds it has been connected.
    pub connected_ms: u64,
    /// The highest VLSN that it has acknowledged; 0 for none.
    pub acked_vlsn: u64,
    /// How many files a restore sends; 0 if there is no restore, and as long as that is not known.
    pub restore_files: u64,
    /// How many of them it has read to their end.
    pub restore_files_done: u64,
    /// How many bytes the files have.
    pub restore_bytes: u64,
    /// How many of them it has read.
    pub restore_bytes_done: u64,
    /// The figures of a stream; NULL for any other service, and as long as the stream has not begun.
    pub stats: *const nxf_runner_stats_t,
    /// What it is for: NXF_SERVICE_...
    pub service: u32,
}

/// The connections of a server at one moment, in the order in which they came. It does not change, belongs to the
/// caller, and does not depend on the server. Any number of threads may read it.
pub struct nxf_connection_list {
    listed: Vec<nxf_connection>,
    /// What these point to.
    #[expect(dead_code, reason = "it is only kept alive")]
    held: Vec<(Arc<Connection>, Option<Arc<nxf_runner_stats_t>>)>,
}

impl nxf_connection_list {
    /// Those of a server.
    pub(super) fn of(server: &Server) -> *mut nxf_connection_list {
        let (log, now) = (&**server.log(), Instant::now());
        let held = server.connections().into_iter().map(|connection| {
            let stats = figures_of(&connection, log).map(Arc::new);
            (connection, stats)
        });
        let held: Vec<_> = held.collect();
        let listed = held.iter().map(|(connection, stats)| listed(connection, stats.as_ref(), now)).collect();
        give(nxf_connection_list { listed, held })
    }
}

fn listed(connection: &Connection, stats: Option<&Arc<nxf_runner_stats_t>>, now: Instant) -> nxf_connection {
    let restored = connection.restored();
    nxf_connection {
        struct_size: size_of::<nxf_connection>(),
        connection_id: connection.id,
        replica_name: connection.name().as_ptr(),
        peer: connection.peer.text.as_ptr(),
        connected_ms: millis(Some(now.saturating_duration_since(connection.since))),
        acked_vlsn: connection.acked_vlsn(),
        restore_files: restored.files,
        restore_files_done: restored.files_read,
        restore_bytes: restored.bytes,
        restore_bytes_done: restored.bytes_read,
        stats: stats.map_or(std::ptr::null(), Arc::as_ptr),
        service: service_of(connection.purpose()),
    }
}

/// The figures of a stream, if it is one.
fn figures_of(connection: &Connection, log: &dyn Origin) -> Option<nxf_runner_stats_t> {
    let link = connection.link()?;
    let figures = RunFigures {
        acked_vlsn: connection.acked_vlsn(),
        run_state: link.acks.ended().map_or(run::RUNNING, |end| end.state()),
        snapshot: link.snapshot(),
        acks_merged: 0,
        callback_longest: link.callback_longest(),
        origin: Some(log),
    };
    Some(figures.stats(size_of::<nxf_runner_stats_t>()))
}

/// How many connections there are in a listing. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_connection_list_count(list: *const nxf_connection_list) -> usize {
    given!(list: reference);
    list.map_or(0, |list| list.listed.len())
}

/// The connection at this place, counted from 0. NULL if there is none, and for NULL. Valid until the listing is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_connection_list_at(list: *const nxf_connection_list, at: usize) -> *const nxf_connection {
    given!(list: reference);
    list.and_then(|list| list.listed.get(at)).map_or(std::ptr::null(), std::ptr::from_ref)
}

/// Releases a listing, and its connections with it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_connection_list_free(list: *mut nxf_connection_list) {
    given!(list: owned);
    drop(list.map(Owned::take));
}

/// The name that a function of the host's has written to its place: not empty, with a NUL behind it, and UTF-8.
pub(super) fn written_name(place: &[u8]) -> Result<CString, &'static str> {
    let name = CStr::from_bytes_until_nul(place).map_err(|_| "NXF_OK, and a name without a NUL behind it")?;
    if name.is_empty() {
        return Err("NXF_OK, and no name");
    }
    if name.to_str().is_err() {
        return Err("NXF_OK, and a name that is not UTF-8");
    }
    Ok(name.to_owned())
}
