//! `cargo xtask bench parse`: a PREPARE parsed and checked in place, beside a copy of its bytes.
//!
//! Standard workload's packets in random order over 5 MiB; every length, digit and character is
//! checked, and the amounts read are summed and compared.

use std::hint::black_box;

use m2_bench::alternate::{alternate, pin};
use m2_bench::workload::{PACKETS, ROUTES, Random, Workload};
use m2_codec::ilp::Prepare;
use m2_codec::timestamp;
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Packets in turn, so that they lie in the cache as they do when they come from a socket.
const WARM: usize = 64;
const ROUNDS: usize = 256;

fn main() {
    pin();
    let workload = Workload::new(ROUTES);
    let mut random = Random(5);
    let order: Vec<usize> = (0..PACKETS).map(|_| random.index(PACKETS)).collect();
    let bytes: Vec<&[u8]> = order.iter().map(|&number| workload.prepare(number)).collect();
    let wanted: u64 = bytes.iter().map(|packet| amount(packet)).sum();
    let operations = (PACKETS * ROUNDS) as u64;

    let mut cache = timestamp::Cache::new();
    let parse = || {
        for vectors in bytes.chunks(WARM) {
            for _ in 0..ROUNDS {
                let mut read = 0_u64;
                for packet in vectors {
                    let prepare = Prepare::new_checked_cached(black_box(*packet), &mut cache)
                        .expect("the workload's packets are well-formed");
                    let lens = (prepare.destination().len() + prepare.data().len()) as u64;
                    read ^= prepare.amount() ^ prepare.expires_at_ms() ^ lens;
                }
                black_box(read);
            }
        }
        let read = |packet: &&[u8]| {
            Prepare::new_checked_cached(*packet, &mut cache).expect("well-formed").amount()
        };
        assert_eq!(bytes.iter().map(read).sum::<u64>(), wanted, "every amount was read right");
    };
    let mut out = vec![0; 4_096];
    let copy = || {
        for vectors in bytes.chunks(WARM) {
            for _ in 0..ROUNDS {
                for packet in vectors {
                    out[..packet.len()].copy_from_slice(black_box(packet));
                    black_box(&mut out);
                }
            }
        }
    };
    let (parsed, copied, ratio) = alternate(operations, parse, copy);
    println!("parse and check  {parsed} ns a PREPARE of {} bytes", workload.prepare_len_average());
    println!("copy its bytes   {copied} ns");
    let result = json!({
        "prepare_len_average": workload.prepare_len_average(),
        "parse": parsed.to_json("ns"),
        "copy": copied.to_json("ns"),
        "parse_over_copy": ratio.to_json("ratio"),
    });
    println!("{result}");
}

/// The amount, read by hand from its place behind the length.
fn amount(packet: &[u8]) -> u64 {
    let start = match packet[1] {
        0x81 => 3,
        0x82 => 4,
        _ => 2,
    };
    u64::from_be_bytes(packet[start..start + 8].try_into().expect("eight bytes"))
}
