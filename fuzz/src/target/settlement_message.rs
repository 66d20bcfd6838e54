//! What the settlement process of a peer says.

use m2_settlement::limits::MESSAGE_LEN_MAX;
use m2_settlement::wire::Message;

/// Bytes are one message or none. What is read is written alike, to the byte, and so is no longer than a message
/// may be; it is none without its last byte, and none with one more. What is no message is told in words.
pub fn settlement_message(data: &[u8]) {
    let message = match Message::parse(data) {
        Ok(message) => message,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(message.to_bytes(), data, "it is written otherwise than it was read: {message:?}");
    assert!(data.len() <= MESSAGE_LEN_MAX, "a message of {} bytes", data.len());
    let shorter = &data[..data.len() - 1];
    assert!(Message::parse(shorter).is_err(), "a part of a message is one: {message:?}");
    let longer = [data, &[0]].concat();
    assert!(Message::parse(&longer).is_err(), "more than a message is one: {message:?}");
}
