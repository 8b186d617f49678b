//! Carrying out what the session machine says, in its order.

use std::time::Instant;

use super::{Driver, FirstFailure, PROBE_FIRST, Sink};
use crate::io::completion::Completion;
use crate::io::dispatch::Event;
use crate::io::life::Loss;
use crate::io::slot::{Abandoned, Wake};
use crate::session::state::SessionState;
use crate::session::{Effect, Failure};

impl Driver {
    /// Puts the answers so far in their places.
    pub(super) fn give(&mut self, now: Instant) {
        // Before the answers are given: what they grant rests on the life of now.
        self.look_at_life(now);
        self.carry_out_effects(now);
    }

    fn carry_out_effects(&mut self, now: Instant) {
        while !self.effects.is_empty() {
            // Two lists that take turns, so that neither is allocated anew for each read.
            let mut now_due = std::mem::replace(&mut self.effects, std::mem::take(&mut self.spare));
            for effect in now_due.drain(..) {
                self.on_effect(effect, now);
            }
            now_due.shrink_to(KEEP_EFFECTS);
            self.spare = now_due;
        }
    }

    /// Carries out what the machine said, in its order, then wakes those who got an answer.
    pub(super) fn carry_out(&mut self, now: Instant) {
        self.carry_out_effects(now);
        if std::mem::take(&mut self.progressed) {
            self.publish_progress();
        }
        // Once a turn there is something to tell, twice or three times there is nothing.
        if self.finished == 0 && self.to_call.is_empty() {
            return;
        }
        let answered = std::mem::take(&mut self.answered);
        if answered > 0 {
            self.shared.crowd.answered(answered, self.shared.gate.inside());
        }
        self.shared.gate.leave(std::mem::take(&mut self.finished));
        self.woke |= answered > 0 || !self.to_call.is_empty();
        if std::mem::take(&mut self.call_crowd) {
            self.shared.crowd.call();
        }
        for waiter in self.to_wake.drain(..) {
            waiter.unpark();
        }
        for post in self.to_call.drain(..) {
            post.call();
        }
    }

    pub(super) fn on_effect(&mut self, effect: Effect<Completion, Sink>, now: Instant) {
        match effect {
            Effect::Done { token, outcome, count, armed } => {
                self.finished += count as usize;
                match (token.finish(outcome), armed) {
                    (Ok(wake), _) => self.wake_later(wake),
                    // The caller timed out before its watch was set: take the watch back.
                    (Err(Abandoned), Some((path, id))) => {
                        self.machine.unwatch(&path, id, now, &mut self.effects);
                    }
                    (Err(Abandoned), None) => {}
                }
            }
            Effect::Fire { id, sink, event, last } => match sink {
                Sink::Callback => {
                    let _ = self.shared.events.send(Event::Fire { id, event, last });
                }
                Sink::Handle(post) => {
                    if post.put(event) {
                        self.to_call.push(post);
                    }
                }
            },
            Effect::Forget { id, sink } => {
                if matches!(sink, Sink::Callback) {
                    let _ = self.shared.events.send(Event::Forget(id));
                }
            }
            Effect::Publish(state) => self.on_publish(state),
            Effect::Announce(state) => self.on_announce(state, now),
        }
    }

    fn wake_later(&mut self, wake: Wake) {
        match wake {
            Wake::Nobody | Wake::Callback(..) => return,
            Wake::Thread(thread) => self.to_wake.push(thread),
            Wake::Crowd => self.call_crowd = true,
        }
        self.answered += 1;
    }

    pub(super) fn on_publish(&mut self, state: SessionState) {
        if state.is_connected() {
            self.shared.publish_session(self.machine.identity().0, self.machine.timeout());
        }
        self.publish_progress();
        match state {
            // On a read-only server nothing can be held.
            SessionState::Connected if self.life.is_none() => self.begin_life(),
            SessionState::Expired => self.end_life(Loss::Expired),
            SessionState::Closed | SessionState::AuthFailed => self.end_life(Loss::Closed),
            _ => {}
        }
        self.shared.publish(self.machine.epoch(), state);
    }

    pub(super) fn publish_progress(&self) {
        let machine = &self.machine;
        self.shared.publish_progress(
            machine.last_zxid(),
            machine.lease_until(),
            machine.watch_count(),
        );
    }

    pub(super) fn on_announce(&mut self, state: SessionState, now: Instant) {
        match state {
            SessionState::Connected | SessionState::ReadOnly => self.on_connected(state, now),
            SessionState::Disconnected if !self.wait_disconnected => self.refuse_impatient(),
            // Nothing that was meant for the old session may leak into the next.
            SessionState::Expired => self.refuse_backlog(Failure::SessionExpired { sent: false }),
            SessionState::AuthFailed => self.refuse_backlog(Failure::AuthFailed { sent: false }),
            SessionState::Closed => self.refuse_backlog(Failure::Closed { sent: false }),
            _ => {}
        }
        log::info!("session 0x{:x}: {state}", self.machine.identity().0);
        self.subscribers.retain(|subscriber| subscriber.send(state).is_ok());
        let _ = self.shared.events.send(Event::State(state));
        match state {
            SessionState::Expired if self.first.is_some() && self.machine.is_attached() => {
                self.tell_first(Err(FirstFailure::SessionExpired));
                self.ended = true;
            }
            // A session that was never announced is nobody's: the policy does not concern it.
            SessionState::Expired
                if (self.renew || self.first.is_some()) && self.closing.is_none() =>
            {
                self.lost_at = None;
                self.machine.renew(&mut self.effects);
            }
            SessionState::Expired => self.ended = true,
            SessionState::AuthFailed => {
                self.tell_first(Err(FirstFailure::AuthFailed));
                self.ended = true;
            }
            _ => {}
        }
    }

    pub(super) fn on_connected(&mut self, state: SessionState, now: Instant) {
        if let Some(connection) = &self.connection {
            self.dialer.connected_to(&connection.host);
            self.shared.publish_host(Some(connection.host.to_string()));
        }
        self.lost_at = None;
        self.turned_away = false;
        self.probe_pause = PROBE_FIRST;
        self.next_probe =
            (state == SessionState::ReadOnly && self.read_only).then(|| now + PROBE_FIRST);
        self.tell_first(Ok(()));
        self.send_backlog(now);
    }

    pub(super) fn tell_first(&mut self, result: Result<(), FirstFailure>) {
        if let Some(first) = self.first.take() {
            let _ = first.send(result);
        }
    }
}

/// Room for the effects of a read that is kept; an expiry with 100,000 watches needs more once.
const KEEP_EFFECTS: usize = 4096;
