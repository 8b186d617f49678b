//! Four-letter words: the server's text protocol, on a connection of its own.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Sends `word` to `host`, `port` and reads the answer to its end, until `deadline`.
///
/// Blocks in name resolution too, which has no deadline of its own; not for the IO thread.
pub(crate) fn ask(host: &str, port: u16, word: &str, deadline: Instant) -> io::Result<String> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match ask_address(&address, word, deadline) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask_address(
    address: &std::net::SocketAddr,
    word: &str,
    deadline: Instant,
) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(address, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Some servers reset rather than close after the last byte.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !answer.is_empty() => {
                break;
            }
            Err(error) => return Err(error),
        }
        if answer.len() > MAX_ANSWER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer has no end"));
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// `dump` and `wchp` of a large ensemble are megabytes; this is a guard, not a limit.
const MAX_ANSWER: usize = 256 * 1024 * 1024;
