//! Stream sockets: options, and sending and receiving without blocking and without SIGPIPE.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::poll::{Interest, wait_for};
use super::{check, off_standard, retry};
use crate::failpoint::failpoint;

/// The most pieces that one send takes; more are cut off by the caller. Every system allows at least so many.
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

/// Keeps the descriptor from programs that the host starts.
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

/// Connects to `address` over TCP, until `deadline`. The socket blocks nobody and is not for programs that the host
/// starts.
///
/// Not by `TcpStream`, whose socket is connected before it can be moved off the standard descriptors.
pub fn connect(address: &SocketAddr, deadline: Instant) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers; the result is checked before it is used as a descriptor.
    let fd = check(unsafe { libc::socket(family, STREAM, 0) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    let socket = off_standard(unsafe { OwnedFd::from_raw_fd(fd) })?;
    set_nonblocking(socket.as_fd())?;
    set_close_on_exec(socket.as_fd())?;

    match begin_connecting(socket.as_fd(), address) {
        Ok(()) => return Ok(socket),
        // A connection that a signal interrupted goes on like one that takes its time.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => {}
        Err(error) => return Err(error),
    }
    if !wait_for(socket.as_raw_fd(), Interest { read: false, write: true }, Some(deadline))? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    take_error(socket.as_fd())?;
    Ok(socket)
}

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
    // SAFETY: the pointer is to one of the two addresses above, whose size is given, and both live during the call.
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

/// Prepares a connected socket for a stream of frames: no waiting for more to send, no SIGPIPE, and a peer that is
/// gone without a word is noticed after about `keepalive`. What a Unix-domain socket does not know is left out.
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
    // Three quarters of the time for silence, the rest for three probes.
    let total_s = libc::c_int::try_from(keepalive.as_secs().clamp(4, 86_400)).unwrap_or(86_400);
    let probe_s = (total_s / 12).max(1);
    let idle_s = (total_s - 3 * probe_s).max(1);
    #[cfg(target_vendor = "apple")]
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPALIVE, idle_s)?;
    #[cfg(not(target_vendor = "apple"))]
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, idle_s)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, probe_s)?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3)
}

/// Sets the kernel's send buffer; 0 leaves it to the kernel, which adapts it.
pub fn set_send_buffer(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX))
}

/// Sends what fits, without blocking; at most [`SEND_PIECES_MAX`] pieces are looked at. `WouldBlock`: nothing fits now.
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

/// Receives what is there, without blocking. 0: the peer has finished sending. `WouldBlock`: nothing there now.
pub fn receive(fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    failpoint("receive");
    retry(|| {
        // SAFETY: the buffer is valid for its length during the call.
        let read = unsafe { libc::recv(fd.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    })
}

/// Says that nothing more will be sent.
pub fn shutdown_write(fd: BorrowedFd<'_>) {
    // SAFETY: no pointers. A socket that is not connected any more needs no shutdown, so a failure means nothing.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) };
}

/// Ends both directions: whoever waits on the socket, in any thread, wakes.
pub fn shutdown_both(fd: BorrowedFd<'_>) {
    // SAFETY: no pointers. A socket that is not connected any more needs no shutdown, so a failure means nothing.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RDWR) };
}
