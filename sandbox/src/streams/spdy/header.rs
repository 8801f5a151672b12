//! Names and values of SPDY streams: blocks compressed with one zlib stream a direction.

use std::collections::BTreeMap;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::frame::FrameError;

/// The words of SPDY/3's dictionary, each of which it holds with its length in front.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding \
    content-language content-length content-location content-md5 content-range content-type date etag expect \
    expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified \
    location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te \
    trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200\u{a0}OK \
    version HTTP/1.1 url public set-cookie keep-alive origin";
/// What follows the words.
const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
    403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
    Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
    chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,\
    text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
/// The most that a block of headers may unpack to.
const MOST: usize = 64 * 1024;

/// The dictionary of SPDY/3 header blocks.
pub(super) fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in WORDS.split(' ') {
        let word = word.replace('\u{a0}', " ");
        bytes.extend_from_slice(&(word.len() as u32).to_be_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(REST.as_bytes());
    bytes
}

/// Packs the header blocks of one direction.
pub(super) struct Packer(Compress);

impl Packer {
    /// A packer at the start of a connection.
    pub fn new() -> Result<Self, FrameError> {
        let mut compress = Compress::new(Compression::fast(), true);
        compress.set_dictionary(&dictionary()).map_err(|_| FrameError::Compression)?;
        Ok(Self(compress))
    }

    /// The packed block of `headers`.
    pub fn pack(&mut self, headers: &BTreeMap<String, String>) -> Result<Vec<u8>, FrameError> {
        let mut plain = (headers.len() as u32).to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend_from_slice(&(text.len() as u32).to_be_bytes());
            plain.extend_from_slice(text.as_bytes());
        }
        let mut packed = Vec::with_capacity(plain.len() + 64);
        let mut taken = 0;
        loop {
            packed.reserve(64);
            let before = self.0.total_in();
            let status = self.0.compress_vec(&plain[taken..], &mut packed, FlushCompress::Sync);
            taken += (self.0.total_in() - before) as usize;
            status.map_err(|_| FrameError::Compression)?;
            if taken == plain.len() && packed.len() < packed.capacity() {
                return Ok(packed);
            }
        }
    }
}

/// Unpacks the header blocks of one direction.
pub(super) struct Unpacker(Decompress);

impl Unpacker {
    /// An unpacker at the start of a connection.
    pub fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// The headers of a packed block.
    pub fn unpack(&mut self, packed: &[u8]) -> Result<BTreeMap<String, String>, FrameError> {
        let mut plain = Vec::with_capacity(1024);
        let mut taken = 0;
        loop {
            if plain.len() == plain.capacity() {
                plain.reserve(1024);
            }
            let before = (self.0.total_in(), self.0.total_out());
            let status = self.0.decompress_vec(&packed[taken..], &mut plain, FlushDecompress::Sync);
            taken += (self.0.total_in() - before.0) as usize;
            match status {
                Ok(Status::StreamEnd) => break,
                Ok(_) if taken == packed.len() && plain.len() < plain.capacity() => break,
                Ok(_) if self.0.total_in() == before.0 && self.0.total_out() == before.1 => {
                    if plain.len() < plain.capacity() {
                        break;
                    }
                }
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| FrameError::Compression)?;
                }
                Err(_) => return Err(FrameError::Compression),
            }
            if plain.len() > MOST {
                return Err(FrameError::TooLarge);
            }
        }
        parse(&plain).ok_or(FrameError::Headers)
    }
}

fn parse(mut block: &[u8]) -> Option<BTreeMap<String, String>> {
    let number = |block: &mut &[u8]| -> Option<usize> {
        let (number, rest) = block.split_first_chunk::<4>()?;
        *block = rest;
        Some(u32::from_be_bytes(*number) as usize)
    };
    let text = |block: &mut &[u8]| -> Option<String> {
        let length = number(block)?;
        let (text, rest) = block.split_at_checked(length)?;
        *block = rest;
        String::from_utf8(text.to_vec()).ok()
    };
    let count = number(&mut block)?;
    let mut headers = BTreeMap::new();
    for _ in 0..count {
        let name = text(&mut block)?.to_lowercase();
        headers.insert(name, text(&mut block)?);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_that_of_spdy_3() {
        let dictionary = dictionary();
        assert_eq!(dictionary.len(), 1423);
        let (low, high) = dictionary.iter().fold((1_u32, 0_u32), |(low, high), byte| {
            let low = (low + u32::from(*byte)) % 65_521;
            (low, (high + low) % 65_521)
        });
        assert_eq!(high << 16 | low, 0xe3c6_a7c2, "Adler-32, as zlib names dictionaries");
    }

    #[test]
    fn blocks_unpack_in_the_order_they_were_packed() {
        let mut packer = Packer::new().unwrap();
        let mut unpacker = Unpacker::new();
        for index in 0..50 {
            let headers = BTreeMap::from([
                ("streamtype".to_owned(), "data".to_owned()),
                ("port".to_owned(), "8080".to_owned()),
                ("requestid".to_owned(), index.to_string()),
                ("long".to_owned(), "x".repeat(index * 100)),
            ]);
            let block = packer.pack(&headers).unwrap();
            assert_eq!(unpacker.unpack(&block).unwrap(), headers);
        }
    }

    #[test]
    fn refuses_what_is_not_a_block() {
        assert!(Unpacker::new().unpack(b"nonsense").is_err());
    }
}
