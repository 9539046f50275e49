//! Connecting to a replica by name or address.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::sys::socket;

/// Connects to `host`, a name or an IPv4 or IPv6 address, within `timeout`. Every address that the name has is tried in
/// turn, with what is left of the time shared among them. The system looks the name up. The lookup takes part of the
/// timeout, but cannot be cut short by it.
pub fn tcp_connect(host: &str, port: u16, timeout: Duration) -> Result<OwnedFd> {
    let deadline = Instant::now() + timeout;
    let failed = |error: io::Error| Error::Connect { address: address_text(host, port), os: error.into() };
    first_that(&look_up(host, port)?, deadline, socket::connect).map_err(failed)
}

/// The addresses of `host`, a name or an address. The system looks a name up, and takes its time.
pub fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let not_found =
        |error: io::Error| Error::NameNotFound { address: address_text(host, port), reason: error.to_string() };
    Ok((host, port).to_socket_addrs().map_err(not_found)?.collect())
}

/// Host and port as people write them: an IPv6 address stands in brackets.
pub fn address_text(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Tries the addresses in turn, until one connects or `deadline` has come. Each gets its share of what is left of the time.
fn first_that<T>(
    addresses: &[SocketAddr],
    deadline: Instant,
    mut connect: impl FnMut(&SocketAddr, Instant) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for (at, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let share = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        if share.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match connect(address, now + share) {
            Ok(connected) => return Ok(connected),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_both_kinds_of_addresses_are_connected_to() {
        for (bind, host) in [("127.0.0.1:0", "127.0.0.1"), ("127.0.0.1:0", "localhost"), ("[::1]:0", "::1")] {
            let Ok(listener) = std::net::TcpListener::bind(bind) else {
                assert_eq!(host, "::1", "only IPv6 may be missing on a machine");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            tcp_connect(host, port, Duration::from_secs(10)).unwrap();
        }
    }

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (1..=count).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
    }

    #[test]
    fn every_address_is_tried_until_one_connects_and_the_last_says_why_none_did() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut tried = Vec::new();
        let third = first_that(&addresses(5), deadline, |address, _| {
            tried.push(address.port());
            if address.port() == 3 { Ok("connected") } else { Err(io::ErrorKind::ConnectionRefused.into()) }
        });
        assert_eq!((third.unwrap(), tried), ("connected", vec![1, 2, 3]));
        let none = first_that(&addresses(2), deadline, |address, _| {
            let kind = if address.port() == 1 { io::ErrorKind::TimedOut } else { io::ErrorKind::ConnectionRefused };
            Err::<(), _>(kind.into())
        });
        assert_eq!(none.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let no_address = first_that(&[], deadline, |_, _| Ok(()));
        assert_eq!(no_address.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// An address that says nothing must not take the time of those behind it.
    #[test]
    fn what_is_left_of_the_time_is_shared_among_those_that_are_left() {
        let second = Duration::from_secs(1);
        let begin = Instant::now();
        let deadline = begin + 4000 * second;
        let mut shares = Vec::new();
        let _ = first_that(&addresses(4), deadline, |_, until| {
            shares.push(until.duration_since(begin));
            Err::<(), _>(io::ErrorKind::TimedOut.into())
        });
        // None has taken any of its time, or little, so there is more for those behind.
        for (share, least) in shares.iter().zip([1000, 1333, 2000, 4000]) {
            assert!((least * second..=(least + 100) * second).contains(share), "{shares:?}");
        }
        assert_eq!(shares.len(), 4);
        let over = first_that(&addresses(4), begin, |_, _| -> io::Result<()> { panic!("there is no time") });
        assert_eq!(over.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_name_that_is_not_found_is_called_that() {
        let error = tcp_connect("no such host", 1, Duration::from_secs(10)).unwrap_err();
        assert!(matches!(error, Error::NameNotFound { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with("cannot connect to no such host:1: ") && text.contains("lookup"), "{text}");
    }

    #[test]
    fn a_refused_connection_names_the_address_and_the_systems_answer() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = tcp_connect("127.0.0.1", port, Duration::from_secs(10)).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ECONNREFUSED));
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")));
    }
}
