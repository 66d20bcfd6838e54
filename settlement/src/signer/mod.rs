//! Who keeps the key of our account on an EVM chain: this process, or another one beside it.
//!
//! ```text
//!   m2-settle --- {"sign":"claim","digest":..,..} --> signer process (keeps the key, checks)
//!             <-------- {"signature":"0x.."} --------
//! ```
//!
//! Invariant: what is signed is said in plain fields, and the digest is theirs; and a signature leaves here
//! only after it was seen to be our account's over that digest. No key is in an error, a log or `Debug`.

use alloy::primitives::{Address, B256};

pub use self::key::Key;
pub use self::matter::Matter;
pub use self::process::Process;
pub use self::serve::{Policy, serve};
use crate::evm::eip712::{self, SignatureBytes};

mod key;
mod matter;
mod process;
mod serve;

/// Whoever signs for us.
#[derive(Debug)]
pub enum Signer {
    /// This process.
    Key(Key),
    /// Another one.
    Process(Process),
}

impl Signer {
    /// Our address.
    #[must_use]
    pub fn address(&self) -> Address {
        match self {
            Self::Key(key) => key.address(),
            Self::Process(process) => process.address(),
        }
    }

    /// A signature that is ours: the lower `s`, and 27 or 28 for `v`.
    ///
    /// # Errors
    ///
    /// When whoever keeps the key does not sign, or signs something else.
    pub async fn sign(&self, matter: &Matter) -> Result<SignatureBytes, String> {
        let digest = matter.digest();
        let signature = match self {
            Self::Key(key) => key.sign(&digest)?.to_vec(),
            Self::Process(process) => process.sign(matter).await?,
        };
        checked(&digest, &signature, self.address())
    }
}

/// Only what our account has signed counts.
fn checked(digest: &B256, signature: &[u8], us: Address) -> Result<SignatureBytes, String> {
    let counts = eip712::normalised(signature)
        .ok_or("the signer's answer is no signature of 65 bytes with the lower s")?;
    match eip712::signer(digest, &counts) {
        Some(who) if who == us => Ok(counts),
        _ => Err(format!("the signer has not signed this as {us}: is it another key now?")),
    }
}
