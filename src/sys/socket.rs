//! Stream sockets: options, and sending and receiving without blocking and without SIGPIPE.

use std::io::{self, IoSlice};
use std::mem::ManuallyDrop;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::poll::{Interest, wait_for};
use super::{check, off_standard, retry};
use crate::failpoint::failpoint;

/// The most pieces that one send takes. The caller cuts off the rest. Every system allows at least this many.
pub const SEND_PIECES_MAX: usize = 1024;

#[cfg(any(target_os = "linux", target_os = "android"))]
const SEND_FLAGS: libc::c_int = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT;

/// Makes every call on the descriptor return at once.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers; the descriptor is borrowed and so open.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// Hides the descriptor from programs that the host starts.
pub fn set_close_on_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no pointers; the descriptor is borrowed and so open.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(())
}

fn set_option(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: `value` is valid for the length given during the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    check(result).map(drop)
}

fn option(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `value` and `len` are valid for writing during the call, and `len` says how large `value` is.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) };
    check(result)?;
    Ok(value)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const STREAM: libc::c_int = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const STREAM: libc::c_int = libc::SOCK_STREAM;

/// Connects to `address` over TCP, until `deadline`. The socket is as one of [`begin_connect`].
pub fn connect(address: &SocketAddr, deadline: Instant) -> io::Result<OwnedFd> {
    let socket = begin_connect(address)?;
    if !wait_for(socket.as_raw_fd(), WRITE, Some(deadline))? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    take_error(socket.as_fd())?;
    Ok(socket)
}

/// Begins to connect to `address` over TCP. The socket does not block, and programs that the host starts do not inherit
/// it. It can be written to when it [is connected](is_connected_yet), or has failed.
///
/// It does not use `TcpStream`, whose socket is connected before it can be moved away from the standard descriptors.
pub fn begin_connect(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers; the result is checked before it is used as a descriptor.
    let fd = check(unsafe { libc::socket(family, STREAM, 0) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    let socket = off_standard(unsafe { OwnedFd::from_raw_fd(fd) })?;
    set_nonblocking(socket.as_fd())?;
    set_close_on_exec(socket.as_fd())?;
    match begin_connecting(socket.as_fd(), address) {
        // After a signal the connection attempt goes on, as one that takes its time does.
        Err(error) if !matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => Err(error),
        _ => Ok(socket),
    }
}

/// Whether a socket that has begun to connect has come to it; an error if it will not.
pub fn is_connected_yet(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let is_decided = wait_for(socket.as_raw_fd(), WRITE, Some(Instant::now()))?;
    if is_decided {
        take_error(socket)?;
    }
    Ok(is_decided)
}

/// The address of the other end of a socket of the internet.
pub fn peer_address(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    // SAFETY: the descriptor is borrowed and so open, and is not closed here.
    let stream = ManuallyDrop::new(unsafe { TcpStream::from_raw_fd(socket.as_raw_fd()) });
    stream.peer_addr().ok()
}

const WRITE: Interest = Interest { read: false, write: true };

fn begin_connecting(socket: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<()> {
    // SAFETY: all-zero bytes are a valid sockaddr_in and a valid sockaddr_in6.
    let (mut v4, mut v6): (libc::sockaddr_in, libc::sockaddr_in6) = unsafe { std::mem::zeroed() };
    let (pointer, len) = match address {
        SocketAddr::V4(address) => {
            v4.sin_family = libc::AF_INET as _;
            v4.sin_port = address.port().to_be();
            v4.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
            ((&raw const v4).cast(), size_of_val(&v4))
        }
        SocketAddr::V6(address) => {
            v6.sin6_family = libc::AF_INET6 as _;
            v6.sin6_port = address.port().to_be();
            v6.sin6_flowinfo = address.flowinfo();
            v6.sin6_addr.s6_addr = address.ip().octets();
            v6.sin6_scope_id = address.scope_id();
            ((&raw const v6).cast(), size_of_val(&v6))
        }
    };
    // SAFETY: the pointer is to one of the two addresses above, with its size, and both live during the call.
    check(unsafe { libc::connect(socket.as_raw_fd(), pointer, len as libc::socklen_t) }).map(drop)
}

/// Whether the descriptor is a connected stream socket.
pub fn is_connected_stream(fd: BorrowedFd<'_>) -> io::Result<bool> {
    if option(fd, libc::SOL_SOCKET, libc::SO_TYPE)? != libc::SOCK_STREAM {
        return Ok(false);
    }
    // SAFETY: all-zero bytes are a valid sockaddr_storage.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `address` and `len` are valid for writing during the call, and `len` says how large `address` is.
    let result = unsafe { libc::getpeername(fd.as_raw_fd(), (&raw mut address).cast(), &raw mut len) };
    match check(result) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOTCONN) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The error that a connection attempt left behind, if any.
pub fn take_error(fd: BorrowedFd<'_>) -> io::Result<()> {
    match option(fd, libc::SOL_SOCKET, libc::SO_ERROR)? {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// The shortest time in which a system can be told to notice that a peer is gone.
pub const KEEPALIVE_MIN: Duration = Duration::from_secs(4);

/// Prepares a connected socket for a stream of frames: it does not wait for more to send, raises no SIGPIPE, and
/// notices a peer that is gone without a word after about `keepalive`. Leaves out options that a Unix-domain socket
/// does not know.
pub fn prepare(fd: BorrowedFd<'_>, keepalive: Option<Duration>) -> io::Result<()> {
    set_nonblocking(fd)?;
    set_close_on_exec(fd)?;
    #[cfg(target_vendor = "apple")]
    set_option(fd, libc::SOL_SOCKET, libc::SO_NOSIGPIPE, 1)?;
    if set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1).is_err() {
        return Ok(());
    }
    let Some(keepalive) = keepalive else {
        return Ok(());
    };
    set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    // Three quarters of the time are for silence, the rest is for three probes. No system takes a longer silence than
    // this.
    const IDLE_MAX_S: libc::c_int = 32_767;
    let total_s = keepalive.max(KEEPALIVE_MIN).as_secs().min(86_400) as libc::c_int;
    let probe_s = (total_s / 12).max((total_s - IDLE_MAX_S + 2) / 3).max(1);
    let idle_s = (total_s - 3 * probe_s).max(1);
    #[cfg(target_vendor = "apple")]
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPALIVE, idle_s)?;
    #[cfg(not(target_vendor = "apple"))]
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, idle_s)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, probe_s)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3)
}

/// How the peer's system answers the bytes that it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answers {
    /// Whether it has yet to confirm bytes that were sent to it, or to say that it has room.
    pub are_due: bool,
    /// How long ago it answered last.
    pub last: Duration,
}

/// How the peer's system answers. An error where the system cannot tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn answers(fd: BorrowedFd<'_>) -> io::Result<Answers> {
    // The beginning of the kernel's `tcp_info`, as words of four bytes. The first two words are single bytes, and byte
    // 3 counts the probes for room. Word 6 counts the unconfirmed segments, and word 14 is the time since the last
    // answer.
    let mut info = [0u32; 15];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: `info` and `len` are valid for writing during the call, and `len` says how large `info` is.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len)
    };
    check(result)?;
    if (len as usize) < size_of_val(&info) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let probes = info[0].to_ne_bytes()[3];
    Ok(Answers { are_due: info[6] > 0 || probes > 0, last: Duration::from_millis(info[14].into()) })
}

/// This system cannot tell how the peer's system answers.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn answers(_: BorrowedFd<'_>) -> io::Result<Answers> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Sets the kernel's send buffer; 0 leaves it to the kernel, which adapts it.
pub fn set_send_buffer(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX))
}

/// Sends as many bytes as fit, without blocking, of at most [`SEND_PIECES_MAX`] pieces. `WouldBlock`: nothing fits now.
pub fn send(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let count = pieces.len().min(SEND_PIECES_MAX);
    // SAFETY: all-zero bytes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_ptr().cast_mut().cast();
    message.msg_iovlen = count as _;
    retry(|| {
        // SAFETY: IoSlice has the layout of iovec, the kernel only reads them, and all live during the call.
        let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, SEND_FLAGS) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    })
}

/// Receives the bytes that are there, without blocking. 0: the peer has finished sending. `WouldBlock`: there are none
/// now.
pub fn receive(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    failpoint("receive");
    retry(|| {
        // SAFETY: the buffer is valid for its length during the call.
        let read = unsafe { libc::recv(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    })
}

/// Has the system confirm the bytes received to the peer's system at once, where it can be told to; by itself it takes
/// up to 40 ms. This is for peers that write small pieces: their system holds each piece back until the one before is
/// confirmed. `from_now_on`: bytes that follow are confirmed at once, too, until the system goes back to its own ways,
/// which it does when something is sent.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn confirm_received(fd: BorrowedFd<'_>, from_now_on: bool) -> io::Result<()> {
    // An even number other than 0 means: only once.
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, if from_now_on { 1 } else { 2 })
}

/// Whether bytes received are confirmed at once, for now.
#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
pub fn confirms_at_once(fd: BorrowedFd<'_>) -> io::Result<bool> {
    option(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK).map(|value| value != 0)
}

/// Goes back to the system's own ways. The system does so by itself sooner or later.
#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
pub fn confirm_later(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 0)
}

/// Does nothing: this system cannot be told to confirm.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn confirm_received(_: BorrowedFd<'_>, _: bool) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Says that nothing more will be sent.
pub fn shutdown_write(fd: BorrowedFd<'_>) {
    // SAFETY: no pointers. A socket that is not connected any more needs no shutdown, so a failure does not matter.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) };
}

/// Ends both directions: whoever waits on the socket, in any thread, wakes.
pub fn shutdown_both(fd: BorrowedFd<'_>) {
    // SAFETY: no pointers. A socket that is not connected any more needs no shutdown, so a failure does not matter.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RDWR) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    fn tcp_pair() -> (OwnedFd, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let ours = connect(&listener.local_addr().unwrap(), deadline).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    fn tcp_option(socket: &OwnedFd, name: libc::c_int) -> libc::c_int {
        option(socket.as_fd(), libc::IPPROTO_TCP, name).unwrap()
    }

    #[test]
    fn a_socket_is_prepared_for_small_frames_and_for_a_peer_that_vanishes() {
        let (socket, _peer) = tcp_pair();
        // SAFETY: no pointers; the descriptor is open.
        let flags = |command| unsafe { libc::fcntl(socket.as_raw_fd(), command) };
        prepare(socket.as_fd(), Some(Duration::from_secs(60))).unwrap();
        assert_ne!(flags(libc::F_GETFL) & libc::O_NONBLOCK, 0);
        assert_ne!(flags(libc::F_GETFD) & libc::FD_CLOEXEC, 0);
        assert_ne!(tcp_option(&socket, libc::TCP_NODELAY), 0);
        assert_ne!(option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_KEEPALIVE).unwrap(), 0);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let [idle, interval, count] =
                [libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL, libc::TCP_KEEPCNT].map(|name| tcp_option(&socket, name));
            assert_eq!(idle + interval * count, 60);
            for (asked, seconds) in [(Duration::from_millis(1), 4), (Duration::MAX, 86_400)] {
                prepare(socket.as_fd(), Some(asked)).unwrap();
                let [idle, interval, count] =
                    [libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL, libc::TCP_KEEPCNT].map(|name| tcp_option(&socket, name));
                assert_eq!(idle + interval * count, seconds);
            }
            // That option ends a connection whose peer has no room for that long, even if the peer answers: see
            // `answers`.
            assert_eq!(tcp_option(&socket, libc::TCP_USER_TIMEOUT), 0);
        }
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn without_a_keepalive_the_systems_own_patience_stays() {
        let (socket, _peer) = tcp_pair();
        prepare(socket.as_fd(), None).unwrap();
        assert_eq!(option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_KEEPALIVE).unwrap(), 0);
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn what_a_peer_has_confirmed_is_known() {
        let (socket, peer) = tcp_pair();
        send(socket.as_fd(), &[IoSlice::new(b"a")]).unwrap();
        // The peer's system confirms by itself, sooner or later.
        let deadline = Instant::now() + Duration::from_secs(60);
        while answers(socket.as_fd()).unwrap().are_due {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        assert!(answers(socket.as_fd()).unwrap().last < Duration::from_secs(60));
        drop(peer);
        let (unix, _peer) = UnixStream::pair().unwrap();
        assert!(answers(unix.as_fd()).is_err());
    }

    #[test]
    fn a_unix_socket_can_be_prepared_and_blocks_nobody() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        prepare(ours.as_fd(), Some(Duration::from_secs(60))).unwrap();
        assert!(is_connected_stream(ours.as_fd()).unwrap());
        let mut into = [0; 8];
        let nothing = receive(ours.as_fd(), &mut into).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(send(theirs.as_fd(), &[IoSlice::new(b"ab"), IoSlice::new(b"c")]).unwrap(), 3);
        assert_eq!(receive(ours.as_fd(), &mut into).unwrap(), 3);
        assert_eq!(&into[..3], b"abc");
        let piece = vec![0; 1 << 20];
        let full = loop {
            if let Err(error) = send(ours.as_fd(), &[IoSlice::new(&piece)]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_shut_down_is_an_end_for_the_peer_and_a_send_after_it_raises_no_signal() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        shutdown_write(ours.as_fd());
        let mut into = [0; 8];
        assert_eq!(receive(theirs.as_fd(), &mut into).unwrap(), 0);
        assert_eq!(send(ours.as_fd(), &[IoSlice::new(b"a")]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(send(theirs.as_fd(), &[IoSlice::new(b"a")]).unwrap(), 1, "the other direction is open");
        shutdown_both(ours.as_fd());
        assert_eq!(send(theirs.as_fd(), &[IoSlice::new(b"a")]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn only_a_connected_stream_is_one() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        assert!(!is_connected_stream(listener.as_fd()).unwrap());
        let datagrams = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        assert!(!is_connected_stream(datagrams.as_fd()).unwrap());
        assert!(is_connected_stream(std::fs::File::open("/dev/null").unwrap().as_fd()).is_err());
    }

    #[test]
    fn a_connection_that_is_refused_says_so() {
        let address = {
            let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
            listener.local_addr().unwrap()
        };
        let error = connect(&address, Instant::now() + Duration::from_secs(60)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn the_send_buffer_is_set_if_a_size_is_given() {
        let (socket, _peer) = tcp_pair();
        let size = || option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF).unwrap();
        let before = size();
        set_send_buffer(socket.as_fd(), 0).unwrap();
        assert_eq!(size(), before);
        set_send_buffer(socket.as_fd(), 32 * 1024).unwrap();
        // Linux counts its own overhead in, too.
        assert!((32 * 1024..=64 * 1024).contains(&size()), "{}", size());
    }
}
