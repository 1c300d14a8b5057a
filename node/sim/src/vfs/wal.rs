//! Salts of a write-ahead log that are drawn from the drive's seed.
//!
//! SQLite draws them from one generator for the whole process, so that two runs of one seed would not write the same
//! bytes. They mean nothing but "another than the last ones", so the drive puts its own in their place as they are
//! written, in the header and in every frame, and sums the checksums anew. SQLite never reads them back while it has the
//! file open, only when it recovers: and then everything fits.
//!
//! A frame is written in two parts, header and page. Its checksum is known with the second; until then zeros stand there,
//! which no frame has that SQLite could take for whole.

use super::file::File;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// What was written through one open handle.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Frames since the last header whose pages are there.
    frames: usize,
    /// The sum up to and with the last of these frames.
    sum: Option<[u32; 2]>,
}

impl Writer {
    /// A write of SQLite, with other salts.
    pub(super) fn write(&mut self, file: &mut File, offset: usize, data: &[u8], mut draw: impl FnMut() -> u64) {
        if offset == 0 && data.len() == HEADER_BYTES {
            let mut header = [0; HEADER_BYTES];
            header.copy_from_slice(data);
            header[16..24].copy_from_slice(&draw().to_be_bytes());
            let sum = checksum(is_big_endian(&header), [0, 0], &header[..24]);
            put(&mut header[24..], sum);
            file.write(0, &header);
            *self = Writer { frames: 0, sum: Some(sum) };
            return;
        }
        let Some((frame, rest)) = place(file, offset) else { return file.write(offset, data) };
        let at = offset - rest;
        match rest {
            0 if data.len() == FRAME_HEADER_BYTES => {
                let mut header = [0; FRAME_HEADER_BYTES];
                header[..8].copy_from_slice(&data[..8]);
                header[8..16].copy_from_slice(&file.bytes()[16..24]);
                file.write(offset, &header);
                // SQLite sums frames of a running transaction anew when it has changed one: their pages stay.
                if frame < self.frames {
                    self.sum = None;
                    self.seal(file, frame, at);
                }
            }
            FRAME_HEADER_BYTES => {
                file.write(offset, data);
                self.seal(file, frame, at);
            }
            _ => file.write(offset, data),
        }
    }

    /// Sums a frame whose page is there.
    fn seal(&mut self, file: &mut File, frame: usize, at: usize) {
        let bytes = file.bytes();
        let page = at + FRAME_HEADER_BYTES..at + FRAME_HEADER_BYTES + page_bytes(bytes);
        let before = self.sum.filter(|_| self.frames == frame).unwrap_or_else(|| match frame {
            0 => get(&bytes[24..32]),
            _ => get(&bytes[at - page.len() - 8..at - page.len()]),
        });
        let big = is_big_endian(bytes);
        let sum = checksum(big, checksum(big, before, &bytes[at..at + 8]), &bytes[page]);
        let mut stored = [0; 8];
        put(&mut stored, sum);
        file.write(at + 16, &stored);
        self.sum = (frame >= self.frames).then_some(sum);
        self.frames = self.frames.max(frame + 1);
    }
}

/// The number of the frame at a place, and how far behind its beginning that is.
fn place(file: &File, offset: usize) -> Option<(usize, usize)> {
    let frame_bytes = FRAME_HEADER_BYTES + page_bytes(file.bytes().get(..HEADER_BYTES)?);
    let behind = offset.checked_sub(HEADER_BYTES)?;
    Some((behind / frame_bytes, behind % frame_bytes))
}

fn page_bytes(header: &[u8]) -> usize {
    get(&header[8..16])[0] as usize
}

fn is_big_endian(header: &[u8]) -> bool {
    header[3] & 1 == 1
}

fn get(bytes: &[u8]) -> [u32; 2] {
    let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4)]
}

fn put(bytes: &mut [u8], sum: [u32; 2]) {
    bytes[..4].copy_from_slice(&sum[0].to_be_bytes());
    bytes[4..8].copy_from_slice(&sum[1].to_be_bytes());
}

/// As the file format says: <https://www.sqlite.org/fileformat2.html#checksum_algorithm>.
fn checksum(big_endian: bool, [mut one, mut two]: [u32; 2], bytes: &[u8]) -> [u32; 2] {
    let word = |b: &[u8]| {
        let word = [b[0], b[1], b[2], b[3]];
        if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    };
    for pair in bytes.chunks_exact(8) {
        one = one.wrapping_add(word(&pair[..4])).wrapping_add(two);
        two = two.wrapping_add(word(&pair[4..])).wrapping_add(one);
    }
    [one, two]
}
