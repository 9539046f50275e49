//! Servers: replicas dial in, say what they want, and are served.

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::fd::IntoRawFd;

use super::border::{Context, Given, Handle, Opaque, give, given, guard, null, opaque, with};
use super::channel::GivenSocket;
use super::connection::{nxf_connection_list, nxf_peer, with_peer, written_name};
use super::error::nxf_error;
use super::event::{Told, nxf_event};
use super::log::nxf_log;
use super::options::{copied, nxf_options};
use super::status::{NXF_CLOSED, NXF_OK, NXF_TIMEOUT, nxf_drop_callback, nxf_status};
use crate::acks::Deadline;
use crate::error::{Error, Result};
use crate::server::Server;
use crate::server::events::Polled;
use crate::sys::thread::{HoldOff, in_library};

/// Names whoever has connected, once it has said what it wants. Writes the name to name, which has room for capacity
/// bytes, at least 256, with a NUL behind it, and returns NXF_OK; any other status refuses the connection. Replicas do
/// not say who they are: there is only their address. The name stands for the replica in every event, and if it wants
/// to be fed, no other replica is fed under that name: see the option server.same_name.
///
/// It is called on a thread of the server's, one call at a time, and never at the same time as the event callback. It
/// may take its time, up to the option server.step_timeout_ms; meanwhile others wait to be named. It must not throw. It
/// may call the library as an event callback may. peer is valid during the call.
pub type nxf_identify_callback = Option<
    unsafe extern "C" fn(context: *mut c_void, peer: *const nxf_peer, name: *mut c_char, capacity: usize) -> nxf_status,
>;

/// Called for every event, in order, on a thread of the server's, one call at a time, with no lock held. If it takes
/// its time, no replica is held up: events wait for it, up to the option server.events_max. It must not throw. It may
/// call every function of this server's; a call that would wait for the callback is refused with NXF_E_INSIDE_CALLBACK.
/// event is valid during the call.
pub type nxf_event_callback = Option<unsafe extern "C" fn(context: *mut c_void, event: *const nxf_event)>;

/// A server feeds any number of replicas from one log, by a few threads. Replicas connect to it, or it dials them.
/// Connections that replicas make begin with the name of a service: the server answers where the log begins and ends,
/// sends the files of the log to those who have to restore, and streams to those who want to be fed. Any number of
/// threads may use it.
///
/// The server begins with the first nxf_server_listen(), nxf_server_adopt() or nxf_server_dial(). Callbacks are set
/// before that.
pub struct nxf_server(Handle<Server>);
opaque!(nxf_server, "server", Server);

/// How much room there is for the name that an identify callback writes.
const NAME_CAPACITY: usize = 256;

/// Makes a server over a log. It does nothing yet. Reads the options server.*, and those of channels and runners:
/// channel.*, runner.*, ack.beyond_sent. It keeps what it needs of the log, which may be freed at once. The server
/// belongs to the caller, who releases it with nxf_server_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_new(
    log: *mut nxf_log,
    options: *const nxf_options,
    server: *mut *mut nxf_server,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(log: reference, options: reference, server: out, err: optional_out);
    with(log, err, |log| {
        let (place, options) = (server?, copied(options)?);
        let made = Server::new(std::sync::Arc::clone(log), options.server());
        place.write(give(nxf_server(Handle::new(made))));
        Ok(NXF_OK)
    })
}

/// Sets the callback that names replicas. Without it the name of a replica is its address and port, such as
/// "192.0.2.1:1000", which is another for each connection. Only before the server begins, else NXF_E_WRONG_STATE.
/// Replaces the callback set before, whose context is dropped.
///
/// On NXF_OK context belongs to the library and is passed to every call. drop, which may be NULL, releases it after the
/// last call, at the latest when nxf_server_free() returns. On an error context stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_set_identify_callback(
    server: *mut nxf_server,
    callback: nxf_identify_callback,
    context: *mut c_void,
    drop: nxf_drop_callback,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(server: reference, err: optional_out);
    with(server, err, |server| {
        let function = callback.ok_or(null("callback"))?;
        let before = server.set_functions("set_identify_callback", |functions| {
            let context = Context::new(context, drop);
            functions.identify.replace(Box::new(move |peer, purpose| {
                let (context, mut name) = (&context, [0u8; NAME_CAPACITY]);
                let (place, capacity) = (name.as_mut_ptr().cast(), name.len());
                // SAFETY: the host gave function and context for each other; peer and place live during the call.
                let answer =
                    with_peer(peer, purpose, |peer| unsafe { function(context.pointer(), peer, place, capacity) });
                if answer != NXF_OK {
                    return Ok(None);
                }
                let wrong = |answer: &str| Error::Callback { function: "identify", answer: answer.to_owned() };
                written_name(&name).map(Some).map_err(wrong)
            }))
        })?;
        server.calling_the_host(|| std::mem::drop(before));
        Ok(NXF_OK)
    })
}

/// Sets the callback that receives every event; none is kept for nxf_server_next_event() then. Only before the server
/// begins, else NXF_E_WRONG_STATE. Replaces the callback set before, whose context is dropped. context and drop are as
/// for nxf_server_set_identify_callback().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_set_event_callback(
    server: *mut nxf_server,
    callback: nxf_event_callback,
    context: *mut c_void,
    drop: nxf_drop_callback,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(server: reference, err: optional_out);
    with(server, err, |server| {
        let function = callback.ok_or(null("callback"))?;
        let before = server.set_functions("set_event_callback", |functions| {
            let context = Context::new(context, drop);
            functions.event.replace(Box::new(move |event| {
                let (context, told) = (&context, Told::new(event));
                // SAFETY: the host gave function and context for each other; the event lives during the call.
                unsafe { function(context.pointer(), told.event()) };
            }))
        })?;
        server.calling_the_host(|| std::mem::drop(before));
        Ok(NXF_OK)
    })
}

/// Answers elections, as the master of this name, which must not be empty. Without this call whoever holds an election
/// is turned away, and that is what most hosts want: replicas that are told who their master is need no election. Only
/// before the server begins, else NXF_E_WRONG_STATE.
///
/// A warning belongs to it. The server grants every election, and to itself: every node that holds one and reaches this
/// server becomes its replica, whatever the other nodes of the group say. Two servers in one group that answer
/// elections are two masters, and each has replicas with a history of its own. The library cannot notice that. The host
/// has to make sure that there is one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_answer_elections(
    server: *mut nxf_server,
    master_name: *const c_char,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(server: reference, master_name: string, err: optional_out);
    with(server, err, |server| {
        server.answer_elections(master_name?)?;
        Ok(NXF_OK)
    })
}

/// Listens for replicas at host and port. host is a name or an address of this machine; NULL stands for 127.0.0.1, and
/// "0.0.0.0" and "::" for all addresses. port 0 stands for any. Writes the port that it is to *bound_port, which may be
/// NULL. A server may listen at several places. Whoever can connect can be fed: bind the server to a network that
/// is yours.
///
/// NXF_E_OS: the system refused it; nxf_error_errno() has its number, such as EADDRINUSE. NXF_E_WRONG_STATE: the server
/// was stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_listen(
    server: *const nxf_server,
    host: *const c_char,
    port: u16,
    bound_port: *mut u16,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(server: reference, host: optional_string, bound_port: optional_out, err: optional_out);
    with(server, err, |server| {
        let address = server.listen(host?.unwrap_or("127.0.0.1"), port)?;
        if let Some(place) = bound_port {
            place.write(address.port());
        }
        Ok(NXF_OK)
    })
}

/// Takes in a connected stream socket, TCP or Unix domain, that the host has accepted, and on which the replica has yet
/// to say what it wants. Makes the socket non-blocking and close-on-exec. On NXF_OK the descriptor belongs to the
/// server, which closes it; on any other status it stays the caller's.
///
/// NXF_AGAIN: there are as many connections as there may be (server.connections_max). NXF_E_INVALID_ARGUMENT: it is no
/// connected stream socket. NXF_E_CONNECTION: the connection has failed already. NXF_E_WRONG_STATE: the server was
/// stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_adopt(
    server: *const nxf_server,
    fd: c_int,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(server: reference, err: optional_out);
    with(server, err, |server| {
        let socket = GivenSocket::new(fd)?.take();
        server.adopt(socket).map_err(|(socket, error)| {
            // It is the host's again.
            let _ = socket.into_raw_fd();
            error
        })?;
        Ok(NXF_OK)
    })
}

/// Dials a replica that listens at host and port, and feeds it from start_vlsn on, as a runner would; 0 stands for the
/// lowest VLSN that the log holds without a hole. It is dialled until it answers, and again when its stream has ended,
/// behind what it has acknowledged until then; the options server.redial_min_ms and server.redial_max_ms say how often.
/// nxf_server_disconnect() ends it. host is a name or an address; a name is looked up now, which may wait for the
/// resolver, and not again.
///
/// NXF_E_CONNECT: the name is not known. That the replica does not answer is no error: an NXF_EVENT_REFUSED says so,
/// once for a row of attempts that fail. NXF_E_INVALID_ARGUMENT: a replica of that name is dialled already.
/// NXF_E_WRONG_STATE: the server was stopped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_dial(
    server: *const nxf_server,
    host: *const c_char,
    port: u16,
    replica_name: *const c_char,
    start_vlsn: u64,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(server: reference, host: string, replica_name: string, err: optional_out);
    with(server, err, |server| {
        server.dial(host?, port, &name(replica_name)?, start_vlsn)?;
        Ok(NXF_OK)
    })
}

/// Ends the stream to the replica of this name, which lingers as if the server was stopped, and dials it no more. Does
/// not wait. A replica that connects by itself may come again. NXF_CLOSED: no replica of that name is fed or dialled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_disconnect(
    server: *const nxf_server,
    replica_name: *const c_char,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(server: reference, replica_name: string, err: optional_out);
    with(server, err, |server| Ok(if server.disconnect(&name(replica_name)?) { NXF_OK } else { NXF_CLOSED }))
}

fn name(replica_name: Given<&str>) -> Result<CString> {
    // It was NUL-terminated.
    Ok(CString::new(replica_name?).unwrap_or_default())
}

/// Takes the next event, in the order in which they happened. Waits for it: timeout_ms 0 tries, -1 waits for as long as
/// it takes. Any number of threads, each event for one of them, also before the server begins. The event belongs to the
/// caller, who releases it with nxf_event_free(), before or after the server.
///
/// NXF_OK: *event is written. NXF_TIMEOUT: none came in time. NXF_CLOSED: the server has ended, and all were taken.
/// NXF_E_WRONG_STATE: an event callback is set, and receives them. NXF_E_INSIDE_CALLBACK: the call would wait, inside a
/// callback of this server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_next_event(
    server: *const nxf_server,
    timeout_ms: c_int,
    event: *mut *mut nxf_event,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(server: reference, event: out, err: optional_out);
    with(server, err, |server| {
        let place = event?;
        check_polls(server, "next_event")?;
        let (deadline, mut taken) = (Deadline::from_millis(timeout_ms), Vec::with_capacity(1));
        server.refuse_waiting_inside("next_event", deadline)?;
        let polled = server.events().poll(&mut taken, 1, deadline);
        Ok(match (taken.first(), polled) {
            (Some(event), _) => {
                place.write(Told::new(event).give());
                NXF_OK
            }
            (None, Polled::Ended) => NXF_CLOSED,
            (None, Polled::TimedOut | Polled::Events(_)) => NXF_TIMEOUT,
        })
    })
}

/// A descriptor that is readable while events wait to be taken, or the server has ended. It belongs to the server:
/// watch it with poll, select or epoll, and never read, write or close it. Every call returns the same descriptor,
/// valid until the server is freed. Any thread. NXF_E_OS: no descriptor could be made. NXF_E_WRONG_STATE: an event
/// callback is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_event_fd(
    server: *const nxf_server,
    fd: *mut c_int,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(server: reference, fd: out, err: optional_out);
    with(server, err, |server| {
        let place = fd?;
        check_polls(server, "event_fd")?;
        let made = server.events().event_fd();
        place.write(made.map_err(|error| Error::os("make", "an event descriptor", error))?);
        Ok(NXF_OK)
    })
}

/// Whether events wait to be taken by the host.
fn check_polls(server: &Server, call: &'static str) -> Result<()> {
    let reason = "an event callback is set, and receives the events";
    if server.tells_events() { Err(Error::WrongState { call, reason }) } else { Ok(()) }
}

/// Lists the connections there are. The listing belongs to the caller, who releases it with nxf_connection_list_free().
/// Waits only for the file system, which it asks for lengths, as nxf_runner_stats() does. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_connections(
    server: *const nxf_server,
    list: *mut *mut nxf_connection_list,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(server: reference, list: out, err: optional_out);
    with(server, err, |server| {
        list?.write(nxf_connection_list::of(server));
        Ok(NXF_OK)
    })
}

/// Ends the server: nobody is taken in or dialled any more, and all connections end, all at the same time, as runs end
/// that are stopped. Waits until the server has ended: timeout_ms 0 does not wait, -1 waits for as long as it takes.
/// Any thread, any number of times. A server that is stopped before it has begun has ended.
///
/// NXF_OK: it has ended, no callback runs any more, and none starts; events that were not taken stay to be taken.
/// NXF_TIMEOUT: it is still ending. NXF_E_INSIDE_CALLBACK: called from a callback of this server, for which it would
/// wait. With timeout_ms 0 it does not wait, and can be called there, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_stop(
    server: *const nxf_server,
    timeout_ms: c_int,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(server: reference, err: optional_out);
    with(server, err, |server| {
        let stopped = server.stop(Deadline::from_millis(timeout_ms))?;
        Ok(if stopped { NXF_OK } else { NXF_TIMEOUT })
    })
}

/// Ends the server like nxf_server_stop(server, -1), and releases it. No other thread may use it any more. NULL is
/// fine. From inside a callback of this server it is NXF_E_INSIDE_CALLBACK, and releases nothing. When it returns
/// NXF_OK, all connections are closed, no thread of the server is left, and the callbacks' contexts have been dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_server_free(server: *mut nxf_server) -> nxf_status {
    given!(server: owned);
    let Some(server) = server else { return NXF_OK };
    let handle = server.handle();
    if !handle.is_of_this_process() {
        in_library(HoldOff::AtOnce, || handle.value().close_in_child());
        // The threads that hold the rest do not exist in this process.
        std::mem::forget(server.take());
        return NXF_OK;
    }
    let status = guard(None, || {
        handle.value().dispose()?;
        Ok(NXF_OK)
    });
    if status == NXF_OK {
        in_library(HoldOff::AtOnce, || drop(server.take()));
    }
    status
}
