//! HTTP/2 as a server writes it, one frame after the other, valid or not.

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// A peer may refuse larger ones.
const FRAME_BYTES_MAX: usize = 16_384;

/// The frame with which each side begins.
pub const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Acknowledges the other side's settings.
pub(super) const SETTINGS_ACK: [u8; 9] = [0, 0, 0, 4, 1, 0, 0, 0, 0];

/// A frame on the stream of a request.
#[derive(Debug, Clone)]
pub enum Frame {
    /// Headers, or trailers; in several frames if there are many.
    Headers {
        fields: Vec<(String, Vec<u8>)>,
        end: bool,
    },
    Data {
        bytes: Vec<u8>,
        end: bool,
    },
    Reset(u32),
    /// Says whether the request was begun.
    GoAway {
        begun: bool,
        code: u32,
    },
    /// Sent unchanged.
    Raw(Vec<u8>),
}

impl Frame {
    pub(super) fn headers(fields: &[(&str, &str)], end: bool) -> Self {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.as_bytes().to_vec());
        Self::Headers { fields: fields.iter().map(owned).collect(), end }
    }

    pub(super) fn data(bytes: impl AsRef<[u8]>, end: bool) -> Self {
        Self::Data { bytes: bytes.as_ref().to_vec(), end }
    }

    /// The frame's bytes on the connection.
    pub fn bytes(&self, stream: u32) -> Vec<u8> {
        match self {
            Self::Headers { fields, end } => headers(fields, *end, stream),
            Self::Data { bytes, end } => data(bytes, *end, stream),
            Self::Reset(code) => frame(RST_STREAM, 0, stream, &code.to_be_bytes()),
            Self::GoAway { begun, code } => {
                let last = if *begun { stream } else { stream.saturating_sub(2) };
                let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
                frame(GOAWAY, 0, 0, &payload)
            }
            Self::Raw(bytes) => bytes.clone(),
        }
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn data(bytes: &[u8], end: bool, stream: u32) -> Vec<u8> {
    let mut chunks: Vec<&[u8]> = bytes.chunks(FRAME_BYTES_MAX).collect();
    let last = chunks.pop().unwrap_or_default();
    let mut frames: Vec<u8> = chunks.iter().flat_map(|chunk| frame(DATA, 0, stream, chunk)).collect();
    frames.extend(frame(DATA, if end { END_STREAM } else { 0 }, stream, last));
    frames
}

/// Writes every field literally, without index and without Huffman's code.
fn headers(fields: &[(String, Vec<u8>)], end: bool, stream: u32) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_bytes());
        string(&mut block, value);
    }
    let mut chunks = block.chunks(FRAME_BYTES_MAX).peekable();
    let (mut frames, mut kind) = (Vec::new(), HEADERS);
    while let Some(chunk) = chunks.next() {
        let ends_stream = if end && kind == HEADERS { END_STREAM } else { 0 };
        let ends_headers = if chunks.peek().is_none() { END_HEADERS } else { 0 };
        frames.extend(frame(kind, ends_stream | ends_headers, stream, chunk));
        kind = CONTINUATION;
    }
    frames
}

/// HPACK's string: a length that begins in seven bits, and the bytes.
fn string(block: &mut Vec<u8>, bytes: &[u8]) {
    const PREFIX: usize = 127;
    if bytes.len() < PREFIX {
        block.push(u8::try_from(bytes.len()).expect("below 127"));
    } else {
        block.push(127);
        let mut rest = bytes.len() - PREFIX;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128 + 128).expect("below 256"));
            rest /= 128;
        }
        block.push(u8::try_from(rest).expect("below 128"));
    }
    block.extend_from_slice(bytes);
}
