//! The byte stream under a connection: the seam for TLS.
//!
//! Today a TCP stream; a TLS session wraps it in here, and the driver will not know.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// A connected, non-blocking byte stream. Its descriptor is close-on-exec, as all of std and mio.
#[derive(Debug)]
pub(crate) struct Transport {
    stream: TcpStream,
}

impl Transport {
    /// Begins to connect; readiness to write tells that it is over, one way or the other.
    pub(crate) fn dial(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.register(registry, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream })
    }

    /// Whether the dial is over: `Ok(true)` connected, `Ok(false)` not yet.
    pub(crate) fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            // Connected to itself: a dial to a free local port can pick that port as its own.
            Ok(peer) if self.stream.local_addr().is_ok_and(|own| own == peer) => {
                Err(io::ErrorKind::ConnectionRefused.into())
            }
            Ok(_) => {
                // Small requests must not wait for the answers of earlier ones.
                self.stream.set_nodelay(true)?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }
}
