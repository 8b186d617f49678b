//! Frames: a length, then that many bytes.
//!
//! [`FrameBuffer`] stands between a socket and the decoders. The socket writes into
//! [`FrameBuffer::space`], [`FrameBuffer::next`] lends out each frame in place:
//!
//! ```text
//!        consumed            held                        space
//!  |====================|------------------|..............................|
//!  0                  start               end                        buf.len()
//! ```
//!
//! Bytes move only when the tail is short of space. The buffer follows what has arrived, not what
//! a length claims: a peer that announces 2 GiB and sends 10 bytes costs 64 KiB. A frame over the
//! limit is announced and then skipped, so that one large answer fails one call and not the
//! connection.

use super::jute::{Reader, length, patch_i32};

/// A length below zero: the stream is not ZooKeeper's, or out of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame of length {len}")]
pub(crate) struct FrameError {
    pub(crate) len: i32,
}

/// What [`FrameBuffer::next`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A whole frame, without its length.
    Frame(&'a [u8]),
    /// A frame over the limit. It is said once; its bytes are thrown away as they come.
    Oversize {
        /// The first 16 bytes of the frame, enough for a reply header.
        head: &'a [u8],
        /// The length of the frame in bytes.
        len: usize,
    },
}

/// Cuts a stream of bytes into frames.
pub(crate) struct FrameBuffer {
    buf: Vec<u8>,
    start: usize,
    end: usize,
    /// How many bytes of an oversize frame are still to come.
    skip: usize,
    max_frame: usize,
    /// Reads since the last that needed more than `INITIAL`.
    idle: u32,
    /// Whether a read did not fit into `FIRST`.
    wide: bool,
}

impl FrameBuffer {
    /// Makes an empty buffer for frames of up to `max_frame` bytes, their length not counted.
    pub(crate) fn new(max_frame: usize) -> Self {
        Self { buf: Vec::new(), start: 0, end: 0, skip: 0, max_frame, idle: 0, wide: false }
    }

    /// Where to put the bytes that come next; never empty. Say with [`FrameBuffer::filled`] how
    /// many there were.
    ///
    /// The first reads are offered 4 KiB, until one of them needs more. From then on there is room
    /// for at least 16 KiB. For a frame that needs more, the buffer doubles each time it is nearly
    /// full, up to 16 KiB past the end of the frame. It grows to no more than the larger of 64 KiB
    /// and twice what has arrived plus 32 KiB, and one page.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let held = self.end - self.start;
        self.wide |= held > 0;
        let doubled = (held + MIN_SPACE).next_power_of_two();
        let room = match self.front_len() {
            front if front > held => doubled.min(front + MIN_SPACE),
            _ => doubled,
        };

        self.idle = if room > INITIAL { 0 } else { self.idle.saturating_add(1) };
        let most = if self.idle < PATIENCE { KEPT_BUSY } else { KEPT };
        let len = if self.wide { room.max(INITIAL) } else { FIRST } + PAGE;
        let too_large = self.buf.len() > most + PAGE && room <= INITIAL;
        let too_small = self.buf.len() < len;
        if too_large {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, held);
            self.buf.truncate(len);
            self.buf.shrink_to_fit();
        } else if too_small {
            self.buf.reserve_exact(len - self.buf.len());
            self.buf.resize(len, 0);
        }
        if held == 0 || too_large || too_small || self.buf.len() - self.start < room {
            let front = self.buf.as_ptr().align_offset(PAGE) % PAGE;
            self.buf.copy_within(self.start..self.end, front);
            (self.start, self.end) = (front, front + held);
        }
        self.buf.get_mut(self.end..).unwrap_or_default()
    }

    /// Takes in the first `n` bytes of what [`FrameBuffer::space`] gave.
    pub(crate) fn filled(&mut self, n: usize) {
        self.end = self.end.saturating_add(n).min(self.buf.len());
        self.wide |= self.end == self.buf.len();
        // A buffer that is large already takes in one read what would have to grow another.
        if self.end - self.start > INITIAL {
            self.idle = 0;
        }
        self.discard();
    }

    /// Takes the next frame, if all of it is there.
    ///
    /// An error stays: the next call gives it again.
    pub(crate) fn next(&mut self) -> Result<Option<Piece<'_>>, FrameError> {
        let Some(len) = self.front()? else {
            return Ok(None);
        };
        let oversize = len > self.max_frame;
        let wanted = if oversize { len.min(HEAD) } else { len };
        if self.end - self.start - PREFIX < wanted {
            return Ok(None);
        }

        let from = self.start + PREFIX;
        let to = from + wanted;
        self.start = to;
        self.skip = len - wanted;
        self.discard();
        let bytes = self.buf.get(from..to).unwrap_or_default();
        Ok(Some(if oversize { Piece::Oversize { head: bytes, len } } else { Piece::Frame(bytes) }))
    }

    /// Whether the stream stands between two frames, so that its end would be a clean one.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end && self.skip == 0
    }

    /// The length of the frame at the front, if that much has arrived.
    fn front(&self) -> Result<Option<usize>, FrameError> {
        let held = self.buf.get(self.start..self.end).unwrap_or_default();
        match Reader::new(held).i32() {
            Ok(len) => match usize::try_from(len) {
                Ok(len) => Ok(Some(len)),
                Err(_) => Err(FrameError { len }),
            },
            Err(_) => Ok(None),
        }
    }

    /// How many bytes the frame at the front takes in the buffer, its length included.
    fn front_len(&self) -> usize {
        match self.front() {
            Ok(Some(len)) if len > self.max_frame => PREFIX + HEAD,
            Ok(Some(len)) => PREFIX + len,
            _ => PREFIX,
        }
    }

    /// Throws away what has arrived of an oversize frame.
    fn discard(&mut self) {
        let gone = self.skip.min(self.end - self.start);
        self.start += gone;
        self.skip -= gone;
    }
}

impl std::fmt::Debug for FrameBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameBuffer")
            .field("held", &(self.end - self.start))
            .field("skip", &self.skip)
            .field("capacity", &self.buf.len())
            .field("max_frame", &self.max_frame)
            .finish()
    }
}

/// Starts a frame: leaves room for its length and says where. [`end_frame`] fills it in.
pub(crate) fn begin_frame(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    start
}

/// Ends the frame that [`begin_frame`] started at `start`: what follows it is the frame.
pub(crate) fn end_frame(out: &mut [u8], start: usize) {
    let len = out.len().saturating_sub(start).saturating_sub(PREFIX);
    patch_i32(out, start, length(len));
}

/// The size of the length before each frame.
const PREFIX: usize = 4;
/// How much of an oversize frame is shown: a reply header.
const HEAD: usize = super::header::ReplyHeader::LEN;
/// What a read is offered at least. Smaller reads would cost more system calls than they save.
const MIN_SPACE: usize = 16 * 1024;
/// What stands in front is moved to where a page begins: some CPUs (AMD's Zen 3 among them) copy
/// from the kernel several times slower to memory 16 bytes behind a page, which is where large
/// allocations begin. Measured with answers of 512 KiB: 240 us for the copy, else 50.
const PAGE: usize = 4096;
/// The size to begin with: many a client never reads more at once, and memory that it never touches
/// costs it neither time nor space.
const FIRST: usize = 4 * 1024;
/// The size from then on: thousands of ordinary replies at once.
const INITIAL: usize = 64 * 1024;
/// The size that the buffer may keep for good; above it, it goes back to `INITIAL` some time after
/// the frame that needed it is gone.
const KEPT: usize = 4 * INITIAL;
/// The size that it may keep until then: who reads one large node often reads more of them.
const KEPT_BUSY: usize = 32 * INITIAL;
/// How many reads that time is.
const PATIENCE: u32 = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Seen {
        Frame(Vec<u8>),
        Oversize(Vec<u8>, usize),
    }

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for frame in frames {
            let start = begin_frame(&mut out);
            out.extend_from_slice(frame);
            end_frame(&mut out, start);
        }
        out
    }

    fn expected(frames: &[Vec<u8>], max_frame: usize) -> Vec<Seen> {
        let seen = |frame: &Vec<u8>| {
            if frame.len() > max_frame {
                Seen::Oversize(frame[..frame.len().min(16)].to_vec(), frame.len())
            } else {
                Seen::Frame(frame.clone())
            }
        };
        frames.iter().map(seen).collect()
    }

    fn drain(buffer: &mut FrameBuffer, seen: &mut Vec<Seen>) {
        while let Some(piece) = buffer.next().unwrap() {
            seen.push(match piece {
                Piece::Frame(bytes) => Seen::Frame(bytes.to_vec()),
                Piece::Oversize { head, len } => Seen::Oversize(head.to_vec(), len),
            });
        }
    }

    /// Gives the buffer up to `most` bytes, as one read of a socket does.
    fn read(buffer: &mut FrameBuffer, bytes: &mut &[u8], most: usize) {
        let least = if buffer.wide { MIN_SPACE } else { FIRST };
        let space = buffer.space();
        assert!(space.len() >= least);
        let (now, later) = bytes.split_at(bytes.len().min(most).min(space.len()));
        space[..now.len()].copy_from_slice(now);
        *bytes = later;
        buffer.filled(now.len());
    }

    fn feed(buffer: &mut FrameBuffer, mut bytes: &[u8], chunk: usize) -> Vec<Seen> {
        let mut seen = Vec::new();
        while !bytes.is_empty() {
            read(buffer, &mut bytes, chunk);
            drain(buffer, &mut seen);
        }
        seen
    }

    #[test]
    fn frame_in_single_bytes_comes_out_whole() {
        let mut buffer = FrameBuffer::new(100);
        let frames = [b"hello".to_vec(), vec![], b"world".to_vec()];
        let seen = feed(&mut buffer, &stream(&frames), 1);
        assert_eq!(seen, expected(&frames, 100));
        assert!(buffer.is_empty());
    }

    #[test]
    fn stream_is_between_frames_only_when_nothing_is_left() {
        let mut buffer = FrameBuffer::new(4);
        assert!(buffer.is_empty());
        let bytes = stream(&[vec![7; 3], vec![7; 40]]);
        let mut between = Vec::new();
        for (at, byte) in bytes.iter().enumerate() {
            feed(&mut buffer, &[*byte], 1);
            if buffer.is_empty() {
                between.push(at + 1);
            }
        }
        assert_eq!(between, [4 + 3, 4 + 3 + 4 + 40]);
    }

    #[test]
    fn oversize_frame_is_said_once_and_its_neighbours_come_out() {
        let frames = [vec![1; 10], vec![2; 300_000], vec![3; 10]];
        for chunk in [1, 7, 5_000, usize::MAX] {
            let mut buffer = FrameBuffer::new(100);
            let seen = feed(&mut buffer, &stream(&frames), chunk);
            assert_eq!(seen, expected(&frames, 100));
            assert!(buffer.is_empty());
            assert!(buffer.buf.capacity() <= INITIAL + PAGE, "{chunk}");
        }
    }

    #[test]
    fn oversize_frame_is_said_as_soon_as_its_header_is_there() {
        let mut buffer = FrameBuffer::new(100);
        let bytes = stream(&[(0..200).collect()]);
        assert_eq!(feed(&mut buffer, &bytes[..19], 19), []);
        let head = (0..16).collect();
        assert_eq!(feed(&mut buffer, &bytes[19..20], 1), [Seen::Oversize(head, 200)]);
        assert!(!buffer.is_empty(), "184 bytes are still to come");
        assert_eq!(feed(&mut buffer, &bytes[20..], 184), []);
        assert!(buffer.is_empty());
    }

    #[test]
    fn limit_below_a_header_shows_what_there_is() {
        let mut buffer = FrameBuffer::new(2);
        let frames = [vec![1; 2], vec![2; 3], vec![3; 16], vec![4; 17]];
        assert_eq!(feed(&mut buffer, &stream(&frames), 5), expected(&frames, 2));
    }

    #[test]
    fn negative_length_is_an_error_that_stays() {
        for len in [-1, i32::MIN] {
            let mut buffer = FrameBuffer::new(100);
            read(&mut buffer, &mut &len.to_be_bytes()[..], 4);
            assert_eq!(buffer.next(), Err(FrameError { len }));
            read(&mut buffer, &mut &stream(&[vec![0; 8]])[..], 12);
            assert_eq!(buffer.next(), Err(FrameError { len }));
            buffer = FrameBuffer::new(buffer.max_frame);
            assert_eq!(buffer.next(), Ok(None));
        }
    }

    #[test]
    fn memory_follows_what_arrived_and_not_what_was_claimed() {
        let mut buffer = FrameBuffer::new(usize::MAX);
        let mut claim = &i32::MAX.to_be_bytes()[..];
        read(&mut buffer, &mut claim, 4);
        let mut arrived = 4;
        while arrived < 3 << 20 {
            let space = buffer.space().len();
            let bound = INITIAL.max(2 * arrived + 2 * MIN_SPACE) + PAGE;
            assert!(buffer.buf.capacity() <= bound, "{arrived} bytes arrived");
            let n = space.min(1_400);
            buffer.filled(n);
            arrived += n;
            assert_eq!(buffer.next(), Ok(None));
        }
    }

    #[test]
    fn buffer_for_a_large_frame_ends_just_past_it() {
        let mut buffer = FrameBuffer::new(usize::MAX);
        feed(&mut buffer, &stream(&[vec![1; 5_000_000]]), usize::MAX);
        assert_eq!(buffer.buf.len(), 5_000_004 + MIN_SPACE + PAGE);
    }

    #[test]
    fn buffer_shrinks_once_a_huge_frame_is_gone() {
        let mut buffer = FrameBuffer::new(usize::MAX);
        let huge = vec![1; 5_000_000];
        let mut bytes = stream(&[huge.clone(), b"next".to_vec()]);
        let last = bytes.split_off(bytes.len() - 2);
        assert_eq!(feed(&mut buffer, &bytes, usize::MAX), [Seen::Frame(huge)]);
        // Part of the next frame was behind the huge one and has to move.
        let next = feed(&mut buffer, &last, usize::MAX);
        assert_eq!(next, [Seen::Frame(b"next".to_vec())]);
        assert_eq!(buffer.buf.capacity(), INITIAL + PAGE);
    }

    #[test]
    fn buffer_stays_large_while_large_frames_come() {
        let mut buffer = FrameBuffer::new(usize::MAX);
        let large = stream(&[vec![1; 500_000]]);
        feed(&mut buffer, &large, usize::MAX);
        let len = buffer.buf.len();
        for _ in 0..4 * PATIENCE {
            feed(&mut buffer, &large, usize::MAX);
            assert_eq!(buffer.buf.len(), len);
        }
        for _ in 0..2 * PATIENCE {
            feed(&mut buffer, &stream(&[vec![1; 10]]), usize::MAX);
        }
        assert_eq!(buffer.buf.capacity(), INITIAL + PAGE);
    }

    #[test]
    fn buffer_grows_a_number_of_times_that_follows_the_logarithm() {
        let mut buffer = FrameBuffer::new(usize::MAX);
        let bytes = stream(&[vec![1; 16 << 20]]);
        let mut rest = bytes.as_slice();
        let mut sizes = Vec::new();
        while !rest.is_empty() {
            read(&mut buffer, &mut rest, 1_400);
            sizes.push(buffer.buf.len());
            assert!(rest.is_empty() || buffer.next() == Ok(None));
        }
        sizes.dedup();
        assert!(sizes.len() <= 11, "{sizes:?}");
    }

    #[test]
    fn frames_that_no_one_takes_double_the_buffer_too() {
        let mut buffer = FrameBuffer::new(usize::MAX);
        let bytes = stream(&vec![vec![1; 1_000]; 4_000]);
        let mut rest = bytes.as_slice();
        let mut sizes = Vec::new();
        while !rest.is_empty() {
            read(&mut buffer, &mut rest, 1_400);
            sizes.push(buffer.buf.len());
        }
        sizes.dedup();
        assert!(sizes.len() <= 8, "{sizes:?}");
        let mut seen = Vec::new();
        drain(&mut buffer, &mut seen);
        assert_eq!(seen.len(), 4_000);
    }

    #[test]
    fn small_frames_are_not_moved_while_the_tail_has_room() {
        let mut buffer = FrameBuffer::new(1 << 20);
        let bytes = stream(&vec![vec![5; 60]; 300]);
        let mut starts = Vec::new();
        for chunk in bytes.chunks(50) {
            feed(&mut buffer, chunk, usize::MAX);
            starts.push(buffer.start);
        }
        assert!(bytes.len() < INITIAL - 2 * MIN_SPACE);
        let back = starts.windows(2).filter(|pair| pair[1] < pair[0]).count();
        let empty = bytes.len() / 1_600 + 1; // Every 32 frames a chunk ends where a frame does.
        assert!(back <= empty, "moved {back} times");
    }

    #[test]
    fn clear_forgets_half_a_frame_and_what_is_to_be_skipped() {
        let mut buffer = FrameBuffer::new(20);
        feed(&mut buffer, &stream(&[vec![1; 10]])[..9], usize::MAX);
        buffer = FrameBuffer::new(buffer.max_frame);
        assert!(buffer.is_empty());
        feed(&mut buffer, &stream(&[vec![1; 100]])[..30], usize::MAX);
        assert!(!buffer.is_empty());
        buffer = FrameBuffer::new(buffer.max_frame);
        assert!(buffer.is_empty());
        let frames = [vec![9; 4]];
        assert_eq!(feed(&mut buffer, &stream(&frames), 3), expected(&frames, 20));
    }

    #[test]
    fn more_than_the_space_cannot_be_filled() {
        let mut buffer = FrameBuffer::new(20);
        buffer.space();
        buffer.filled(usize::MAX);
        assert_eq!(buffer.end, FIRST + PAGE);
    }

    #[test]
    fn small_answers_never_need_more_than_the_first_buffer() {
        let mut buffer = FrameBuffer::new(1 << 20);
        let frame = vec![8; 200];
        for _ in 0..1_000 {
            feed(&mut buffer, &stream(std::slice::from_ref(&frame)), usize::MAX);
        }
        assert_eq!(buffer.buf.capacity(), FIRST + PAGE);
        feed(&mut buffer, &stream(&vec![frame; 100]), usize::MAX);
        assert_eq!(buffer.buf.capacity(), INITIAL + PAGE);
    }

    #[test]
    fn end_of_a_frame_that_was_not_begun_changes_nothing() {
        let mut out = vec![1, 2];
        end_frame(&mut out, 0);
        end_frame(&mut out, 9);
        assert_eq!(out, [1, 2]);
    }

    fn sizes(most: usize) -> impl Strategy<Value = Vec<usize>> {
        prop::collection::vec(0..=most, 0..12)
    }

    /// Frames of these sizes, no two bytes near each other alike.
    fn frames(sizes: &[usize]) -> Vec<Vec<u8>> {
        let mut byte = (0..251_u8).cycle();
        let mut frame = |size: &usize| byte.by_ref().take(*size).collect();
        sizes.iter().map(&mut frame).collect()
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            sizes in sizes(200),
            max_frame in 0..220_usize,
            chunks in prop::collection::vec(1..90_usize, 1..20),
        ) {
            let frames = frames(&sizes);
            let bytes = stream(&frames);
            let mut rest = bytes.as_slice();
            let mut buffer = FrameBuffer::new(max_frame);
            let mut seen = Vec::new();
            let mut chunks = chunks.into_iter().cycle();
            while !rest.is_empty() {
                read(&mut buffer, &mut rest, chunks.next().unwrap_or(1));
                drain(&mut buffer, &mut seen);
            }
            prop_assert_eq!(seen, expected(&frames, max_frame));
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(bytes: Vec<u8>, max_frame: usize, chunk in 1..9_usize) {
            let mut rest = bytes.as_slice();
            let mut buffer = FrameBuffer::new(max_frame);
            while !rest.is_empty() {
                read(&mut buffer, &mut rest, chunk);
                while let Ok(Some(_)) = buffer.next() {}
            }
            prop_assert!(buffer.buf.capacity() <= INITIAL + PAGE);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn large_frames_come_out_as_they_went_in_and_leave_a_small_buffer(
            sizes in sizes(400_000),
            max_frame in 100_000..400_000_usize,
            chunk in 1_000..200_000_usize,
            drained_each in 1..4_usize,
        ) {
            let frames = frames(&sizes);
            let bytes = stream(&frames);
            let mut rest = bytes.as_slice();
            let mut buffer = FrameBuffer::new(max_frame);
            let mut seen = Vec::new();
            let mut reads = 0;
            while !rest.is_empty() {
                read(&mut buffer, &mut rest, chunk);
                reads += 1;
                if reads % drained_each == 0 {
                    drain(&mut buffer, &mut seen);
                }
            }
            drain(&mut buffer, &mut seen);
            prop_assert!(seen == expected(&frames, max_frame));
            prop_assert!(buffer.is_empty());
            for _ in 0..=PATIENCE {
                buffer.space();
            }
            prop_assert!(buffer.buf.capacity() <= KEPT + PAGE);
        }
    }
}
