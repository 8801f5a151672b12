//! SPDY/3.1 frames: pure encoding and decoding.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::header::{Packer, Unpacker};

/// The longest frame that is taken.
const MOST: usize = 1 << 20;
const CONTROL: u8 = 0x80;
const VERSION: u16 = 3;
const FIN: u8 = 1;
const STREAM: u32 = 0x7fff_ffff;

/// Why frames cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// A frame or header block is larger than any that makes sense.
    #[error("a frame is too large")]
    TooLarge,
    /// The version is not 3.
    #[error("not a SPDY/3 frame")]
    Version,
    /// A control frame is shorter than its kind demands.
    #[error("a frame is too short")]
    TooShort,
    /// A header block does not unpack.
    #[error("a header block is damaged")]
    Compression,
    /// An unpacked header block does not parse.
    #[error("a header block is malformed")]
    Headers,
}

/// The headers of a stream; names are in lower case.
pub(crate) type Headers = BTreeMap<String, String>;

/// A frame, as far as it matters to streams of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The other side opens a stream.
    Open {
        /// The new stream.
        stream: u32,
        /// Its headers.
        headers: Headers,
        /// Whether the opener will send nothing.
        fin: bool,
    },
    /// A stream was accepted.
    Reply {
        /// The stream.
        stream: u32,
        /// Headers of the answer.
        headers: Headers,
    },
    /// Bytes of a stream.
    Data {
        /// The stream.
        stream: u32,
        /// The bytes.
        bytes: Bytes,
        /// Whether these are the last.
        fin: bool,
    },
    /// A stream ends at once.
    Reset {
        /// The stream.
        stream: u32,
        /// The status code; 5 is "cancel".
        status: u32,
    },
    /// To be sent back.
    Ping(u32),
    /// No streams after this one.
    GoAway {
        /// The last stream.
        last: u32,
    },
    /// The other side may send more.
    Window {
        /// The stream; 0 is the connection.
        stream: u32,
        /// How many bytes more.
        more: u32,
    },
    /// Anything else, which may be ignored.
    Other,
}

/// Reads frames of one direction.
pub(crate) struct Decoder(Unpacker);

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new() -> Self {
        Self(Unpacker::new())
    }

    /// Takes the next whole frame out of `buffer`, if there is one.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(head) = buffer.first_chunk::<8>() else { return Ok(None) };
        let (kind, flags) = (u32::from_be_bytes([head[0], head[1], head[2], head[3]]), head[4]);
        let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
        if length > MOST {
            return Err(FrameError::TooLarge);
        }
        if buffer.len() < 8 + length {
            return Ok(None);
        }
        let mut payload = buffer.split_to(8 + length).freeze();
        payload.advance(8);
        let fin = flags & FIN != 0;
        if kind >> 24 & u32::from(CONTROL) == 0 {
            return Ok(Some(Frame::Data { stream: kind & STREAM, bytes: payload, fin }));
        }
        if (kind >> 16) as u16 & 0x7fff != VERSION {
            return Err(FrameError::Version);
        }
        self.control(kind as u16, fin, payload).map(Some)
    }

    fn control(&mut self, kind: u16, fin: bool, mut payload: Bytes) -> Result<Frame, FrameError> {
        let least = match kind {
            1 => 10,
            2 | 6 | 8 => 4,
            3 | 7 | 9 => 8,
            _ => return Ok(Frame::Other),
        };
        if payload.len() < least {
            return Err(FrameError::TooShort);
        }
        let first = payload.get_u32();
        let stream = first & STREAM;
        Ok(match kind {
            1 => {
                payload.advance(6);
                Frame::Open { stream, headers: self.0.unpack(&payload)?, fin }
            }
            2 => Frame::Reply { stream, headers: self.0.unpack(&payload)? },
            3 => Frame::Reset { stream, status: payload.get_u32() },
            6 => Frame::Ping(first),
            7 => Frame::GoAway { last: stream },
            8 => {
                // The block must pass the unpacker, or the next one would not.
                self.0.unpack(&payload)?;
                Frame::Other
            }
            _ => Frame::Window { stream, more: payload.get_u32() & STREAM },
        })
    }
}

/// Writes frames of one direction.
pub(crate) struct Encoder(Packer);

impl Encoder {
    /// An encoder at the start of a connection.
    pub fn new() -> Result<Self, FrameError> {
        Packer::new().map(Self)
    }

    /// Appends a frame to `out`.
    pub fn encode(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), FrameError> {
        match frame {
            Frame::Open { stream, headers, fin } => {
                let block = self.0.pack(headers)?;
                control(out, 1, *fin, 10 + block.len());
                out.put_u32(*stream);
                out.put_bytes(0, 6);
                out.put_slice(&block);
            }
            Frame::Reply { stream, headers } => {
                let block = self.0.pack(headers)?;
                control(out, 2, false, 4 + block.len());
                out.put_u32(*stream);
                out.put_slice(&block);
            }
            Frame::Data { stream, bytes, fin } => {
                if bytes.len() > MOST {
                    return Err(FrameError::TooLarge);
                }
                out.put_u32(stream & STREAM);
                out.put_u32(u32::from(*fin) << 24 | bytes.len() as u32);
                out.put_slice(bytes);
            }
            Frame::Reset { stream, status } => pair(out, 3, *stream, *status),
            Frame::Ping(id) => {
                control(out, 6, false, 4);
                out.put_u32(*id);
            }
            Frame::GoAway { last } => pair(out, 7, *last, 0),
            Frame::Window { stream, more } => pair(out, 9, *stream, *more),
            Frame::Other => {}
        }
        Ok(())
    }
}

fn control(out: &mut BytesMut, kind: u16, fin: bool, length: usize) {
    out.put_u16(u16::from(CONTROL) << 8 | VERSION);
    out.put_u16(kind);
    out.put_u32(u32::from(fin) << 24 | length as u32);
}

fn pair(out: &mut BytesMut, kind: u16, first: u32, second: u32) {
    control(out, kind, false, 8);
    out.put_u32(first);
    out.put_u32(second);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_frames() -> Vec<Frame> {
        let headers = Headers::from([("streamtype".to_owned(), "error".to_owned())]);
        vec![
            Frame::Open { stream: 1, headers: headers.clone(), fin: true },
            Frame::Reply { stream: 1, headers },
            Frame::Data { stream: 1, bytes: Bytes::from_static(b"hello"), fin: false },
            Frame::Data { stream: 1, bytes: Bytes::new(), fin: true },
            Frame::Ping(7),
            Frame::Window { stream: 3, more: 1024 },
            Frame::Reset { stream: 3, status: 5 },
            Frame::GoAway { last: 3 },
        ]
    }

    #[test]
    fn frames_survive_the_wire_however_it_is_cut() {
        let mut encoder = Encoder::new().unwrap();
        let mut wire = BytesMut::new();
        for frame in mk_frames() {
            encoder.encode(&frame, &mut wire).unwrap();
        }
        for cut in [1, 3, 8, 1000] {
            let mut decoder = Decoder::new();
            let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
            for part in wire.chunks(cut) {
                buffer.extend_from_slice(part);
                while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, mk_frames(), "cut into {cut}");
        }
    }

    #[test]
    fn the_wire_is_as_the_protocol_says() {
        let mut wire = BytesMut::new();
        let mut encoder = Encoder::new().unwrap();
        encoder.encode(&Frame::Ping(1), &mut wire).unwrap();
        assert_eq!(&wire[..], [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]);
        wire.clear();
        let data = Frame::Data { stream: 5, bytes: Bytes::from_static(b"x"), fin: true };
        encoder.encode(&data, &mut wire).unwrap();
        assert_eq!(&wire[..], [0, 0, 0, 5, 1, 0, 0, 1, b'x']);
    }

    #[test]
    fn refuses_other_versions_and_sizes() {
        let decode = |bytes: &[u8]| Decoder::new().decode(&mut BytesMut::from(bytes));
        assert!(matches!(decode(&[0x80, 2, 0, 6, 0, 0, 0, 0]), Err(FrameError::Version)));
        assert!(matches!(decode(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff]), Err(FrameError::TooLarge)));
        assert!(matches!(decode(&[0x80, 3, 0, 3, 0, 0, 0, 0]), Err(FrameError::TooShort)));
    }
}
