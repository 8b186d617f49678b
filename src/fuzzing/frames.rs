//! The frame buffer against a cut of the whole stream, at any split of the stream into reads.

use super::BASE;
use super::script::Script;
use crate::proto::frame::{FrameBuffer, FrameError, Piece, begin_frame, end_frame};

/// Feeds a stream in arbitrary pieces and compares the frames that come out.
///
/// The first byte picks the limit of a frame, the next seven say how much each read brings, over
/// and over; the rest describes the stream, see `stream`.
pub fn frames(data: &[u8], allow: &dyn Fn(usize)) {
    let mut script = Script(data);
    let max_frame = script.pick(&LIMITS);
    let cuts = script.bytes(7);
    let stream = stream(&mut script);
    // Many tiny reads of a large stream say nothing new.
    let least = stream.len() / 2048 + 1;
    let mut wanted = Cut { rest: &stream, max_frame, torn: false };
    let mut buffer = FrameBuffer::new(max_frame);
    let mut rest = stream.as_slice();

    allow(BASE.max(2 * stream.len() + BASE / 2));
    for cut in cuts.iter().chain([&0]).cycle() {
        if rest.is_empty() {
            break;
        }
        let space = buffer.space();
        assert!(space.len() >= BASE / 16, "room for {} bytes", space.len());
        let most = match usize::from(*cut) {
            0 => usize::MAX,
            n @ ..128 => n,
            n => (n - 127) * 64,
        };
        let n = most.max(least).min(space.len()).min(rest.len());
        let (now, later) = rest.split_at(n);
        if let Some(space) = space.get_mut(..n) {
            space.copy_from_slice(now);
        }
        buffer.filled(n);
        rest = later;
        // Frames that nobody takes yet must stay.
        if cut % 3 != 2 && drain(&mut buffer, &mut wanted).is_err() {
            return;
        }
    }
    if drain(&mut buffer, &mut wanted).is_err() {
        return;
    }
    let over = wanted.next();
    assert!(matches!(over, Ok(None)), "{over:?} did not come out");
    let clean = wanted.rest.is_empty() && !wanted.torn;
    assert_eq!(buffer.is_empty(), clean);
}

/// Compares all frames that are there. An error ends the stream, and stays.
fn drain(buffer: &mut FrameBuffer, wanted: &mut Cut<'_>) -> Result<(), FrameError> {
    loop {
        match buffer.next() {
            Ok(Some(piece)) => assert_eq!(Ok(Some(piece)), wanted.next()),
            Ok(None) => return Ok(()),
            Err(error) => {
                assert_eq!(wanted.next(), Err(error));
                assert_eq!(buffer.next(), Err(error));
                return Err(error);
            }
        }
    }
}

/// Bytes of a peer: whole frames, frames of some length made up here, and bytes as they are.
fn stream(script: &mut Script<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    while !script.is_over() && out.len() < MOST {
        let tag = script.byte();
        let start = begin_frame(&mut out);
        match tag {
            ..0x80 => out.extend_from_slice(script.bytes(usize::from(tag))),
            0x80..0xc0 => {
                let len = usize::from(script.byte()) << 8 | usize::from(script.byte());
                out.resize(start + 4 + len * usize::from(tag & 3), tag);
            }
            _ => {
                out.truncate(start);
                out.extend_from_slice(script.bytes(usize::from(tag & 0x3f)));
                continue;
            }
        }
        end_frame(&mut out, start);
    }
    out
}

/// The frames of a stream that is there as a whole.
struct Cut<'a> {
    rest: &'a [u8],
    max_frame: usize,
    /// The last frame is over the limit and not all there.
    torn: bool,
}

impl<'a> Cut<'a> {
    fn next(&mut self) -> Result<Option<Piece<'a>>, FrameError> {
        let Some((len, body)) = self.rest.split_first_chunk() else {
            return Ok(None);
        };
        let claimed = i32::from_be_bytes(*len);
        let Ok(len) = usize::try_from(claimed) else {
            return Err(FrameError { len: claimed });
        };
        let oversize = len > self.max_frame;
        let shown = if oversize { len.min(16) } else { len };
        let Some(bytes) = body.get(..shown) else {
            return Ok(None);
        };
        self.torn = len > body.len();
        self.rest = body.get(len..).unwrap_or_default();
        Ok(Some(if oversize { Piece::Oversize { head: bytes, len } } else { Piece::Frame(bytes) }))
    }
}

const LIMITS: [usize; 8] = [0, 2, 16, 17, 100, 4_096, 1 << 20, usize::MAX];
const MOST: usize = 256 * 1024;
