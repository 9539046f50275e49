//! Many replicas at once, in one thread and as cheap as can be, so that it is the sender that is measured: what arrives is
//! counted and dropped in the kernel, and from how many bytes came it is known up to which frame that is.

use std::net::{TcpListener, TcpStream};

use clap::Args;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::pages::Pages;
use super::process::raise_descriptor_limit;
use super::sink::{ACK, Arrived, READ_BYTES};
use crate::{Error, Result};

/// What a replica says first to a server, message by message: the service, and the VLSN 1 to begin with.
const GREETING: &[u8] = b"\x0b\0\0\0PEER_FEEDER\x08\0\0\0\x01\0\0\0\0\0\0\0";
/// And how long the answer is: the message of one byte that the stream begins.
const ANSWER: u64 = 4 + 1;

/// How many replicas there are, and what they do.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Receivers {
    /// Be so many replicas
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub replicas: usize,
    /// Hold so many further connections, and say nothing
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub silent: usize,
    /// How long each frame is, with its length before it
    #[arg(long, default_value_t = 1, value_name = "BYTES")]
    pub frame_bytes: u64,
    /// Acknowledge every so many frames
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub ack_every: u64,
    /// And this one
    #[arg(long, default_value_t = 0, value_name = "V")]
    pub last: u64,
    /// Say to each sender what a server wants to hear
    #[arg(long)]
    pub greets: bool,
}

struct Replica {
    stream: TcpStream,
    bytes: u64,
    acked: u64,
}

impl Receivers {
    /// Receives until all replicas were left.
    pub fn receive(&self, listener: &TcpListener) -> Result<Arrived> {
        raise_descriptor_limit()?;
        let mut replicas = Vec::new();
        for _ in 0..self.replicas {
            let (stream, _) = listener.accept().map_err(Error::new)?;
            stream.set_nodelay(true).map_err(Error::new)?;
            replicas.push(Some(Replica { stream, bytes: 0, acked: 0 }));
        }
        let silent: std::io::Result<Vec<_>> = (0..self.silent).map(|_| listener.accept()).collect();
        let silent = silent.map_err(Error::new)?;
        let arrived = self.receive_all(&mut replicas);
        drop(silent);
        arrived
    }

    fn receive_all(&self, replicas: &mut [Option<Replica>]) -> Result<Arrived> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Error::new)?;
        for (at, replica) in (0..).zip(&*replicas) {
            let stream = &replica.as_ref().expect("none has left yet").stream;
            epoll::add(&epoll, stream, epoll::EventData::new_u64(at), epoll::EventFlags::IN).map_err(Error::new)?;
            if self.greets {
                send_all(stream, GREETING)?;
            }
        }
        let mut buffer = Pages::new(READ_BYTES);
        let mut events = Vec::with_capacity(replicas.len());
        let (mut arrived, mut left) = (Arrived::default(), replicas.len());
        while left > 0 {
            match epoll::wait(&epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(Error::new(error)),
            }
            for event in events.drain(..) {
                let place = usize::try_from(event.data.u64()).ok().and_then(|at| replicas.get_mut(at));
                let Some(place) = place else { continue };
                let Some(replica) = place else { continue };
                if !self.turn(replica, &mut buffer)? {
                    let frames = self.frames(replica);
                    arrived.frames += frames;
                    arrived.bytes += replica.bytes;
                    arrived.last = arrived.last.max(frames);
                    // With the socket, the set lets go of it.
                    *place = None;
                    left -= 1;
                }
            }
        }
        Ok(arrived)
    }

    /// Takes what has come. False: the sender has gone.
    fn turn(&self, replica: &mut Replica, buffer: &mut [u8]) -> Result<bool> {
        // Truncated: nothing is copied.
        match recv(&replica.stream, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            Ok((_, 0)) | Err(Errno::CONNRESET) => return Ok(false),
            Ok((_, received)) => replica.bytes += received as u64,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(Error::new(error)),
        }
        let frames = self.frames(replica);
        if frames >= replica.acked + self.ack_every || (frames == self.last && frames > replica.acked) {
            replica.acked = frames;
            let mut ack = [0; ACK];
            ack[0] = 8;
            ack[4..].copy_from_slice(&frames.to_le_bytes());
            send_all(&replica.stream, &ack)?;
        }
        Ok(true)
    }

    /// How many frames have come whole, which is the VLSN of the last.
    fn frames(&self, replica: &Replica) -> u64 {
        replica.bytes.saturating_sub(if self.greets { ANSWER } else { 0 }) / self.frame_bytes
    }
}

/// Sends some bytes, and waits for room if there is none.
fn send_all(stream: &TcpStream, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match send(stream, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::INTR) => {}
            // Who has all the acks that it wants may have gone.
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            Err(error) => return Err(Error::new(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;

    use super::*;

    #[test]
    fn frames_are_counted_by_their_bytes_and_acknowledged_now_and_then() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let receivers = Receivers { replicas: 1, silent: 0, frame_bytes: 10, ack_every: 3, last: 5, greets: true };
        let sink = std::thread::spawn(move || receivers.receive(&listener));
        let mut greeting = [0; GREETING.len()];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, *GREETING);
        let acked = |stream: &mut TcpStream| {
            let mut ack = [0; ACK];
            stream.read_exact(&mut ack).unwrap();
            (ack[..4] == [8, 0, 0, 0]).then_some(u64::from_le_bytes(ack[4..].try_into().unwrap()))
        };
        stream.write_all(&[0; 5 + 25]).unwrap();
        stream.write_all(&[0; 5]).unwrap();
        assert_eq!(acked(&mut stream), Some(3));
        stream.write_all(&[0; 20]).unwrap();
        assert_eq!(acked(&mut stream), Some(5));
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(sink.join().unwrap().unwrap(), Arrived { frames: 5, bytes: 55, last: 5 });
    }
}
