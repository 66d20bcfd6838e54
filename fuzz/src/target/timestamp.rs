//! Timestamps, read and written with and without the cache.

use m2_codec::timestamp::{self, Cache, LEN};

use crate::reference;

/// A cache answers as the full calculation does, whatever it was asked before, and both as the
/// reference does; what is written is read back. The input is a row of timestamps, each behind a
/// byte that says whether its bytes are to be made digits.
pub fn timestamp(data: &[u8]) {
    let mut cache = Cache::new();
    let (chunks, _) = data.as_chunks::<{ 1 + LEN }>();
    for [how, bytes @ ..] in chunks {
        let mut digits = *bytes;
        if how % 2 == 0 {
            digits = digits.map(|byte| b'0' + byte % 10);
        }
        let read = timestamp::parse(&digits);
        assert_eq!(read, reference::timestamp(&digits), "parse");
        assert_eq!(cache.parse(&digits), read, "a cache reads otherwise");
        if let Some(ms) = read {
            let written = timestamp::write(ms);
            assert_eq!(cache.write(ms), written, "a cache writes otherwise");
            // What lies before 1970 reads as its start (A18).
            let expected = if ms == 0 { *b"19700101000000000" } else { digits };
            assert_eq!(written, expected, "write");
        }
        let number = u64::from_be_bytes(*bytes.first_chunk().expect("8 of 17"));
        let ms = number % (timestamp::MS_MAX + 1);
        let written = timestamp::write(ms);
        assert_eq!(cache.write(ms), written, "a cache writes otherwise");
        assert_eq!(reference::timestamp(&written), Some(ms), "write");
        assert_eq!(cache.parse(&written), Some(ms), "a cache reads otherwise");
    }
}
