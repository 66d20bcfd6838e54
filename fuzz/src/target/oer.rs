//! Length prefixes, integers and strings.

use m2_codec::oer::{self, DecodeError};

use crate::reference::Bytes;

/// What is read is what the reference reads and is written to the same bytes; every other encoding
/// is refused; a verdict that is certain early stays; every value is read back as it was written.
pub fn oer(data: &[u8]) {
    lengths(data);
    integers(data);
    strings(data);
    if let Some(digits) = data.first_chunk() {
        written(u64::from_be_bytes(*digits));
    }
}

fn lengths(data: &[u8]) {
    let read = oer::length(data, 0);
    let mut rest = Bytes(data);
    let expected = rest.length().map(|len| (len, data.len() - rest.0.len()));
    assert_eq!(read.ok().map(|(len, end)| (len as u64, end)), expected, "length");
    if let Ok((len, end)) = read
        && len <= 0xffff_ffff
    {
        let mut out = Vec::new();
        oer::put_length(&mut out, len);
        assert_eq!(out, data[..end], "a length has one encoding");
        assert_eq!(oer::length_size(len), end, "length_size");
    }
    for len in 0..data.len().min(10) {
        match oer::length(&data[..len], 0) {
            Err(DecodeError::Truncated) => {}
            certain => assert_eq!(certain, read, "a length is certain, and then it is not"),
        }
    }
}

fn integers(data: &[u8]) {
    let read = oer::var_uint(data, 0);
    let mut rest = Bytes(data);
    let expected = rest.var_uint().map(|value| (value, data.len() - rest.0.len()));
    assert_eq!(read.ok(), expected, "var_uint");
    if let Ok((value, end)) = read {
        let mut out = Vec::new();
        oer::put_var_uint(&mut out, value);
        // Only leading zeros may be lost (A5).
        assert!(out.len() <= end && data[1..end].ends_with(&out[1..]), "put_var_uint");
        assert!(data[1..end - (out.len() - 1)].iter().all(|digit| *digit == 0), "a digit is lost");
    }
}

fn strings(data: &[u8]) {
    for len_max in [usize::MAX, 200, 3] {
        let read = oer::octet_string(data, 0, len_max);
        let found = read.clone().ok().map(|range| &data[range]);
        assert_eq!(found, Bytes(data).string(len_max), "octet_string");
        if let Ok(range) = read {
            let mut out = Vec::new();
            oer::put_octet_string(&mut out, &data[range.clone()]);
            assert_eq!(out, data[..range.end], "a string has one encoding");
            assert_eq!(oer::string_size(range.len()), range.end, "string_size");
        }
    }
}

fn written(value: u64) {
    let mut out = Vec::new();
    oer::put_var_uint(&mut out, value);
    assert_eq!(oer::var_uint(&out, 0), Ok((value, out.len())));
    assert_eq!(oer::var_uint_size(value), out.len());
    let len = usize::try_from(value >> 32).expect("32 bits");
    out.clear();
    oer::put_length(&mut out, len);
    assert_eq!(oer::length(&out, 0), Ok((len, out.len())));
}
