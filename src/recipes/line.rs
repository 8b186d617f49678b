//! The line at one node: whoever comes takes a place at its end, and waits until nobody before it
//! is in its way. Locks and elections are lines; a semaphore lets them in one by one.
//!
//! Each waiter watches the one contender before it that it has to wait for, so a release wakes one
//! waiter (or the readers behind a writer), and looks at the whole line again before it claims.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::op::{self, CreateMode};
use crate::client::session::Session;
use crate::client::watch::Watch;
use crate::error::{Error, RecipeError, Result};
use crate::path;
use crate::proto::acl::Acl;
use crate::proto::code::Code;
use crate::proto::stat::Stat;
use crate::recipes::contender::{self, Decision, Rest};
use crate::recipes::guard::Hold;
use crate::recipes::patience::{Patience, Waits};
use crate::recipes::place::{Place, PlaceOptions};
use crate::recipes::role::{NameStyle, Role};

/// One that holds or waits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contender {
    /// The name of its node under the recipe's path.
    pub node: String,
    /// What it said of itself.
    pub identifier: Vec<u8>,
    /// The session that made the node.
    pub session_id: i64,
    /// The fence that it has, or would have.
    pub fence: i64,
}

impl Contender {
    /// The identifier as text.
    pub fn identifier_text(&self) -> String {
        String::from_utf8_lossy(&self.identifier).into_owned()
    }

    pub(crate) fn new(node: String, identifier: Vec<u8>, stat: &Stat) -> Self {
        Self { node, identifier, session_id: stat.ephemeral_owner, fence: stat.czxid }
    }
}

/// The line at one path, and how its handle stands in it.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) client: Client,
    pub(crate) path: Arc<str>,
    pub(crate) identifier: Arc<[u8]>,
    pub(crate) acl: Arc<[Acl]>,
    pub(crate) style: NameStyle,
    pub(crate) role: Role,
    pub(crate) waits: Waits,
}

impl Line {
    /// `recipe` is what an error calls it.
    pub(crate) fn new(
        client: &Client,
        path: &str,
        role: Role,
        recipe: &'static str,
    ) -> Result<Self> {
        check_path(path, recipe)?;
        Ok(Self {
            client: client.clone(),
            path: path.into(),
            identifier: [].into(),
            acl: [Acl::open()].into(),
            style: NameStyle::Kazoo,
            role,
            waits: Waits::default(),
        })
    }

    /// Waits for our turn until the deadline of the client's calls.
    pub(crate) fn acquire(&self, op: &'static str) -> Result<Hold> {
        self.acquire_until(self.client.deadline(Instant::now()), op)
    }

    pub(crate) fn acquire_timeout(&self, timeout: Duration, op: &'static str) -> Result<Hold> {
        self.acquire_until(Instant::now().checked_add(timeout), op)
    }

    fn acquire_until(&self, deadline: Option<Instant>, op: &'static str) -> Result<Hold> {
        self.waits.patiently(deadline, op, &self.path, |patience| self.acquire_by(patience))
    }

    /// Our turn if nobody is in its way.
    pub(crate) fn try_acquire(&self, op: &'static str) -> Result<Option<Hold>> {
        let deadline = self.client.deadline(Instant::now());
        self.waits.patiently(deadline, op, &self.path, |patience| {
            let session = patience.session(&self.client)?;
            self.try_by(&session, patience)
        })
    }

    /// Waits for our turn, in one session after the other.
    pub(crate) fn acquire_by(&self, patience: &Patience<'_>) -> Result<Hold> {
        loop {
            let session = patience.session(&self.client)?;
            match self.acquire_in(&session, patience) {
                // The place went with the session: line up anew with the next one.
                Err(Error::SessionExpired { .. }) => patience.check()?,
                result => return result,
            }
        }
    }

    /// Waits for our turn as long as the session lives.
    pub(crate) fn acquire_in(&self, session: &Session, patience: &Patience<'_>) -> Result<Hold> {
        loop {
            if let Some(hold) = self.wait_for_turn(session, patience)? {
                return Ok(hold);
            }
        }
    }

    /// Makes a node only if a look shows nobody in our way.
    pub(crate) fn try_by(
        &self,
        session: &Session,
        patience: &Patience<'_>,
    ) -> Result<Option<Hold>> {
        loop {
            let children = patience.ask(session, || op::GetChildren::new(&*self.path));
            match children {
                Ok(children) if contender::is_any(&children, self.role.rivals()) => {
                    return Ok(None);
                }
                Err(error) if error.code() != Some(Code::NoNode) => return Err(error),
                _ => {}
            }
            let (place, listed) = self.take_place(session, patience)?;
            match self.look(&place, listed, patience) {
                Ok(Turn::Held(hold)) => return Ok(Some(hold)),
                Ok(Turn::Wait(_)) => match place.leave(patience) {
                    // Gone before we left it, all the same.
                    Ok(()) | Err(Error::Recipe { why: RecipeError::NotHeld, .. }) => {
                        return Ok(None);
                    }
                    Err(error) => return Err(error),
                },
                // Somebody took our place away: it may be free.
                Ok(Turn::Again) => {}
                Ok(Turn::Exhausted) => {
                    if !self.renew_parent(&place, patience, false)? {
                        return Ok(None);
                    }
                }
                Err(error) => {
                    place.leave_behind();
                    return Err(error);
                }
            }
        }
    }

    /// Lines up once. `None` if the place was lost, or used up, and a new one is to be taken.
    fn wait_for_turn(&self, session: &Session, patience: &Patience<'_>) -> Result<Option<Hold>> {
        let (place, mut listed) = self.take_place(session, patience)?;
        loop {
            let turn = self.look(&place, listed.take(), patience);
            let watch = match turn {
                Ok(Turn::Held(hold)) => return Ok(Some(hold)),
                Ok(Turn::Again) => return Ok(None),
                Ok(Turn::Exhausted) => {
                    return self.renew_parent(&place, patience, true).map(|_| None);
                }
                Ok(Turn::Wait(watch)) => watch,
                Err(error) => {
                    place.leave_behind();
                    return Err(error);
                }
            };
            if let Err(over) = patience.wait_for(watch.as_ref().as_slice()) {
                place.leave_behind();
                return Err(over);
            }
        }
    }

    /// Takes a place at the end, and gives the children as they are listed right behind it.
    pub(crate) fn take_place(
        &self,
        session: &Session,
        patience: &Patience<'_>,
    ) -> Result<(Place, Option<Vec<String>>)> {
        let options = PlaceOptions {
            parent: &self.path,
            parent_data: &[],
            unique: self.style.unique(self.role.mark(self.style)),
            mode: CreateMode::EphemeralSequential,
            data: &self.identifier,
            acl: &self.acl,
        };
        Place::take(session, &options, patience)
    }

    /// Looks at the line, or at what was `listed` since our node was made, and says what to do.
    ///
    /// That our node is listed, under a name that only we use and with an owner that was compared
    /// when it was made, is the proof that our session was alive when the server looked: no more
    /// has to be read before claiming.
    fn look(
        &self,
        place: &Place,
        listed: Option<Vec<String>>,
        patience: &Patience<'_>,
    ) -> Result<Turn> {
        let session = &place.session;
        let ask = || patience.ask(session, || op::GetChildren::new(&*self.path));
        let children = match listed.map_or_else(ask, Ok) {
            Err(error) if error.code() == Some(Code::NoNode) => return Ok(Turn::Again),
            children => children?,
        };
        match contender::decide(&children, place.name(), self.role.rivals(), 1) {
            Decision::Held => Ok(Turn::Held(Hold::new(place.refreshed()))),
            Decision::Missing => Ok(Turn::Again),
            Decision::Exhausted => Ok(Turn::Exhausted),
            Decision::Wait { predecessor } => {
                self.watch(predecessor, session, patience).map(Turn::Wait)
            }
        }
    }

    /// Watches a contender; `None` if it has to be looked again at once.
    fn watch(
        &self,
        contender: &str,
        session: &Session,
        patience: &Patience<'_>,
    ) -> Result<Option<Watch>> {
        let node = path::join(&self.path, contender);
        let read = |watcher| op::GetData::new(node.as_str()).watcher(watcher);
        match patience.watch(session, read)? {
            Ok((_, watch)) => Ok(Some(watch)),
            // Gone since we looked.
            Err(error) if error.code() == Some(Code::NoNode) => Ok(None),
            Err(error) if error.is_connection() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The parent has counted its creates to the end, and gives every node the same number now.
    /// Only a new parent counts anew; it can be made when nobody is there. Those with sound
    /// numbers are waited for, if we `wait`; else `false`.
    fn renew_parent(&self, place: &Place, patience: &Patience<'_>, wait: bool) -> Result<bool> {
        match place.leave(patience) {
            Err(Error::Recipe { why: RecipeError::NotHeld, .. }) | Ok(()) => {}
            Err(error) => return Err(error),
        }
        log::warn!("{}: the sequence numbers are used up, making the node anew", self.path);
        let session = &place.session;
        let (mut tries, mut before) = (0, Vec::new());
        while tries < RENEWALS {
            match patience.ask(session, || op::Delete::new(&*self.path)) {
                Err(error) if error.code() == Some(Code::NotEmpty) => {}
                Err(error) if error.code() != Some(Code::NoNode) => return Err(error),
                _ => return Ok(true),
            }
            let mut children = match patience.ask(session, || op::GetChildren::new(&*self.path)) {
                Err(error) if error.code() == Some(Code::NoNode) => return Ok(true),
                children => children?,
            };
            children.sort_unstable();
            match contender::rest(&children) {
                Rest::Stranger => break,
                Rest::Sound(_) if !wait => return Ok(false),
                Rest::Sound(last) => {
                    let watch = self.watch(last, session, patience)?;
                    patience.wait_for(watch.as_ref().as_slice())?;
                }
                // Others found out just now, as we did, and are about to leave. As long as they come
                // and go, that is what they do.
                Rest::Exhausted => {
                    tries = if children == before { tries + 1 } else { 1 };
                    before = children;
                    thread::sleep(RENEWAL_PAUSE.mul_f64(fastrand::f64()));
                }
            }
        }
        Err(patience.error(RecipeError::SequenceExhausted))
    }

    /// Who is in the line, the one whose turn is first at the front.
    pub(crate) fn contenders(&self) -> Result<Vec<Contender>> {
        let children = match self.client.get_children(&self.path) {
            Err(error) if error.code() == Some(Code::NoNode) => return Ok(Vec::new()),
            children => children?,
        };
        let names = contender::ordered(&children, self.role.company());
        read_contenders(&self.client, &self.path, names)
    }
}

/// Refuses what cannot be the path of a recipe's node.
pub(crate) fn check_path(path: &str, recipe: &'static str) -> Result<()> {
    let legal = if path == "/" { Err("the root cannot be one") } else { path::validate(path) };
    legal.map_err(|why| Error::invalid(recipe, path, why))
}

/// Reads the nodes `names` under `parent`, all at once; those that are gone are left out.
pub(crate) fn read_contenders<'n>(
    client: &Client,
    parent: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<Contender>> {
    let pending: Vec<_> = names
        .into_iter()
        .map(|name| Ok((name, client.submit(op::GetData::new(path::join(parent, name)))?)))
        .collect::<Result<_>>()?;
    let mut contenders = Vec::with_capacity(pending.len());
    for (node, pending) in pending {
        match pending.wait() {
            Ok((identifier, stat)) => {
                contenders.push(Contender::new(node.to_owned(), identifier, &stat));
            }
            // Gone since we looked.
            Err(error) if error.code() == Some(Code::NoNode) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(contenders)
}

/// What a look at the line showed.
enum Turn {
    /// Lost: line up anew.
    Again,
    /// Our number is used up.
    Exhausted,
    Held(Hold),
    /// Wait for this watch, if there is one, and look again.
    Wait(Option<Watch>),
}

/// How often a used-up parent is tried to be deleted while the same ones stand in the way, whose
/// numbers are used up too: ours leave at once, on a machine that lets them, clients that know
/// nothing of it stay. Two seconds in all.
const RENEWALS: usize = 200;

/// At most, and half of it on average.
const RENEWAL_PAUSE: Duration = Duration::from_millis(20);
