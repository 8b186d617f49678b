//! What the null server says. Nothing is remembered: sizes are read from paths.

use std::collections::HashMap;

use crate::wire::{
    ADD_WATCH, AUTH, CHECK, CLOSE, CREATE, CREATE2, DELETE, EXISTS, GET_CHILDREN, GET_CHILDREN2,
    GET_DATA, MULTI, OK, PING, REMOVE_WATCHES, SET_DATA, SET_WATCHES, SET_WATCHES2, STAT_LEN, SYNC,
    UNIMPLEMENTED, buffer, event, int, reply, text,
};

/// Answers, encoded once. Each has xid 0.
pub(super) struct Answers {
    ok: Vec<u8>,
    stat: Vec<u8>,
    unknown: Vec<u8>,
    /// Those to reads, by what was read.
    reads: HashMap<(i32, Vec<u8>), Vec<u8>>,
    /// The read that was asked for last, and its answer: most ask for the same again.
    last: (i32, Vec<u8>),
    last_answer: Vec<u8>,
}

const STAT: [u8; STAT_LEN] = [0; STAT_LEN];

impl Answers {
    pub(super) fn new() -> Self {
        Self {
            ok: reply(OK, &[]),
            stat: reply(OK, &[&STAT]),
            unknown: reply(UNIMPLEMENTED, &[]),
            reads: HashMap::new(),
            last: (0, vec![]),
            last_answer: vec![],
        }
    }

    /// Appends the answer to `request`, and the event if it left a watch that is to fire.
    pub(super) fn answer(&mut self, request: &[u8], out: &mut Vec<u8>) {
        let (xid, op) = (int(request, 0), int(request, 4));
        let start = out.len();
        match op {
            GET_DATA | GET_CHILDREN | GET_CHILDREN2 => self.read(op, buffer(request, 8), out),
            SET_DATA | EXISTS => out.extend_from_slice(&self.stat),
            CREATE | CREATE2 | SYNC => {
                // Put together in place: the length, the header, the path as it came.
                let stat: &[u8] = if op == CREATE2 { &STAT } else { &[] };
                let name = buffer(request, 8);
                // The last word of a create is its mode; that bit says "sequential".
                let number = if op != SYNC && request.last().is_some_and(|mode| mode & 2 != 0) {
                    b"0000000001".as_slice()
                } else {
                    b""
                };
                let name_len = (name.len() + number.len()) as i32;
                let len = self.ok.len() as i32 + name_len + stat.len() as i32;
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(&self.ok[4..]);
                out.extend_from_slice(&name_len.to_be_bytes());
                out.extend_from_slice(name);
                out.extend_from_slice(number);
                out.extend_from_slice(stat);
            }
            MULTI => out.extend_from_slice(&reply(OK, &[&multi(request)])),
            PING | AUTH | CLOSE | DELETE | CHECK | SET_WATCHES | SET_WATCHES2 | ADD_WATCH
            | REMOVE_WATCHES => out.extend_from_slice(&self.ok),
            _ => out.extend_from_slice(&self.unknown),
        }
        out[start + 4..start + 8].copy_from_slice(&xid.to_be_bytes());
        let path = buffer(request, 8);
        if matches!(op, GET_DATA | EXISTS) && path.starts_with(b"/w") && watches(request, path) {
            out.extend_from_slice(&event(path));
        }
    }

    fn read(&mut self, op: i32, path: &[u8], out: &mut Vec<u8>) {
        // All nodes that are watched have the same data.
        let path = if path.starts_with(b"/w") { b"/w" } else { path };
        if self.last.0 != op || self.last.1 != path {
            self.last = (op, path.to_vec());
            let answers = self.reads.entry(self.last.clone());
            self.last_answer = answers.or_insert_with(|| encode(op, size(path))).clone();
        }
        out.extend_from_slice(&self.last_answer);
    }
}

fn encode(op: i32, size: usize) -> Vec<u8> {
    let children = || {
        let names: Vec<u8> = (0..size).flat_map(|i| text(child(i).as_bytes())).collect();
        [&i32::try_from(size).expect("not so many").to_be_bytes(), &*names].concat()
    };
    match op {
        GET_DATA => reply(OK, &[&text(&vec![b'x'; size]), &STAT]),
        GET_CHILDREN => reply(OK, &[&children()]),
        _ => reply(OK, &[&children(), &STAT]),
    }
}

/// The name of the `i`th child, as the nodes on the real server are named.
pub fn child(i: usize) -> String {
    format!("child-{i:06}")
}

/// The number that a path ends in after a dash, or 100.
fn size(path: &[u8]) -> usize {
    let path = std::str::from_utf8(path).unwrap_or_default();
    path.rsplit_once('-').and_then(|(_, digits)| digits.parse().ok()).unwrap_or(100)
}

/// Whether a read leaves a watch: the byte behind its path.
fn watches(request: &[u8], path: &[u8]) -> bool {
    request.get(8 + 4 + path.len()) == Some(&1)
}

/// Says yes to every member of a transaction.
fn multi(request: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 8;
    let header = |out: &mut Vec<u8>, op: i32, done: u8| {
        let err = if done == 1 { -1 } else { OK };
        out.extend_from_slice(&op.to_be_bytes());
        out.push(done);
        out.extend_from_slice(&err.to_be_bytes());
    };
    while request.get(at + 4) == Some(&0) {
        let op = int(request, at);
        at += 9;
        let path = buffer(request, at);
        at += 4 + path.len();
        header(&mut out, op, 0);
        match op {
            CREATE | CREATE2 => {
                at += 4 + buffer(request, at).len();
                let acls = int(request, at);
                at += 4;
                for _ in 0..acls {
                    at += 4;
                    at += 4 + buffer(request, at).len();
                    at += 4 + buffer(request, at).len();
                }
                at += 4;
                out.extend_from_slice(&text(path));
                if op == CREATE2 {
                    out.extend_from_slice(&STAT);
                }
            }
            SET_DATA => {
                at += 4 + buffer(request, at).len() + 4;
                out.extend_from_slice(&STAT);
            }
            _ => at += 4,
        }
    }
    header(&mut out, -1, 1);
    out
}
