//! Channels: whole messages, to and from one peer.

use std::ffi::{c_char, c_int};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::resume_unwind;

use parking_lot::RwLock;

use super::border::{Handle, Opaque, Owned, ask, free, give, given, guard, null, opaque, with};
use super::error::nxf_error;
use super::options::{copied, nxf_options};
use super::status::{NXF_AGAIN, NXF_CLOSED, NXF_OK, nxf_status};
use crate::acks::Deadline;
use crate::error::{Error, Result};
use crate::sys::socket;
use crate::transport::connect::tcp_connect;
use crate::transport::local::local_pair;
use crate::transport::{Channel, Received, SocketChannel};

/// Whole messages, both ways, to and from one peer. One thread may send while another receives, and any may close.
/// A runner that is given a channel takes it over.
pub struct nxf_channel(Handle<RwLock<Option<Box<dyn Channel>>>>);
opaque!(nxf_channel, "channel", RwLock<Option<Box<dyn Channel>>>);

impl nxf_channel {
    pub(crate) fn give(channel: impl Channel + 'static) -> *mut nxf_channel {
        give(nxf_channel(Handle::new(RwLock::new(Some(Box::new(channel))))))
    }
}

const BUSY: Error = Error::WrongState { call: "channel", reason: "it is in use" };

/// Lends a channel to `body`, which gives it back on failure. On success the handle is freed. No lock is held while
/// `body` runs: it asks a channel of the host's own whether it is open. If the host uses the handle there, it finds the
/// channel lent.
pub(crate) fn hand_over<T>(
    channel: Option<Owned<nxf_channel>>,
    body: impl FnOnce(Box<dyn Channel>) -> Result<T, (Box<dyn Channel>, Error)>,
) -> Result<T> {
    let channel = channel.ok_or(null("channel"))?;
    let handle = channel.handle();
    let cell = handle.check()?;
    let inner = cell.try_write().ok_or(BUSY)?.take().ok_or(BUSY)?;
    match handle.watch(|| body(inner)).unwrap_or_else(|panic| resume_unwind(panic)) {
        Ok(done) => {
            drop(channel.take());
            Ok(done)
        }
        Err((inner, error)) => {
            *cell.write() = Some(inner);
            Err(error)
        }
    }
}

/// Connects to a replica that listens at host and port. host is a name, or an IPv4 or IPv6 address. If it is a name,
/// every address of it is tried. Waits for at most the option channel.connect_timeout_ms, and for the resolver if host
/// is a name. Reads the options channel.*. The channel belongs to the caller, who releases it with nxf_channel_free()
/// or gives it to a runner.
///
/// NXF_E_CONNECT: the name is not known, or no address took the connection.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_channel_tcp_connect(
    host: *const c_char,
    port: u16,
    options: *const nxf_options,
    channel: *mut *mut nxf_channel,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(host: string, options: reference, channel: out, err: optional_out);
    guard(err, || {
        let place = channel?;
        let (host, options) = (host?, copied(options)?);
        let socket = tcp_connect(host, port, options.connect_timeout())?;
        let options = options.socket();
        options.prepare(socket.as_fd())?;
        place.write(nxf_channel::give(SocketChannel::new(socket, options)));
        Ok(NXF_OK)
    })
}

/// Makes a channel of a connected stream socket, TCP or Unix domain, such as one that the host has accepted. Makes the
/// socket non-blocking and close-on-exec. Reads the options channel.*. On NXF_OK the descriptor belongs to the channel,
/// which closes it; on an error it stays the caller's. NXF_E_INVALID_ARGUMENT: it is no connected stream socket.
/// NXF_E_CONNECTION: the connection has failed already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_channel_from_fd(
    fd: c_int,
    options: *const nxf_options,
    channel: *mut *mut nxf_channel,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(options: reference, channel: out, err: optional_out);
    guard(err, || {
        let place = channel?;
        let options = copied(options)?;
        let (socket, options) = (GivenSocket::new(fd)?, options.socket());
        options.prepare(socket.as_fd())?;
        place.write(nxf_channel::give(SocketChannel::new(socket.take(), options)));
        Ok(NXF_OK)
    })
}

/// A connected stream socket that the host gives away if the call succeeds. It stays the host's until it is taken.
pub(super) struct GivenSocket(c_int);

impl GivenSocket {
    pub(super) fn new(fd: c_int) -> Result<GivenSocket> {
        if fd < 0 {
            return Err(Error::invalid("fd", format!("{fd} is no descriptor")));
        }
        let given = GivenSocket(fd);
        // A connection that was made and has failed since is another error than a socket that was never connected.
        if let Err(error) = socket::take_error(given.as_fd())
            && error.raw_os_error() != Some(libc::ENOTSOCK)
            && error.raw_os_error() != Some(libc::EBADF)
        {
            return Err(Error::Connection { os: error.into() });
        }
        let is_stream = socket::is_connected_stream(given.as_fd())
            .map_err(|error| Error::invalid("fd", format!("{fd} is no socket: {error}")))?;
        if !is_stream {
            return Err(Error::invalid("fd", format!("{fd} is no connected stream socket")));
        }
        Ok(given)
    }

    /// The socket is the library's from now on. It can be given back by its number.
    pub(super) fn take(self) -> OwnedFd {
        // SAFETY: it is a socket, as was seen when this was made, and the host gives it away with this call.
        unsafe { OwnedFd::from_raw_fd(self.0) }
    }
}

impl AsFd for GivenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: not -1. The host leaves a descriptor that it gives open during the call; that another number is no
        // descriptor is found out by the first use.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

/// Uses a channel. The read lock keeps the channel from being handed over meanwhile. Nobody waits for it: handing over
/// only tries to lock, and holds the lock during no call.
fn lent<T>(cell: &RwLock<Option<Box<dyn Channel>>>, body: impl FnOnce(&dyn Channel) -> Result<T>) -> Result<T> {
    body(&**cell.read().as_ref().ok_or(BUSY)?)
}

/// Makes two channels that are connected with each other, in memory: each receives the messages that the other sends,
/// in order. Reads the options channel.local_queue_bytes_max and channel.write_timeout_ms. Both channels belong to the
/// caller, who releases each with nxf_channel_free() or gives it to a runner.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_channel_local_pair(
    options: *const nxf_options,
    a: *mut *mut nxf_channel,
    b: *mut *mut nxf_channel,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(options: reference, a: out, b: out, err: optional_out);
    guard(err, || {
        let (place_a, place_b) = (a?, b?);
        let (one, other) = local_pair(copied(options)?.local());
        place_a.write(nxf_channel::give(one));
        place_b.write(nxf_channel::give(other));
        Ok(NXF_OK)
    })
}

/// Sends a message of at most 64 MiB, whole. Waits while the peer does not read, for at most the option
/// channel.write_timeout_ms. The message stays the caller's, and is not used after the call. One thread may send while
/// another receives.
///
/// NXF_OK: it was handed over whole. NXF_CLOSED: the channel is closed. NXF_AGAIN: an in-memory pair is still full
/// after that time, and nothing was sent. NXF_E_WRITE_TIMEOUT, NXF_E_CONNECTION: part of the message may have been
/// sent, and the channel cannot be used any more. NXF_E_PROTOCOL: the message is too long. NXF_E_NO_MEMORY: an
/// in-memory pair has no memory to hold the message, and nothing was sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_channel_send(
    channel: *mut nxf_channel,
    message: *const u8,
    len: usize,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(channel: reference, message[len]: items, err: optional_out);
    with(channel, err, |cell| {
        let message = message?;
        lent(cell, |channel| channel.send(message))?;
        Ok(NXF_OK)
    })
}

/// Receives a message into buf, and writes its length to *len. timeout_ms: 0 tries, -1 waits for as long as it takes.
///
/// NXF_OK: a message was received. NXF_AGAIN: no message came in time. NXF_CLOSED: the channel is closed, and every
/// message that came before was received. NXF_E_BUFFER_TOO_SMALL: *len says how much is needed, and the message can
/// still be received. NXF_E_PROTOCOL: the peer announces a message of more than 64 MiB. NXF_E_CONNECTION: the
/// connection failed. NXF_E_NO_MEMORY: there is no memory for the rest of the message. Nothing of it is lost: it can be
/// received once there is memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_channel_receive(
    channel: *mut nxf_channel,
    buf: *mut u8,
    capacity: usize,
    len: *mut usize,
    timeout_ms: c_int,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(channel: reference, buf[capacity]: buffer, len: out, err: optional_out);
    with(channel, err, |cell| {
        let (place, into) = (len?, buf?);
        let deadline = Deadline::from_millis(timeout_ms).instant();
        match lent(cell, |channel| channel.receive(into, deadline)) {
            Ok(Received::Message(len)) => {
                place.write(len);
                Ok(NXF_OK)
            }
            Ok(Received::Again) => Ok(NXF_AGAIN),
            Ok(Received::Closed) => Ok(NXF_CLOSED),
            Err(Error::BufferTooSmall { capacity, needed }) => {
                place.write(needed);
                Err(Error::BufferTooSmall { capacity, needed })
            }
            Err(error) => Err(error),
        }
    })
}

/// Closes a channel. Calls that wait on it, in any thread, end with NXF_CLOSED. Closing twice is fine. The channel must
/// still be released. Any thread, also while others send and receive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_channel_close(channel: *mut nxf_channel, err: *mut *mut nxf_error) -> nxf_status {
    given!(channel: reference, err: optional_out);
    with(channel, err, |cell| {
        lent(cell, |channel| {
            channel.close();
            Ok(NXF_OK)
        })
    })
}

/// Whether neither side has closed the channel, as far as is known without asking the network. False for NULL. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_channel_is_open(channel: *const nxf_channel) -> bool {
    given!(channel: reference);
    ask(channel, false, |cell| lent(cell, |channel| Ok(channel.is_open())).unwrap_or(false))
}

/// Closes and releases a channel that no runner has taken over, and that no other thread is using. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_channel_free(channel: *mut nxf_channel) {
    given!(channel: owned);
    free(channel, |channel| channel.0, |cell| cell.try_read()?.as_ref()?.inherited_fd());
}
