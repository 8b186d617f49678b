//! What the machine owes: an outcome to each request, an end to each watch.

use std::collections::{BTreeMap, HashMap};

use crate::proto::event::EventKind;
use crate::session::batch::{Answers, Ended};
use crate::session::state::SessionState;
use crate::session::watches::WatchId;
use crate::session::{Effect, Failure, Outcome};

/// A request. Numbered in the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Token(u32);

/// One request of a batch: whose, and which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    token: Token,
    at: u32,
}

impl Member {
    /// A path that names it; no other request has it.
    pub(super) fn path(self) -> String {
        format!("{MEMBER}{}/{}", self.token.0, self.at)
    }

    pub(super) fn of_path(path: &str) -> Option<Self> {
        let (token, at) = path.strip_prefix(MEMBER)?.split_once('/')?;
        Some(Self { token: Token(token.parse().ok()?), at: at.parse().ok()? })
    }
}

const MEMBER: &str = "/batch/";

/// What a server said to one request of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Reply { code: i32, zxid: i64, body: Vec<u8> },
    TooLarge,
}

/// Whether an answer came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Perhaps,
    Surely,
    /// Out of turn: as long as its turn has not come, it is forgotten with the connection.
    Early,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Answer,
    /// Of a batch of so many.
    Answers(u32),
    /// Credentials outlive connections and sessions.
    Acknowledgement,
}

/// Carries effects out, as the driver would, and notes what is still owed.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) effects: Vec<Effect<Token, WatchId>>,
    owed: BTreeMap<Token, Owed>,
    /// What the server of now said to requests of batches.
    said: BTreeMap<Member, (Said, Came)>,
    /// Whether that server said things that nobody wrote down.
    pub(super) forged: bool,
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

    /// A batch of `count` requests.
    pub(super) fn new_batch(&mut self, count: u32) -> (Token, Vec<Member>) {
        let token = self.owe(Owed::Answers(count));
        (token, (0..count).map(|at| Member { token, at }).collect())
    }

    /// A server says this, and no more to this request.
    pub(super) fn say(&mut self, member: Member, said: Said, in_turn: bool) {
        let came = if in_turn { Came::Perhaps } else { Came::Early };
        assert_eq!(self.said.insert(member, (said, came)), None, "{member:?}");
    }

    /// All that was said so far came through.
    pub(super) fn all_came(&mut self) {
        for (_, came) in self.said.values_mut().filter(|(_, came)| *came == Came::Perhaps) {
            *came = Came::Surely;
        }
    }

    /// What another server said concerns nobody any more.
    pub(super) fn new_server(&mut self) {
        self.said.clear();
        self.forged = false;
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
        let each = |owed: &Owed| if let Owed::Answers(count) = owed { *count as usize } else { 1 };
        self.owed.values().map(each).sum::<usize>() + self.watches.len()
    }

    pub(super) fn armed(&self) -> usize {
        self.watches.values().filter(|armed| **armed).count()
    }

    /// The state that everybody reads.
    pub(super) fn state(&self) -> SessionState {
        self.published.unwrap_or(SessionState::Connecting)
    }

    /// Whether the effects not yet carried out answer a request, or a batch is being answered.
    pub(super) fn has_reply(&self) -> bool {
        let in_batch = self.owed.values().any(|owed| matches!(owed, Owed::Answers(_)));
        in_batch
            || self.effects.iter().any(|effect| match effect {
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
                Effect::Done { token, outcome, armed, count } => {
                    let owed = self.owed.remove(&token);
                    assert!(owed.is_some(), "{token:?} ends twice: {outcome:?}");
                    let (failed, in_order) = match (&outcome, owed) {
                        (Outcome::Batch(answers), Some(Owed::Answers(sent))) => {
                            assert_eq!(count, sent, "{token:?}");
                            let failed = self.check_answers(token, sent, answers);
                            (failed, !failed)
                        }
                        (Outcome::Batch(_), owed) => {
                            assert!(matches!(owed, Some(Owed::Answers(_))), "{token:?}: {owed:?}");
                            (false, false)
                        }
                        (other, Some(Owed::Answers(sent))) => {
                            assert_eq!(sent, 0, "a batch ends as {other:?}");
                            (false, false)
                        }
                        (Outcome::Failed(failure), owed) => {
                            assert_eq!(count, 1);
                            self.check_failure(*failure);
                            (owed == Some(Owed::Answer), false)
                        }
                        (Outcome::Reply(reply), owed) => {
                            assert_eq!(count, 1);
                            (false, reply.code == 0 && owed == Some(Owed::Answer))
                        }
                    };
                    if failed {
                        assert!(Some(token) > last_failed, "not the oldest first");
                        last_failed = Some(token);
                    }
                    if in_order {
                        let mut earlier = self.owed.range(..token);
                        let passed = |(_, owed): (_, &Owed)| *owed == Owed::Acknowledgement;
                        assert!(earlier.all(passed), "overtaken");
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

    /// Each of a batch was told what the server said to it; tells whether some have no answer.
    fn check_answers(&self, token: Token, count: u32, answers: &Answers) -> bool {
        let mut lost = None;
        for (at, ended) in (0..count).zip(answers.each()) {
            let member = Member { token, at };
            let said = self.said.get(&member);
            match ended {
                Ended::Failed(Failure::TooLarge { .. }) => {
                    assert!(self.forged || said.is_some_and(|(said, _)| *said == Said::TooLarge));
                }
                Ended::Failed(failure) => {
                    self.check_failure(failure);
                    assert!(lost.is_none_or(|lost| lost == failure), "{lost:?}, {failure:?}");
                    lost = Some(failure);
                    let came = said.is_some_and(|(_, came)| *came == Came::Surely);
                    assert!(self.forged || !came, "{member:?} had an answer: {said:?}");
                    continue;
                }
                Ended::Reply { code, zxid, body } => {
                    let same = said.is_some_and(|(said, _)| match said {
                        Said::TooLarge => false,
                        Said::Reply { code: c, zxid: z, body: b } => {
                            // That of a refusal is of no use.
                            (*c, *z) == (code, zxid) && (b == body || code != 0 && body.is_empty())
                        }
                    });
                    assert!(self.forged || same, "{member:?}: {code} {body:?}, said {said:?}");
                }
            }
            assert_eq!(lost, None, "{member:?} was answered behind one that was lost");
        }
        lost.is_some()
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
