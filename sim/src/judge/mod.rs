//! The judges: what a step of a core must have let out, by the books of the simulation alone.
//!
//! Each step is foretold from the rules and the books, and compared with what left, to the byte. Then
//! every word of every account that was touched is compared with the core's, and the equations of
//! its links are added up. The name of a judge begins its message: `equation 1` to `equation 5` for
//! what is money in sums, `image` for what a snapshot would carry, `durable` for what waits for
//! its record, `answer`, `amount`, `expiry`, `bytes`, `hold`, `refusal`, `ring` for single packets.

mod durable;
mod equations;
mod images;
mod incoming;
mod outgoing;
mod packets;
mod records;

pub(crate) use incoming::Input;
pub(crate) use outgoing::{ResponseIn, Says};
