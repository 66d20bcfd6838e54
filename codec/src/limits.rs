//! Every limit of the codec and the sum it came from.

/// Longest ILP address, scheme and dots included (IL-RFC 15).
pub const ADDRESS_LEN_MAX: usize = 1023;
/// Shortest ILP address: `g.a`.
pub const ADDRESS_LEN_MIN: usize = 3;

/// Longest `data` of a packet that we send on or make: `SIZE(0..32767)` in IL-RFC 27.
pub const DATA_LEN_MAX: usize = 32_767;
/// Longest `data` that we accept in an answer. Deployed peers stop one byte later than the RFC, and
/// a FULFILL is money: it is not dropped over one byte.
pub const ANSWER_DATA_LEN_MAX: usize = 32_768;
/// Longest `message` of a REJECT that we make: `SIZE(0..8191)` in IL-RFC 27.
pub const MESSAGE_LEN_MAX: usize = 8191;

/// Longest PREPARE: type and length prefix, the fixed fields, the longest address, the longest data.
pub const PREPARE_LEN_MAX: usize =
    1 + 3 + (8 + 17 + 32) + (3 + ADDRESS_LEN_MAX) + (3 + DATA_LEN_MAX);
const _: () = assert!(PREPARE_LEN_MAX == 33_857);

/// Longest FULFILL with nothing behind its last field.
pub const FULFILL_LEN_MAX: usize = 1 + 3 + 32 + (3 + ANSWER_DATA_LEN_MAX);
const _: () = assert!(FULFILL_LEN_MAX == 32_807);

/// Longest REJECT with nothing behind its last field and a message as the RFC allows it.
pub const REJECT_LEN_MAX: usize =
    1 + 3 + 3 + (3 + ADDRESS_LEN_MAX) + (3 + MESSAGE_LEN_MAX) + (3 + ANSWER_DATA_LEN_MAX);
const _: () = assert!(REJECT_LEN_MAX == 41_998);

/// Longest FULFILL or REJECT that we accept: the longest legal one, and what is left to 42 KiB for a
/// longer message or for fields that a later version may add (A6, A28).
pub const ANSWER_LEN_MAX: usize = 42 * 1024;
const _: () = assert!(ANSWER_LEN_MAX >= REJECT_LEN_MAX);

/// Longest of all ILP packets that we accept, and so that we send.
pub const PACKET_LEN_MAX: usize = ANSWER_LEN_MAX;
const _: () = assert!(PACKET_LEN_MAX >= PREPARE_LEN_MAX);

/// Longest BTP frame that we accept: the longest ILP packet, and 24 KiB for the headers and the
/// entries beside it.
pub const FRAME_LEN_MAX: usize = PACKET_LEN_MAX + 24 * 1024;
const _: () = assert!(FRAME_LEN_MAX == 66 * 1024);

/// Longest header of a BTP frame: type, request id, and the length prefix of [`FRAME_LEN_MAX`].
pub const FRAME_HEADER_LEN_MAX: usize = 1 + 4 + 4;
const _: () = assert!(FRAME_HEADER_LEN_MAX == 9);
/// Longest run of bytes before the ILP packet in a frame that carries only that packet: the header,
/// the number of entries, the name `ilp`, the content type, the length prefix of the packet.
pub const ILP_HEADER_LEN_MAX: usize = FRAME_HEADER_LEN_MAX + 2 + 4 + 1 + 3;
const _: () = assert!(ILP_HEADER_LEN_MAX == 19);
const _: () = assert!(PACKET_LEN_MAX < 1 << 16);

/// Longest `data` of a BTP ERROR that we make (IL-RFC 23).
pub const ERROR_DATA_LEN_MAX: usize = 8192;

/// Most bytes of what one settlement process says to another: a signed claim has some 300, and its answer
/// fits a stream's smallest buffer.
pub const SETTLEMENT_LEN_MAX: usize = 1024;

/// Longest header of a WebSocket frame: two bytes, a length of eight, a mask of four.
pub const WS_HEADER_LEN_MAX: usize = 2 + 8 + 4;
const _: () = assert!(WS_HEADER_LEN_MAX == 14);
/// Most that stands before an ILP packet on a link: the headers of a WebSocket frame and of a BTP
/// frame that carries only that packet.
pub const FRAMING_LEN_MAX: usize = WS_HEADER_LEN_MAX + ILP_HEADER_LEN_MAX;
const _: () = assert!(FRAMING_LEN_MAX == 33);
/// Longest payload of a WebSocket control frame (RFC 6455, 5.5).
pub const WS_CONTROL_LEN_MAX: usize = 125;
/// Most header lines in a WebSocket handshake.
pub const HANDSHAKE_HEADERS_MAX: usize = 64;
