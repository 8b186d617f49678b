//! What the IO thread thinks of the world beyond its connection: whether the session surely lives,
//! and whether another server would do better.

use std::sync::Arc;
use std::time::Instant;

use super::{Driver, PROBE_LAST};
use crate::io::life::{self, Life, Loss};
use crate::io::probe::{self, Question, Verdict};
use crate::session::state::SessionState;

impl Driver {
    /// Ends the session's life when its time is over, and begins a new one when a server answered
    /// after all.
    pub(super) fn look_at_life(&mut self, now: Instant) {
        let over = self.life_until().is_none_or(|until| now >= until);
        // Whoever looked at the clock before us may have marked it as lost: then it stays lost,
        // and what is held from now on must not rest on it.
        let marked = self.life.as_ref().is_some_and(|(life, _)| life.loss().is_some());
        if over || marked {
            self.end_life(Loss::Silence);
        }
        if !over && self.life.is_none() && self.machine.state() == SessionState::Connected {
            self.begin_life();
        }
    }

    pub(super) fn life_until(&self) -> Option<Instant> {
        let until = self.machine.lease_until()?;
        until.checked_sub(life::margin(self.machine.timeout()))
    }

    pub(super) fn begin_life(&mut self) {
        let (life, line) = Life::begin();
        let life = Arc::new(life);
        self.shared.publish_life(life.clone());
        self.life = Some((life, line));
    }

    pub(super) fn end_life(&mut self, loss: Loss) {
        if let Some((life, line)) = self.life.take() {
            if loss == Loss::Silence {
                log::warn!("no server answered for the session timeout: locks count as lost");
            }
            life.lose(loss);
            drop(line);
        }
    }

    pub(super) fn probe(&mut self, now: Instant) {
        self.next_probe = None;
        let question = match self.machine.state() {
            SessionState::ReadOnly => Question::WhoTakesWrites,
            SessionState::Disconnected => {
                Question::WhoIsBehind { last_zxid: self.machine.last_zxid() }
            }
            _ => return,
        };
        self.probing = probe::ask(self.shared.clone(), self.dialer.hosts(), question);
        if !self.probing {
            self.next_probe = Some(now + PROBE_LAST);
        }
    }

    pub(super) fn on_verdict(&mut self, verdict: Verdict, now: Instant) {
        self.probing = false;
        match (verdict, self.machine.state()) {
            (Verdict::ReadWrite(host), SessionState::ReadOnly) => {
                log::info!("{host} takes writes, leaving the read-only server");
                self.dialer.prefer(host);
                self.dialer.calm();
                self.lost("a server that takes writes was found", now);
            }
            (Verdict::AllBehind, SessionState::Disconnected) => {
                log::error!(
                    "all servers are behind zxid 0x{:x}, which this session has seen: the \
                     ensemble lost data, and the session with it",
                    self.machine.last_zxid()
                );
                // A greeting of the old session may be under way; the machine forgets it, and the
                // connection must not wait for its answer.
                self.lost("the session is given up", now);
                self.machine.give_up_session(&mut self.effects);
            }
            (_, SessionState::ReadOnly | SessionState::Disconnected) => {
                self.next_probe = Some(now + self.probe_pause);
                self.probe_pause = (self.probe_pause * 2).min(PROBE_LAST);
            }
            _ => {}
        }
    }
}
