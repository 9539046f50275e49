//! Channels of the host's own: a transport other than sockets, by callbacks.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::border::{Context, Growing, given, guard};
use super::channel::nxf_channel;
use super::error::nxf_error;
use super::options::{copied, nxf_options};
use super::status::{
    NXF_AGAIN, NXF_CLOSED, NXF_E_BUFFER_TOO_SMALL, NXF_OK, NXF_TIMEOUT, described, nxf_drop_callback, nxf_status,
};
use crate::error::{Error, Result};
use crate::sys::thread::Threads;
use crate::transport::pump::Pump;
use crate::transport::{Channel, Received, Transport};
use crate::wire::message::check_message_len;

/// A transport of the host's own: whole messages, both ways. All functions get the context. send and receive are called
/// on two threads of their own, whose stacks may grow to the option runner.stack_bytes. They are called at the same
/// time as each other and as close and is_open, and may wait within their limits. No function may throw. All are called
/// with no lock held, and may call the library, but must not free the channel. A call that would wait for the channel's
/// runner is refused with NXF_E_INSIDE_CALLBACK. While nxf_runner_new() asks is_open, the channel is in use, and a call
/// with it is NXF_E_WRONG_STATE. Zero the struct before you fill it: members may be added at its end.
#[repr(C)]
pub struct nxf_channel_vtable {
    /// sizeof(nxf_channel_vtable).
    pub struct_size: usize,
    /// Needed. Sends a message whole; may wait while the peer does not read. Returns NXF_OK; or NXF_AGAIN: there is no
    /// room, and nothing was sent; or NXF_CLOSED. Any other status ends the run with NXF_E_CALLBACK. The message is
    /// valid during the call.
    pub send: Option<unsafe extern "C" fn(context: *mut c_void, message: *const u8, len: usize) -> nxf_status>,
    /// Needed. Receives a message into buf and writes its length to *len; waits for a message for at most timeout_ms
    /// (-1: as long as it takes). Returns NXF_OK; or NXF_AGAIN: no message came; or NXF_CLOSED; or
    /// NXF_E_BUFFER_TOO_SMALL, with the length needed in *len, and is called again for the same message. Any other
    /// status ends the run with NXF_E_CALLBACK.
    pub receive: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            buf: *mut u8,
            capacity: usize,
            len: *mut usize,
            timeout_ms: c_int,
        ) -> nxf_status,
    >,
    /// Needed. Closes the channel: if send and receive wait in other threads, they return NXF_CLOSED as soon as they
    /// can. May be called more than once.
    pub close: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// May be NULL: then the channel is open until the library closes it. Says whether the channel is open; must not
    /// wait.
    pub is_open: Option<unsafe extern "C" fn(context: *mut c_void) -> bool>,
    /// May be NULL. Releases the context, after the last call.
    pub drop: nxf_drop_callback,
}

// SAFETY: a struct as C has them, of functions that may be NULL, behind its size.
unsafe impl Growing for nxf_channel_vtable {
    const LEAST: usize = std::mem::offset_of!(nxf_channel_vtable, is_open);
}

struct HostChannel {
    vtable: nxf_channel_vtable,
    context: Context,
    closed: AtomicBool,
}

fn missing(member: &'static str) -> Error {
    Error::invalid("vtable", format!("its member {member} is NULL"))
}

impl Channel for HostChannel {
    fn send(&self, message: &[u8]) -> Result<()> {
        check_message_len(message.len())?;
        let send = self.vtable.send.ok_or_else(|| missing("send"))?;
        // SAFETY: the host gave the function for this context, and the message is valid during the call.
        match unsafe { send(self.context.pointer(), message.as_ptr(), message.len()) } {
            NXF_OK => Ok(()),
            NXF_AGAIN | NXF_TIMEOUT => Err(Error::QueueFull { queued: 0, max: 0 }),
            NXF_CLOSED => Err(Error::ChannelClosed),
            status => Err(Error::Callback { function: "send", answer: described(status) }),
        }
    }

    fn receive(&self, into: &mut [u8], deadline: Option<Instant>) -> Result<Received> {
        let receive = self.vtable.receive.ok_or_else(|| missing("receive"))?;
        let timeout_ms = deadline.map_or(-1, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            c_int::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
        });
        let mut len = 0;
        // SAFETY: the host gave the function for this context; buffer and length are valid during the call.
        let status =
            unsafe { receive(self.context.pointer(), into.as_mut_ptr(), into.len(), &raw mut len, timeout_ms) };
        match status {
            NXF_OK if len <= into.len() => Ok(Received::Message(len)),
            NXF_E_BUFFER_TOO_SMALL if len > into.len() => {
                Err(Error::BufferTooSmall { capacity: into.len(), needed: len })
            }
            NXF_AGAIN | NXF_TIMEOUT => Ok(Received::Again),
            NXF_CLOSED => Ok(Received::Closed),
            status => Err(Error::Callback { function: "receive", answer: described(status) }),
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(close) = self.vtable.close {
            // SAFETY: the host gave the function for this context.
            unsafe { close(self.context.pointer()) };
        }
    }

    fn is_open(&self) -> bool {
        let is_open = match self.vtable.is_open {
            // SAFETY: the host gave the function for this context.
            Some(is_open) => unsafe { is_open(self.context.pointer()) },
            None => true,
        };
        is_open && !self.closed.load(Ordering::Acquire)
    }

    fn into_transport(self: Box<Self>, threads: Threads) -> Result<(Box<dyn Transport>, Vec<u8>)> {
        Pump::start(self, threads)
    }
}

impl Drop for HostChannel {
    fn drop(&mut self) {
        if !self.closed.load(Ordering::Acquire) {
            self.close();
        }
    }
}

/// Makes a channel of functions of the host's own. Reads no options so far. The vtable is copied. On NXF_OK the context
/// belongs to the channel, which calls close before drop; on an error it stays the caller's. The channel belongs to the
/// caller, who releases it with nxf_channel_free() or gives it to a runner. nxf_channel_send() and
/// nxf_channel_receive() call the functions on the caller's thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nxf_channel_from_callbacks(
    vtable: *const nxf_channel_vtable,
    context: *mut c_void,
    options: *const nxf_options,
    channel: *mut *mut nxf_channel,
    err: *mut *mut nxf_error,
) -> nxf_status {
    given!(vtable: sized, options: reference, channel: out, err: optional_out);
    guard(err, || {
        let place = channel?;
        let vtable = vtable?;
        let needed =
            [("send", vtable.send.is_some()), ("receive", vtable.receive.is_some()), ("close", vtable.close.is_some())];
        if let Some((member, _)) = needed.into_iter().find(|(_, is_there)| !is_there) {
            return Err(missing(member));
        }
        copied(options)?;
        let context = Context::new(context, vtable.drop);
        place.write(nxf_channel::give(HostChannel { vtable, context, closed: AtomicBool::new(false) }));
        Ok(NXF_OK)
    })
}
