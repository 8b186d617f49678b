//! The floor: requests encoded beforehand, one socket, no threads to wake.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::Result;
use crate::measure::{Figures, Length, measure};
use crate::wire::{connect_request, first_frame, get_request, whole_frames};

/// Keeps `window` requests in flight: as many new ones as answers came, in one write.
pub fn run(address: &str, window: usize, length: Length) -> Result<Figures> {
    let stream = connect(address)?;
    let requests = get_request(1).repeat(window);
    let one = requests.len() / window;
    measure(1, length, |meter| {
        let mut stream = &stream;
        let mut buffer = vec![0; 256 * 1024];
        let mut held = 0;
        stream.write_all(&requests)?;
        loop {
            let n = stream.read(&mut buffer[held..])?;
            if n == 0 {
                return Err("the server closed the connection".into());
            }
            held += n;
            let (answers, used) = whole_frames(&buffer[..held]);
            buffer.copy_within(used..held, 0);
            held -= used;
            if answers > 0 && !meter.did(answers as u64) {
                return Ok(());
            }
            stream.write_all(&requests[..answers * one])?;
        }
    })
}

fn connect(address: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(&connect_request())?;
    let mut held = Vec::new();
    while first_frame(&held).is_none() {
        let mut bytes = [0; 64];
        let n = stream.read(&mut bytes)?;
        if n == 0 {
            return Err("the server refused the session".into());
        }
        held.extend_from_slice(&bytes[..n]);
    }
    Ok(stream)
}
