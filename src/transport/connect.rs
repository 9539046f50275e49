//! Connecting to a replica by name or address.

use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::sys::socket;

/// Connects to `host`, a name or an IPv4 or IPv6 address, within `timeout`. Every address that the name has is tried
/// in turn, with what is left of the time shared among them. Looking the name up is the system's affair, and takes
/// the time it takes.
pub fn tcp_connect(host: &str, port: u16, timeout: Duration) -> Result<OwnedFd> {
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let failed = |error: io::Error| Error::Connect { address: address.clone(), os: error.into() };
    let deadline = Instant::now() + timeout;
    let addresses: Vec<_> = (host, port)
        .to_socket_addrs()
        .map_err(|error| Error::NameNotFound { address: address.clone(), reason: error.to_string() })?
        .collect();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for (at, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        if share.is_zero() {
            last = io::ErrorKind::TimedOut.into();
            break;
        }
        match socket::connect(address, Instant::now() + share) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
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

    #[test]
    fn a_name_that_is_not_found_is_called_that() {
        let error = tcp_connect("no such host", 1, Duration::from_secs(10)).unwrap_err();
        assert_eq!(error.status(), crate::error::status::E_CONNECT);
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
