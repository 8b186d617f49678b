//! What the machine owes: an outcome to each request, an end to each watch.

use std::collections::{BTreeMap, HashMap};

use crate::proto::event::EventKind;
use crate::session::state::SessionState;
use crate::session::watches::WatchId;
use crate::session::{Effect, Failure, Outcome};

/// A request. Numbered in the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Token(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Answer,
    /// Credentials outlive connections and sessions.
    Acknowledgement,
}

/// Carries effects out, as the driver would, and notes what is still owed.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) effects: Vec<Effect<Token, WatchId>>,
    owed: BTreeMap<Token, Owed>,
    /// The watches that may still be heard of, and whether the reply that armed them came.
    watches: HashMap<WatchId, bool>,
    tokens: u32,
    ids: u64,
    published: Option<SessionState>,
    announced: Option<SessionState>,
}

impl Books {
    pub(super) fn new_request(&mut self) -> Token {
        self.owe(Owed::Answer)
    }

    pub(super) fn new_auth(&mut self) -> Token {
        self.owe(Owed::Acknowledgement)
    }

    fn owe(&mut self, what: Owed) -> Token {
        self.tokens += 1;
        self.owed.insert(Token(self.tokens), what);
        Token(self.tokens)
    }

    pub(super) fn new_watch(&mut self) -> WatchId {
        self.ids += 1;
        self.watches.insert(WatchId(self.ids), false);
        WatchId(self.ids)
    }

    /// How much is owed, for the memory that it takes.
    pub(super) fn len(&self) -> usize {
        self.owed.len() + self.watches.len()
    }

    pub(super) fn armed(&self) -> usize {
        self.watches.values().filter(|armed| **armed).count()
    }

    /// The state that everybody reads.
    pub(super) fn state(&self) -> SessionState {
        self.published.unwrap_or(SessionState::Connecting)
    }

    /// Whether the effects not yet carried out answer a request.
    pub(super) fn has_reply(&self) -> bool {
        self.effects.iter().any(|effect| match effect {
            Effect::Done { token, outcome: Outcome::Reply(_), .. } => {
                self.owed.get(token) == Some(&Owed::Answer)
            }
            _ => false,
        })
    }

    pub(super) fn carry_out(&mut self) {
        let mut last_failed = None;
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Done { token, outcome, armed, .. } => {
                    let owed = self.owed.remove(&token);
                    assert!(owed.is_some(), "{token:?} ends twice: {outcome:?}");
                    if let (Outcome::Failed(failure), Some(owed)) = (&outcome, owed) {
                        self.check_failure(*failure);
                        if owed == Owed::Answer {
                            assert!(Some(token) > last_failed, "not the oldest first");
                            last_failed = Some(token);
                        }
                    }
                    if matches!(&outcome, Outcome::Reply(reply) if reply.code == 0)
                        && owed == Some(Owed::Answer)
                    {
                        let mut earlier = self.owed.range(..token);
                        assert!(earlier.all(|(_, owed)| *owed != Owed::Answer), "overtaken");
                    }
                    if let Some((_, id)) = armed {
                        assert!(matches!(outcome, Outcome::Reply(_)));
                        assert_eq!(self.watches.insert(id, true), Some(false), "{id:?}");
                    }
                }
                Effect::Fire { id, sink, event, last } => {
                    assert_eq!(id, sink);
                    assert_eq!(self.watches.get(&id), Some(&true), "{id:?} hears {event:?}");
                    assert_eq!(event.state, self.state());
                    assert!(last || event.kind != EventKind::Ended);
                    if last {
                        self.watches.remove(&id);
                    }
                }
                Effect::Forget { id, sink } => {
                    assert_eq!(id, sink);
                    assert!(self.watches.remove(&id).is_some(), "{id:?} is forgotten twice");
                }
                Effect::Publish(next) => {
                    assert!(self.state().may_become(next), "{:?} to {next:?}", self.state());
                    self.published = Some(next);
                }
                Effect::Announce(state) => {
                    assert_eq!(state, self.state());
                    assert_ne!(self.announced, Some(state), "announced twice");
                    self.announced = Some(state);
                }
            }
        }
        assert_eq!(self.announced, self.published, "published and not announced");
    }

    /// A caller that is told of a loss must not then read that all is well.
    fn check_failure(&self, failure: Failure) {
        let state = self.state();
        match failure {
            Failure::TooLarge { .. } => assert!(state.is_connected()),
            Failure::ConnectionLoss { sent } => assert!(sent && !state.is_connected()),
            Failure::SessionExpired { sent } => assert!(sent && state == SessionState::Expired),
            Failure::AuthFailed { sent } => assert!(sent && state == SessionState::AuthFailed),
            Failure::Closed { sent } => assert!(sent && state == SessionState::Closed),
            Failure::Timeout { .. } => unreachable!("the machine times nothing out"),
        }
    }

    pub(super) fn nothing_is_owed(&self) {
        assert!(self.owed.is_empty(), "never answered: {:?}", self.owed);
        assert!(self.watches.is_empty(), "never ended: {:?}", self.watches);
    }
}
