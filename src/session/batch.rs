//! Requests that were queued together, and their answers, told together.
//!
//! The server knows nothing of it: each request of a batch has its own xid and gets its own answer.
//! Answers that came wait here, in one run of bytes, until the last has come; so a batch costs one
//! hand-off down and one up, however many requests it holds.

use crate::proto::buffer::Buffer;
use crate::session::Failure;

/// How the requests of one batch ended.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    answers: Vec<Answered>,
    bodies: Buffer,
    /// What became of those that have no answer.
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Answered {
    zxid: i64,
    result: Result<i32, Box<Failure>>,
    /// Where in `bodies` its own ends; it begins where the one before it ends.
    end: usize,
}

/// How one request of a batch ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended<'a> {
    Reply { code: i32, zxid: i64, body: &'a [u8] },
    Failed(Failure),
}

impl Answers {
    pub(crate) fn with_room(requests: usize) -> Self {
        Self { answers: Vec::with_capacity(requests), ..Self::default() }
    }

    /// The answer to the next request.
    pub(crate) fn push(&mut self, code: i32, zxid: i64, body: &[u8]) {
        self.bodies.extend_from_slice(body);
        self.answers.push(Answered { zxid, result: Ok(code), end: self.bodies.len() });
    }

    /// There was an answer to the next request, but it cannot be told.
    pub(crate) fn push_failed(&mut self, failure: Failure) {
        let result = Err(Box::new(failure));
        self.answers.push(Answered { zxid: 0, result, end: self.bodies.len() });
    }

    pub(crate) fn len(&self) -> usize {
        self.answers.len()
    }

    /// The rest gets no answer.
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.failure = Some(failure);
    }

    /// How each request ended, in order, without end: what was never asked has failed too.
    pub(crate) fn each(&self) -> impl Iterator<Item = Ended<'_>> {
        let mut start = 0;
        let answered = self.answers.iter().map(move |answered| {
            let from = std::mem::replace(&mut start, answered.end);
            match &answered.result {
                Ok(code) => Ended::Reply {
                    code: *code,
                    zxid: answered.zxid,
                    body: self.bodies.get(from..answered.end).unwrap_or_default(),
                },
                Err(failure) => Ended::Failed(**failure),
            }
        });
        let failure = self.failure.unwrap_or(Failure::Closed { sent: true });
        answered.chain(std::iter::repeat_with(move || Ended::Failed(failure)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_its_own_answer_and_the_rest_the_failure() {
        let mut answers = Answers::with_room(2);
        answers.push(0, 5, b"one");
        answers.push(-101, 6, b"");
        let large = Failure::TooLarge { len: 9, limit: 8 };
        answers.push_failed(large);
        answers.push(0, 7, b"four");
        let lost = Failure::ConnectionLoss { sent: true };
        answers.fail(lost);
        let ended: Vec<_> = answers.each().take(6).collect();
        assert_eq!(
            ended,
            [
                Ended::Reply { code: 0, zxid: 5, body: b"one" },
                Ended::Reply { code: -101, zxid: 6, body: b"" },
                Ended::Failed(large),
                Ended::Reply { code: 0, zxid: 7, body: b"four" },
                Ended::Failed(lost),
                Ended::Failed(lost),
            ]
        );
    }
}
