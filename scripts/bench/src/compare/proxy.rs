//! A proxy that cuts all its connections when told to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use zk_bench::{Result, cue};

/// Prints its address; cuts, and says when, at each line of input; ends with the input.
pub fn run(target: &str) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    cue::say(&listener.local_addr()?.to_string())?;
    let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let target = target.to_owned();
    let accepted = open.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let _ = join(client, &target, &accepted);
        }
    });
    while cue::go()? {
        let streams = std::mem::take(&mut *open.lock().map_err(|_| "poisoned")?);
        cue::stamp("cut")?;
        for stream in streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
    Ok(())
}

fn join(client: TcpStream, target: &str, open: &Mutex<Vec<TcpStream>>) -> Result<()> {
    let server = TcpStream::connect(target)?;
    for (from, to) in [(&client, &server), (&server, &client)] {
        to.set_nodelay(true)?;
        let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
        thread::spawn(move || {
            let _ = copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
    open.lock().map_err(|_| "poisoned")?.extend([client, server]);
    Ok(())
}

fn copy(from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n])?,
        }
    }
}
