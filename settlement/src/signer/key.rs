//! A key in this process's memory, from a file.
//!
//! Invariant: it is in no text that this process writes, and its bytes are wiped when they are not needed.
//! The file is refused if anybody but its owner may read it.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use alloy::primitives::{Address, B256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use zeroize::{Zeroize, Zeroizing};

use crate::evm::eip712::SignatureBytes;

/// What a key file may hold at most: 64 digits, `0x` before them, the end of a line and some more.
const FILE_BYTES_MAX: usize = 128;
/// Permissions of anybody but the owner.
const OF_OTHERS: u32 = 0o077;

/// A private key.
pub struct Key(PrivateKeySigner);

impl Key {
    /// From a file of 64 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, others may read it, or it holds no key. The text holds nothing of it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |what: &str| format!("key file {}: {what}", path.display());
        let of_io = |error: std::io::Error| failed(&error.to_string());
        // Before it is opened: to open a pipe is to wait for who writes into it.
        if !fs::metadata(path).map_err(of_io)?.is_file() {
            return Err(failed("it is no regular file"));
        }
        let file = File::open(path).map_err(of_io)?;
        let mode = file.metadata().map_err(of_io)?.permissions().mode();
        if mode & OF_OTHERS != 0 {
            let mode = mode & 0o777;
            let advice = format!("others may use it (mode {mode:03o}): chmod 600 it");
            return Err(failed(&advice));
        }
        Self::parse(&text(file).map_err(|what| failed(&what))?).map_err(failed)
    }

    /// From 64 hexadecimal digits, which `0x` may precede and white space may follow.
    ///
    /// # Errors
    ///
    /// When it is no key. The text holds nothing of it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim_end();
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if digits.len() != 64 {
            return Err("a key is 64 hexadecimal digits");
        }
        let mut bytes = Zeroizing::new([0; 32]);
        alloy::hex::decode_to_slice(digits, bytes.as_mut_slice())
            .map_err(|_| "a key is 64 hexadecimal digits, and one of these is none")?;
        let mut word = B256::from(*bytes);
        let key = PrivateKeySigner::from_bytes(&word);
        word.0.zeroize();
        key.map(Self).map_err(|_| "it is no key of secp256k1: 0, or beyond the curve's order")
    }

    /// Whose it is.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// Signs a digest, by RFC 6979: the same one always.
    ///
    /// # Errors
    ///
    /// When the library finds no signature, which no digest is known for.
    pub fn sign(&self, digest: &B256) -> Result<SignatureBytes, String> {
        let signature = self.0.sign_hash_sync(digest).map_err(|error| error.to_string())?;
        Ok(signature.as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key of {}", self.address())
    }
}

/// All that a key file may hold, into memory that is wiped.
fn text(file: File) -> Result<Zeroizing<String>, String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
    let limit = u64::try_from(FILE_BYTES_MAX + 1).expect("a small number");
    file.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("it holds more than the {FILE_BYTES_MAX} bytes of a key"));
    }
    let text = core::str::from_utf8(&bytes).map_err(|_| "it is no text")?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("m2-key-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn key(&self, text: &[u8], mode: u32) -> Result<Key, String> {
            let path = self.0.join("key");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Key::read(&path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_key_file_is_64_digits_with_or_without_0x_and_a_newline() {
        let folder = Folder::new("texts");
        for text in [DIGITS.to_owned(), format!("0x{DIGITS}"), format!("0x{DIGITS}\n")] {
            let key = folder.key(text.as_bytes(), 0o600).unwrap();
            let address = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
            assert_eq!(key.address().to_string(), address);
        }
    }

    #[test]
    fn a_key_file_that_others_may_use_is_refused() {
        let folder = Folder::new("modes");
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o777] {
            let error = folder.key(DIGITS.as_bytes(), mode).unwrap_err();
            assert!(error.contains(&format!("mode {mode:03o}): chmod 600")), "{error}");
        }
        for mode in [0o600, 0o400] {
            assert!(folder.key(DIGITS.as_bytes(), mode).is_ok());
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_a_digit_of_it() {
        let folder = Folder::new("none");
        let long = DIGITS.repeat(1000);
        let odd = format!("{}g", &DIGITS[..63]);
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let zero = "0".repeat(64);
        let wrong = ["", "0x", &DIGITS[..62], &long, &odd, order, &zero, &format!("{DIGITS}00")];
        for text in wrong {
            let error = folder.key(text.as_bytes(), 0o600).unwrap_err();
            assert!(!error.contains("ac0974") && !error.contains("ffff"), "{error}");
        }
        assert!(folder.key(&[0xff; 64], 0o600).unwrap_err().contains("no text"));
        assert!(Key::read(&folder.0).unwrap_err().contains("regular file"));
        assert!(Key::read(&folder.0.join("other")).is_err());
    }

    #[test]
    fn a_key_is_not_in_what_debug_shows() {
        let shown = format!("{:?}", Key::parse(DIGITS).unwrap());
        assert_eq!(shown, "Key of 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    }
}
