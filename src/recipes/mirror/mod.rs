//! Keeps a part of the servers' tree in memory: a thread that reads what its watches name.
//!
//! ```text
//!  add a recursive watch ─▶ look at every node ─▶ wait for events ─▶ read what they name ─┐
//!        ▲                        ▲                     ▲                                 │
//!        │ session ended          │ reconnected         └─────────────────────────────────┘
//! ```
//!
//! An event says *that* a node is other than before. The node is read then, whatever the event
//! was, and what is read counts: so events that come late, or together, do no harm, and a node that
//! is not there is one that was deleted.
//!
//! Where the servers know no watches that stay (before 3.6), each node has two that do not
//! ([`OneShots`]), and what is read is watched in the same request.
//!
//! With a pattern, only what matches and what is above it is looked at. Then also transactions are
//! kept in order: see [`past`](crate::recipes::glob::past).

mod lasting;
mod one_shots;
mod tree;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::client::op;
use crate::client::session::Session;
use crate::client::{Client, WeakClient};
use crate::error::{Error, Result};
use crate::io::shared::Novelty;
use crate::path;
use crate::proto::code::Code;
use crate::proto::event::EventKind;
use crate::proto::stat::Stat;
use crate::recipes::glob::Pattern;
use crate::recipes::patience::Patience;
use crate::recipes::sight::NodeData;
use crate::recipes::site::Site;
use lasting::Lasting;
use one_shots::OneShots;

pub use tree::CacheEvent;
pub(crate) use tree::{Inside, Tree};

pub(crate) struct Mirror {
    tree: Arc<Tree>,
    client: WeakClient,
    root: Arc<str>,
    pattern: Option<Arc<Pattern>>,
    /// The last transaction that an answer of this session showed.
    seen: Cell<i64>,
    /// Disconnects when the last handle is dropped.
    stop: Receiver<()>,
}

/// What tells of changes.
enum Watching {
    Lasting(Lasting),
    OneShots(OneShots),
}

/// What was heard.
#[derive(Default)]
struct Heard {
    /// The nodes to read.
    named: BTreeSet<Arc<str>>,
    /// Something may have been missed.
    missed: bool,
    /// There will be no more events.
    ended: bool,
}

impl Mirror {
    /// Starts the thread, which fills `tree`. The end of what is given is the thread's.
    pub(crate) fn start(
        client: &Client,
        root: &str,
        tree: Arc<Tree>,
        pattern: Option<Arc<Pattern>>,
    ) -> Result<Arc<Sender<()>>> {
        let (alive, stop) = bounded(0);
        let (client, root) = (client.downgrade(), root.into());
        let mirror = Self { tree, client, root, pattern, seen: Cell::new(0), stop };
        thread::Builder::new()
            .name("zk-cache".into())
            .spawn(move || mirror.run())
            .map_err(|source| Error::Start { source: Arc::new(source) })?;
        Ok(Arc::new(alive))
    }

    fn run(&self) {
        loop {
            match self.round() {
                Ok(true) => {}
                Ok(false) => return,
                Err(Error::SessionExpired { .. }) if self.may_renew() => {}
                Err(error) => {
                    return self.tree.change(|inside| {
                        inside.is_fresh = false;
                        inside.listeners.clear();
                        inside.ended = Some(error);
                    });
                }
            }
            self.tree.change(Inside::unsettled);
        }
    }

    fn may_renew(&self) -> bool {
        self.client.upgrade().is_some_and(|client| client.scope().pin.is_none())
    }

    fn is_stopped(&self) -> bool {
        self.stop.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
    }

    /// Whether a node is to be read.
    fn concerns(&self, path: &str) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.concerns(path))
    }

    /// Whether something below a node may have to be read.
    fn leads(&self, path: &str) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.leads(path))
    }

    /// Takes over a node's data.
    fn put(&self, path: &Arc<str>, data: Vec<u8>, stat: Stat) {
        self.note(&stat);
        self.tree.change(|inside| inside.put(path, NodeData { data, stat }));
    }

    /// Takes over that a node's children were listed; gives those to be read.
    fn listed<'a>(
        &'a self,
        path: &'a Arc<str>,
        names: &'a [String],
        stat: &Stat,
    ) -> impl Iterator<Item = Arc<str>> + 'a {
        self.note(stat);
        self.tree.change(|inside| inside.listed(path, stat));
        let below = names.iter().map(|name| Arc::from(path::join(path, name)));
        below.filter(|path: &Arc<str>| self.concerns(path))
    }

    fn note(&self, stat: &Stat) {
        let zxid = stat.czxid.max(stat.mzxid).max(stat.pzxid);
        self.seen.set(self.seen.get().max(zxid));
    }

    /// One session. `false` if nobody needs the tree any more.
    fn round(&self) -> Result<bool> {
        let cancelled = || self.is_stopped();
        let patience = Patience::of_thread(&cancelled, "cache", &self.root);
        self.seen.set(0);
        let mut watching = {
            let Some(client) = self.client.upgrade() else { return Ok(false) };
            let site = Site::of(client, self.root.clone(), [].into());
            self.begin(&site.session(&patience)?, &patience)?
        };
        loop {
            // When this was seen, all events of before were in the queue.
            let seen = self.seen.get();
            let mut heard = watching.drain();
            heard.named.retain(|path| self.concerns(path));
            if heard.ended {
                return Ok(!self.is_stopped());
            }
            if heard.named.is_empty() && !heard.missed {
                self.tree.change(|inside| inside.fresh(seen));
                // Nothing keeps the client alive while it is only waited.
                if !self.wait(&watching) {
                    return Ok(false);
                }
                continue;
            }
            self.tree.change(|inside| inside.is_fresh = false);
            let Some(client) = self.client.upgrade() else { return Ok(false) };
            let session = client.session()?;
            match &mut watching {
                Watching::Lasting(lasting) => {
                    if heard.missed {
                        lasting.look_at_all(self, &session, &patience)?;
                    }
                    lasting.read(self, &session, heard.named.into_iter().collect(), &patience)?;
                }
                Watching::OneShots(each) => each.visit(self, &session, heard.named, &patience)?,
            }
            self.tree.change(|inside| inside.settled(seen));
        }
    }

    /// Sets the watches, and reads everything behind them.
    fn begin(&self, session: &Session, patience: &Patience<'_>) -> Result<Watching> {
        if self.pattern.is_some() {
            // A server that is behind would show nodes as gone that are not there yet. One that is
            // cut off from the others knows no better.
            match patience.ask(session, || op::Sync::new(&*self.root)) {
                Ok(_) | Err(Error::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if session.knows(Novelty::LastingWatches) {
            match Lasting::set(&self.root, session, patience) {
                Ok(lasting) => {
                    lasting.look_at_all(self, session, patience)?;
                    return Ok(Watching::Lasting(lasting));
                }
                Err(error) if error.code() == Some(Code::Unimplemented) => {
                    session.note_without(Novelty::LastingWatches);
                }
                Err(error) => return Err(error),
            }
        }
        let mut each = OneShots::new(session);
        each.visit_all(self, session, patience)?;
        Ok(Watching::OneShots(each))
    }

    fn wait(&self, watching: &Watching) -> bool {
        let (bell, rung) = bounded(0);
        match watching {
            Watching::Lasting(lasting) => lasting.ring(bell),
            Watching::OneShots(each) => each.ring(bell),
        }
        select! {
            recv(rung) -> _ => true,
            recv(self.stop) -> _ => false,
        }
    }
}

impl Watching {
    /// Takes out the events that are there.
    fn drain(&mut self) -> Heard {
        let mut heard = Heard::default();
        loop {
            let event = match self {
                Self::Lasting(lasting) => lasting.try_recv(),
                Self::OneShots(each) => each.try_recv(),
            };
            let Some(event) = event else { return heard };
            match event.kind {
                EventKind::Ended => heard.ended = true,
                EventKind::Resync => heard.missed = true,
                _ => drop(heard.named.insert(event.path)),
            }
        }
    }
}

/// Nodes that are asked for at a time.
const WINDOW: usize = 256;
