//! `cargo xtask bench loadgen`: what the generator can do on this machine, beside the same bytes
//! through the same kind of socket with nobody looking at them.
//!
//! Two threads, the sender and its receiver, and no connector between: `m2-load calibrate`. Every
//! preimage is checked and the books of both ends are compared in each run.

use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use m2_bench::alternate::{RUNS, Spread};
use m2_bench::pump::pump;
use m2_load::calibrate::{Calibration, Setup, calibrate};
use m2_load::link::Transport;
use m2_load::live::Live;
use m2_load::payload::Fulfillment;
use m2_load::report::Cpu;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WINDOW: u32 = 4096;
const SECONDS: u64 = 1;

fn main() {
    let kinds = [
        (Transport::Unix, Fulfillment::Fixed),
        (Transport::Tcp, Fulfillment::Fixed),
        (Transport::Ws, Fulfillment::Fixed),
        (Transport::Tcp, Fulfillment::Stream),
    ];
    let results: Vec<Value> = kinds.into_iter().map(|(link, how)| measure(link, how)).collect();
    let result = json!({
        "window": WINDOW,
        "seconds_per_run": SECONDS,
        "runs": RUNS,
        "kinds": results,
    });
    println!("{result}");
}

/// One kind of link and fulfillment, in turns with its baseline.
fn measure(transport: Transport, fulfillment: Fulfillment) -> Value {
    let window = NonZeroU32::new(WINDOW).expect("not 0");
    let run = |seed| {
        let setup = Setup { transport, window, seconds: SECONDS, fulfillment, spin: false, seed };
        let done = calibrate(&setup, &mut Live::new(true)).expect("both ends are here");
        assert_eq!(done.failures, Vec::<String>::new(), "every answer is verified");
        (done, bare(transport))
    };
    run(0);
    let samples: [(Calibration, f64); RUNS] = std::array::from_fn(|index| run(index as u64 + 1));
    let spread = |figure: &dyn Fn(&(Calibration, f64)) -> f64| {
        Spread::of(std::array::from_fn(|index| figure(&samples[index])))
    };
    let cpu = |end: fn(&Calibration) -> Option<Cpu>, part: fn(&Cpu) -> u64| {
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one pair")]
        spread(&|(done, _)| end(done).map_or(f64::NAN, |cpu| part(&cpu) as f64))
    };
    let pairs = spread(&|(done, _)| done.pairs_per_s);
    let bare = spread(&|(_, bare)| *bare);
    let ratio = spread(&|(done, bare)| done.pairs_per_s / bare);
    let sender = |part| cpu(|done| done.sender_cpu, part);
    let receiver = |part| cpu(|done| done.receiver_cpu, part);
    let (name, how) = (transport.name(), fulfillment.name());
    let [sent, received] =
        [sender(|cpu| cpu.total_ns_per_pair), receiver(|cpu| cpu.total_ns_per_pair)];
    println!("{name}, {how} fulfillments");
    println!("  pairs/s   {pairs}; the bytes alone {bare}");
    println!("  sender    {sent} ns of CPU a pair; receiver {received}");
    json!({
        "transport": name,
        "fulfillment": how,
        "calibration": pairs.to_json("pairs_per_s"),
        "bytes_alone": bare.to_json("pairs_per_s"),
        "calibration_over_bytes_alone": ratio.to_json("ratio"),
        "sender_cpu": sent.to_json("ns_per_pair"),
        "sender_user": sender(|cpu| cpu.user_ns_per_pair).to_json("ns_per_pair"),
        "sender_kernel": sender(|cpu| cpu.system_ns_per_pair).to_json("ns_per_pair"),
        "receiver_cpu": received.to_json("ns_per_pair"),
        "receiver_user": receiver(|cpu| cpu.user_ns_per_pair).to_json("ns_per_pair"),
        "receiver_kernel": receiver(|cpu| cpu.system_ns_per_pair).to_json("ns_per_pair"),
    })
}

/// The same bytes, and nobody looks at them. A WebSocket is a TCP connection here.
fn bare(transport: Transport) -> f64 {
    let time = Duration::from_secs(SECONDS);
    if transport == Transport::Unix {
        let (sender, echo) = UnixStream::pair().expect("a pair of sockets");
        sender.set_nonblocking(true).expect("a socket of ours");
        echo.set_nonblocking(true).expect("a socket of ours");
        return pump(sender, echo, WINDOW.into(), time);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port that is free");
    let address = listener.local_addr().expect("it is bound");
    let sender = TcpStream::connect(address).expect("it listens");
    let (echo, _) = listener.accept().expect("it was dialled");
    for socket in [&sender, &echo] {
        socket.set_nodelay(true).expect("a socket of ours");
        socket.set_nonblocking(true).expect("a socket of ours");
    }
    pump(sender, echo, WINDOW.into(), time)
}
