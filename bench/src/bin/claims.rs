//! `cargo xtask bench claims`: who has signed each of many claims, on one core.
//!
//! As a claim is taken from a peer: its EIP-712 digest is made, and the signer found by it. Beside it the digest
//! alone, which is all of it but the curve. All claims are distinct; of each 16 one is signed by somebody else and
//! one was changed after it was signed, and every answer is checked.

use std::hint::black_box;

use m2_bench::alternate::{alternate, pin};
use m2_settle::evm::eip712::{self, Domain, SignatureBytes};
use m2_settle::signer::Key;
use m2_settlement::chain::{ChannelId, Claim};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLAIMS: u32 = 4096;

struct Signed {
    claim: Claim,
    signature: SignatureBytes,
    is_payers: bool,
}

fn main() {
    pin();
    let payer = Key::parse(&"11".repeat(32)).expect("it is a key");
    let stranger = Key::parse(&"22".repeat(32)).expect("it is a key");
    let domain = Domain::new(31_337, payer.address());
    let claims: Vec<_> =
        (0..CLAIMS).map(|number| signed(number, &domain, &payer, &stranger)).collect();
    let us = payer.address();
    let verify = || {
        for Signed { claim, signature, is_payers } in &claims {
            let found = eip712::signer(&domain.claim_digest(black_box(claim)), signature);
            assert_eq!(found == Some(us), *is_payers, "claim {claim:?}");
        }
    };
    let digest = || {
        for Signed { claim, .. } in &claims {
            black_box(domain.claim_digest(black_box(claim)));
        }
    };
    let (verified, digested, ratio) = alternate(u64::from(CLAIMS), verify, digest);
    let rate = |ns: f64| 1e9 / ns;
    let (low, high) = (rate(verified.high), rate(verified.low));
    let median = rate(verified.median);
    println!("claims on one core  {median:.0} a second ({low:.0} to {high:.0})");
    println!("verify              {verified} ns a claim");
    println!("digest alone        {digested} ns");
    let result = json!({
        "claims": CLAIMS,
        "forged": claims.iter().filter(|claim| !claim.is_payers).count(),
        "verify": verified.to_json("ns"),
        "digest": digested.to_json("ns"),
        "verify_over_digest": ratio.to_json("ratio"),
        "claims_per_second": { "low": low.round(), "median": median.round(), "high": high.round() },
    });
    println!("{result}");
}

fn signed(number: u32, domain: &Domain, payer: &Key, stranger: &Key) -> Signed {
    let mut channel = ChannelId([7; 32]);
    channel.0[..4].copy_from_slice(&number.to_be_bytes());
    let mut claim = Claim { channel, total: u128::from(number) << 64 | 1 };
    let (key, is_changed) = match number % 16 {
        3 => (stranger, false),
        11 => (payer, true),
        _ => (payer, false),
    };
    let signature = key.sign(&domain.claim_digest(&claim)).expect("a digest can be signed");
    claim.total += u128::from(is_changed);
    Signed { claim, signature, is_payers: !matches!(number % 16, 3 | 11) }
}
