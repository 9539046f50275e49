//! A receiver that deadlocks with a feeder which does not read acks while it sends.
//!
//! The real receiver does so too, but only once megabytes of acks have filled its socket, and only until its
//! write timeout of 30 s. This one has the smallest socket buffers there are, makes its acks long (a feeder
//! ignores what is past their 8 bytes), and waits for ever: it reads a frame, stores it, and reads no further
//! before the whole ack is written. The deadlock needs more frames than the feeder's socket takes unread: some
//! megabytes of them.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

use super::progress::Progress;
use crate::{Error, Result};

/// The kernel rounds this up to the least it allows.
const SOCKET_BUFFER: usize = 1;
const FRAME_HEADER: usize = 17;
const MAX_MESSAGE: usize = 64 << 20;

/// Where a received entry goes.
pub(super) trait Store {
    fn store(&mut self, vlsn: u64, entry_type: u8, payload: &[u8]) -> Result<()>;
}

/// Gives the connections of `listener` the smallest buffers; before accepting, or the window is agreed on.
pub(super) fn shrink(listener: &TcpListener) -> Result<()> {
    set_socket_recv_buffer_size(listener, SOCKET_BUFFER).map_err(Error::new)?;
    set_socket_send_buffer_size(listener, SOCKET_BUFFER).map_err(Error::new)
}

/// Receives until the feeder closes or `progress` is complete.
pub(super) fn receive(
    mut stream: &TcpStream,
    ack_bytes: u32,
    store: &mut dyn Store,
    progress: &Progress,
) -> Result<()> {
    let mut frame = Vec::new();
    let mut ack = vec![0; 4 + ack_bytes as usize];
    ack[..4].copy_from_slice(&ack_bytes.to_le_bytes());
    while !progress.complete() {
        if !read_message(stream, &mut frame)? {
            return Ok(());
        }
        let vlsn = store_frame(&frame, store)?;
        ack[4..12].copy_from_slice(&vlsn.to_le_bytes());
        stream.write_all(&ack).map_err(|e| Error::new(format_args!("ack of VLSN {vlsn}: {e}")))?;
    }
    Ok(())
}

/// Reads one message; false when the feeder has closed between two.
fn read_message(mut stream: &TcpStream, message: &mut Vec<u8>) -> Result<bool> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(false),
        other => other.map_err(Error::new)?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(Error::new(format_args!("a message of {length} bytes is over the limit")));
    }
    message.resize(length, 0);
    stream.read_exact(message).map_err(Error::new)?;
    Ok(true)
}

/// Checks a frame as the real receiver does, stores it, and gives its VLSN.
fn store_frame(frame: &[u8], store: &mut dyn Store) -> Result<u64> {
    let Some((header, payload)) = frame.split_at_checked(FRAME_HEADER) else {
        return Err(Error::new(format_args!("a frame of {} bytes is too short", frame.len())));
    };
    let vlsn = u64::from_le_bytes(header[..8].try_into().expect("eight bytes"));
    let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    if field(9) as usize != payload.len() {
        return Err(Error::new(format_args!("VLSN {vlsn}: the frame's length and its payload's differ")));
    }
    if field(13) != crc32fast::hash(payload) {
        return Err(Error::new(format_args!("VLSN {vlsn}: the frame's CRC is wrong")));
    }
    store.store(vlsn, header[8], payload)?;
    Ok(vlsn)
}
