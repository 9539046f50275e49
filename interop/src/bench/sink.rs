//! The receiving end, in a process of its own and the same for everybody: it reads large buffers, checks every frame,
//! and acks every frame, many acks to a write. It never waits with its acks for somebody who does not read them.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use clap::{Args, ValueEnum};
use crc32fast::Hasher;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tempfile::TempDir;

use super::pages::Pages;
use super::receivers::Receivers;
use crate::generation::Generation;
use crate::replica::{AckMode, Holds, Replica};
use crate::{Error, Result};

/// How much is read at once: few system calls, and it stays in a core's cache. Not whole pages: who is behind, and so
/// finds that much each time, would have the bytes at the same place in a page each time, and where that is a little
/// before the place they are copied to, some processors take ten times as long, and it could never catch up.
pub(super) const READ_BYTES: usize = 256 * 1024 - 1000;
/// A message's length and a frame's header.
pub(super) const PREFIX: usize = 4 + 17;
pub(super) const ACK: usize = 4 + 8;
/// What a slow replica takes in a second: some 2 MB.
const SLOW_READ_BYTES: usize = 64 * 1024;
const SLOW_PAUSE: Duration = Duration::from_millis(30);
/// Longer than any measurement.
const REPLICA_TIMEOUT_S: u64 = 600;
const REPLICA_FILE_MAX: u64 = 64 << 20;

/// What the receiving end does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Checks and acks every frame.
    Frames,
    /// Reads to the end, and says with one byte that it is there.
    Raw,
    /// Is a real replica: noxu-rep 7.11.2's receiver and log writer, which acks every frame from the thread that reads.
    Replica,
    /// Reads slowly and acks nothing, from any number of senders, until it is killed.
    Slow,
    /// Is many replicas, which read as cheaply as can be, and look at nothing.
    Many,
}

/// The receiving end of a measurement
#[derive(Debug, Clone, Args)]
pub struct Sink {
    /// What it does
    #[arg(long)]
    pub kind: Kind,
    /// How it is many replicas
    #[command(flatten)]
    pub receivers: Receivers,
}

/// What arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Frames, each checked and acked.
    pub frames: u64,
    /// Bytes.
    pub bytes: u64,
    /// The last VLSN.
    pub last: u64,
}

impl Sink {
    /// Receives from one sender until it has finished; `listening` hears of the port.
    pub fn run(&self, listening: impl FnOnce(u16)) -> Result<Arrived> {
        if self.kind == Kind::Replica {
            return receive_as_a_replica(listening);
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Error::new)?;
        listening(listener.local_addr().map_err(Error::new)?.port());
        match self.kind {
            Kind::Slow => return receive_slowly(&listener),
            Kind::Many => return self.receivers.receive(&listener),
            _ => {}
        }
        let (stream, _) = listener.accept().map_err(Error::new)?;
        stream.set_nodelay(true).map_err(Error::new)?;
        match self.kind {
            Kind::Frames => receive_frames(&stream),
            _ => receive_raw(&stream),
        }
    }
}

/// How much it was in bytes it does not say.
fn receive_as_a_replica(listening: impl FnOnce(u16)) -> Result<Arrived> {
    let place = TempDir::new().map_err(Error::new)?;
    let replica = Replica {
        dial: None,
        listen: ([127, 0, 0, 1], 0).into(),
        port_file: None,
        dir: place.path().to_path_buf(),
        expect_vlsn: None,
        timeout_seconds: REPLICA_TIMEOUT_S,
        ack: AckMode::Real,
        ack_bytes: 8,
        version: Generation::Seven,
        apply: false,
        file_max: REPLICA_FILE_MAX,
        progress: false,
    };
    let Holds { entries, last } = replica.run(listening)?;
    Ok(Arrived { frames: entries, bytes: 0, last })
}

fn receive_raw(stream: &TcpStream) -> Result<Arrived> {
    let mut buffer = Pages::new(READ_BYTES);
    let mut bytes = 0;
    loop {
        match receive(stream, &mut buffer, RecvFlags::empty())? {
            Some(0) => break,
            read => bytes += read.unwrap_or(0) as u64,
        }
    }
    send(stream, b"!", SendFlags::NOSIGNAL).map_err(Error::new)?;
    Ok(Arrived { bytes, ..Arrived::default() })
}

fn receive_slowly(listener: &TcpListener) -> Result<Arrived> {
    loop {
        let (stream, _) = listener.accept().map_err(Error::new)?;
        std::thread::spawn(move || {
            let mut buffer = vec![0; SLOW_READ_BYTES];
            while matches!(receive(&stream, &mut buffer, RecvFlags::empty()), Ok(Some(1..))) {
                std::thread::sleep(SLOW_PAUSE);
            }
        });
    }
}

fn receive_frames(stream: &TcpStream) -> Result<Arrived> {
    let mut buffer = Pages::new(READ_BYTES);
    let mut parser = Parser::default();
    let mut acks: Vec<u8> = Vec::with_capacity(READ_BYTES);
    let mut acked = 0;
    loop {
        let waiting = acked < acks.len();
        let flags = if waiting { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
        if waiting {
            let mut wanted = [PollFd::new(stream, PollFlags::IN | PollFlags::OUT)];
            poll(&mut wanted, None).map_err(Error::new)?;
        }
        match receive(stream, &mut buffer, flags)? {
            Some(0) => break,
            Some(read) => parser.push(&buffer[..read], &mut acks)?,
            None => {}
        }
        acked += send_some(stream, &acks[acked..])?;
        if acked == acks.len() {
            acks.clear();
            acked = 0;
        }
    }
    if parser.head_len > 0 || parser.body_left > 0 {
        return Err(Error::new(format_args!("the stream ends within a frame, behind VLSN {}", parser.arrived.last)));
    }
    Ok(parser.arrived)
}

/// `None`: nothing there now.
fn receive(stream: &TcpStream, buffer: &mut [u8], flags: RecvFlags) -> Result<Option<usize>> {
    loop {
        match recv(stream, &mut *buffer, flags) {
            Ok((read, _)) => return Ok(Some(read)),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(Error::new(error)),
        }
    }
}

fn send_some(stream: &TcpStream, bytes: &[u8]) -> Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match send(stream, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        // Who has all the acks that it wants may have gone.
        Err(Errno::PIPE | Errno::CONNRESET) => Ok(bytes.len()),
        Err(error) => Err(Error::new(error)),
    }
}

/// Takes frames out of a byte stream, in whatever pieces it comes, without copying payloads.
#[derive(Default)]
struct Parser {
    head: [u8; PREFIX],
    head_len: usize,
    /// How much of the current payload is still to come, and the checksum of what has.
    body_left: usize,
    body: Hasher,
    arrived: Arrived,
}

impl Parser {
    fn push(&mut self, mut bytes: &[u8], acks: &mut Vec<u8>) -> Result<()> {
        self.arrived.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            // Nearly all there is, when frames are small: a whole one.
            if self.head_len == 0
                && let Some((head, rest)) = bytes.split_first_chunk::<PREFIX>()
                && let Some((payload, rest)) = rest.split_at_checked(check_lengths(head)?)
            {
                self.finish(head, crc32fast::hash(payload), acks)?;
                bytes = rest;
                continue;
            }
            bytes = self.push_piece(bytes, acks)?;
        }
        Ok(())
    }

    fn push_piece<'a>(&mut self, bytes: &'a [u8], acks: &mut Vec<u8>) -> Result<&'a [u8]> {
        let mut rest = bytes;
        if self.head_len < PREFIX {
            let (taken, behind) = rest.split_at(rest.len().min(PREFIX - self.head_len));
            self.head[self.head_len..self.head_len + taken.len()].copy_from_slice(taken);
            self.head_len += taken.len();
            if self.head_len < PREFIX {
                return Ok(behind);
            }
            self.body_left = check_lengths(&self.head)?;
            self.body = Hasher::new();
            rest = behind;
        }
        let (taken, behind) = rest.split_at(rest.len().min(self.body_left));
        self.body.update(taken);
        self.body_left -= taken.len();
        if self.body_left == 0 {
            let (head, crc) = (self.head, std::mem::take(&mut self.body).finalize());
            self.head_len = 0;
            self.finish(&head, crc, acks)?;
        }
        Ok(behind)
    }

    #[inline]
    fn finish(&mut self, head: &[u8; PREFIX], crc: u32, acks: &mut Vec<u8>) -> Result<()> {
        let vlsn = u64::from_le_bytes(head[4..12].try_into().expect("eight bytes"));
        if vlsn != self.arrived.last + 1 {
            return Err(Error::new(format_args!("VLSN {vlsn} came behind {}", self.arrived.last)));
        }
        if u32_at(head, 17) != crc {
            return Err(Error::new(format_args!("VLSN {vlsn}: the frame's CRC is wrong")));
        }
        self.arrived.frames += 1;
        self.arrived.last = vlsn;
        let mut ack = [8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        ack[ACK - 8..].copy_from_slice(&vlsn.to_le_bytes());
        acks.extend_from_slice(&ack);
        Ok(())
    }
}

/// The payload's length, if the message's agrees.
#[inline]
fn check_lengths(head: &[u8; PREFIX]) -> Result<usize> {
    let (message, payload) = (u32_at(head, 0) as usize, u32_at(head, 13) as usize);
    if message == payload + PREFIX - 4 {
        return Ok(payload);
    }
    Err(Error::new(format_args!("a message of {message} bytes has a frame with {payload} bytes of payload")))
}

#[inline]
fn u32_at(bytes: &[u8; PREFIX], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(vlsn: u64, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap();
        let mut frame = (len + 17).to_le_bytes().to_vec();
        frame.extend_from_slice(&vlsn.to_le_bytes());
        frame.push(13);
        frame.extend_from_slice(&len.to_le_bytes());
        frame.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn frames_are_found_in_pieces_of_every_size() {
        let stream = [frame(1, b"one"), frame(2, &[7; 300]), frame(3, b"")].concat();
        for size in 1..=stream.len() {
            let (mut parser, mut acks) = (Parser::default(), Vec::new());
            for piece in stream.chunks(size) {
                parser.push(piece, &mut acks).unwrap();
            }
            assert_eq!(parser.arrived, Arrived { frames: 3, bytes: stream.len() as u64, last: 3 });
            assert_eq!(acks.len(), 3 * ACK);
            assert_eq!(acks[2 * ACK..], [8, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        }
    }

    #[test]
    fn a_wrong_checksum_and_a_gap_are_noticed() {
        let mut damaged = frame(1, b"payload");
        *damaged.last_mut().unwrap() ^= 1;
        assert!(Parser::default().push(&damaged, &mut Vec::new()).is_err());
        assert!(Parser::default().push(&frame(2, b"payload"), &mut Vec::new()).is_err());
    }
}
