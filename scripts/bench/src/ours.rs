//! The client that is measured.

use std::collections::VecDeque;

use zookeeper_blocking::{Client, Code, CreateMode, Error, op};

use crate::Result;
use crate::measure::{Figures, Length, measure};
use crate::wire::{DATA, NODE};

/// Makes the node that all read.
pub fn prepare(address: &str) -> Result<()> {
    let zk = Client::connect(address)?;
    let create = op::Create::new(NODE).data(DATA).mode(CreateMode::Persistent);
    match zk.call(create) {
        Err(Error::Refused { code: Code::NodeExists, .. }) => {
            zk.call(op::SetData::new(NODE, DATA))?;
        }
        created => drop(created?),
    }
    Ok(())
}

/// Each thread waits for its answer before it asks again.
pub fn sync(address: &str, threads: usize, length: Length) -> Result<Figures> {
    let zk = Client::connect(address)?;
    measure(threads, length, |meter| {
        loop {
            let (data, _) = zk.call(op::GetData::new(NODE))?;
            assert_eq!(data.len(), DATA.len());
            if !meter.did(1) {
                return Ok(());
            }
        }
    })
}

/// One thread keeps `window` requests in flight.
pub fn pipe(address: &str, window: usize, length: Length) -> Result<Figures> {
    let zk = Client::connect(address)?;
    measure(1, length, |meter| {
        let mut pending = VecDeque::with_capacity(window);
        loop {
            while pending.len() < window {
                pending.push_back(zk.submit(op::GetData::new(NODE))?);
            }
            let Some(oldest) = pending.pop_front() else { return Ok(()) };
            let (data, _) = oldest.wait()?;
            assert_eq!(data.len(), DATA.len());
            if !meter.did(1) {
                return Ok(());
            }
        }
    })
}
