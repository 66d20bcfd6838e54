//! The loop: events in, what the core makes of them onto the disk, and then out.
//!
//! ```text
//!   switch.rs (the switch) ----.                           .--> switch.rs: orders, messages of peers
//!   control.rs (operators) ----+--> step --> commit --> ---+--> worker: look, sign, send
//!   workers' answers, time ----'     (as many as are there)'--> log
//! ```
//!
//! Invariant: nothing goes out that the commit before it has not made durable; where a commit fails the process
//! ends, as what it knows is ahead of what it would know again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use m2_settlement::chain::{Party, to_hex};
use m2_settlement::event::{Effect, Event, Notice, Now, Wish};
use m2_settlement::rows::Order;
use m2_settlement::settlement::Settlement;
use m2_settlement::wire::Message;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::config::{Checked, SignerConfig};
use crate::control::{self, Asked, Request, refusal};
use crate::evm::Evm;
use crate::exhaustion::Exhaustion;
use crate::limits::{EVENTS_MAX, OPERATOR_TIME, SIGNER_TIME, STEP_EVENTS_MAX, TICK};
use crate::signer::{Key, Signer};
use crate::store::File;
use crate::switch::{self, Heard, Said, ordered};
use crate::worker::Worker;

/// How the process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// A signal has told it to.
    InOrder,
    /// Its store failed.
    StoreFailed,
}

/// Runs until a signal ends it.
///
/// # Errors
///
/// What keeps it from starting, and what to do.
pub fn run(config: &Checked) -> Result<Ending, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime can be had: {error}"))?;
    runtime.block_on(async {
        let workers = workers(config).await?;
        let us: Vec<Party> = workers.iter().map(|worker| worker.party()).collect();
        if config.must_exist && !config.store.exists() {
            let path = config.store.display();
            return Err(format!("the store {path} is not there: is its disk mounted? A new one, which knows of no claim and no debt, needs must_exist = false"));
        }
        let store = File::open(&config.store).map_err(|error| error.to_string())?;
        let rows = store.rows().map_err(|error| error.to_string())?;
        let of_chains = workers.clone();
        let id_of = Box::new(move |chain: usize, terms: &_| of_chains[chain].channel_id(terms));
        let settlement = Settlement::restore(config.core(&us)?, id_of, seed()?, rows)
            .map_err(|error| format!("{}: {error}", config.store.display()))?;
        let listener = control::bind(&config.control_socket)?;
        let _file = Unlinked(&config.control_socket);
        let (asks, asked) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(control::run(listener, asks));
        let (hears, heard) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(switch::run(config.switch.clone(), config.account_scales.clone(), hears));
        for (chain, us) in config.chains.iter().zip(&us) {
            let party = us.address();
            tracing::info!(chain = chain.name, party, contract = %chain.evm.contract, "ready");
        }
        Process::new(settlement, store, workers, asked, heard).run().await
    })
}

/// The worker of each chain, with its signer.
///
/// # Errors
///
/// When a key cannot be had.
pub async fn workers(config: &Checked) -> Result<Vec<Arc<Evm>>, String> {
    let mut workers = Vec::new();
    for chain in &config.chains {
        let told = |error: String| format!("chain \"{}\": {error}", chain.name);
        let signer = match &chain.signer {
            SignerConfig::KeyFile(path) => Signer::Key(Key::read(path).map_err(told)?),
            SignerConfig::Process(command) => {
                let process = crate::signer::Process::start(command.clone(), SIGNER_TIME).await;
                Signer::Process(process.map_err(told)?)
            }
        };
        workers.push(Arc::new(Evm::new(&chain.evm, signer).map_err(told)?));
    }
    Ok(workers)
}

/// A socket's file is gone with us.
struct Unlinked<'a>(&'a Path);

impl Drop for Unlinked<'_> {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

fn seed() -> Result<u64, String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the system gives no randomness: {error}"))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Milliseconds since 1970.
#[must_use]
pub fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

struct Process<W> {
    settlement: Settlement,
    store: File,
    workers: Vec<Arc<W>>,
    asked: mpsc::Receiver<Asked>,
    heard: mpsc::Receiver<Heard>,
    done: mpsc::Receiver<Event>,
    does: mpsc::Sender<Event>,
    /// There while the switch is.
    says: Option<mpsc::UnboundedSender<String>>,
    /// Accounts with a link.
    up: BTreeSet<String>,
    /// Operators that wait for the switch, by the number of the order.
    paying: BTreeMap<u64, oneshot::Sender<Value>>,
    next_payment: u64,
    /// What is known of peers that have no credit left.
    exhaustion: Exhaustion,
}

/// Orders of operators have numbers above all of the core's.
const PAYMENTS_FROM: u64 = 1 << 62;

impl<W: Worker> Process<W> {
    fn new(
        settlement: Settlement,
        store: File,
        workers: Vec<Arc<W>>,
        asked: mpsc::Receiver<Asked>,
        heard: mpsc::Receiver<Heard>,
    ) -> Self {
        let (does, done) = mpsc::channel(EVENTS_MAX);
        Self {
            settlement,
            store,
            workers,
            asked,
            heard,
            done,
            does,
            says: None,
            up: BTreeSet::new(),
            paying: BTreeMap::new(),
            next_payment: PAYMENTS_FROM,
            exhaustion: Exhaustion::default(),
        }
    }

    async fn run(mut self) -> Result<Ending, String> {
        use tokio::signal::unix::{SignalKind, signal};
        let told = |error: std::io::Error| format!("signals cannot be had: {error}");
        let mut terminate = signal(SignalKind::terminate()).map_err(told)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(told)?;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut events = Vec::new();
            tokio::select! {
                biased;
                _ = terminate.recv() => return Ok(Ending::InOrder),
                _ = interrupt.recv() => return Ok(Ending::InOrder),
                _ = ticks.tick() => events.push(Event::Tick),
                Some(asked) = self.asked.recv() => self.ask(asked, &mut events),
                Some(event) = self.done.recv() => events.push(event),
                Some(heard) = self.heard.recv() => self.hear(heard, &mut events),
            }
            // What has come meanwhile is made durable with it.
            while events.len() < STEP_EVENTS_MAX {
                if let Ok(event) = self.done.try_recv() {
                    events.push(event);
                } else if let Ok(heard) = self.heard.try_recv() {
                    self.hear(heard, &mut events);
                } else {
                    break;
                }
            }
            if let Err(error) = self.step(events) {
                tracing::error!(
                    "{error}: the process ends, and finds everything again when it starts"
                );
                return Ok(Ending::StoreFailed);
            }
        }
    }

    fn step(&mut self, events: Vec<Event>) -> Result<(), crate::store::StoreError> {
        let now = now();
        let settlement = &mut self.settlement;
        let staged = events.into_iter().map(|event| settlement.step(now, event));
        let Some(staged) = staged.reduce(m2_settlement::rows::Staged::and) else { return Ok(()) };
        for effect in staged.commit(&mut self.store)? {
            self.perform(effect);
        }
        Ok(())
    }

    // What comes.

    fn hear(&mut self, heard: Heard, events: &mut Vec<Event>) {
        match heard {
            Heard::Up(says) => {
                tracing::info!("the switch is there");
                self.says = Some(says);
                events.push(Event::SwitchUp);
            }
            Heard::Down => {
                self.says = None;
                for (_, waiting) in core::mem::take(&mut self.paying) {
                    let _ = waiting.send(refusal("the switch has gone: ask again"));
                }
                events.push(Event::SwitchDown);
                let down = core::mem::take(&mut self.up).into_iter();
                events.extend(down.map(|account| Event::PeerDown { account }));
            }
            Heard::Said(said) => self.hear_said(said, events),
        }
    }

    fn hear_said(&mut self, said: Said, events: &mut Vec<Event>) {
        match said {
            Said::Frozen { account, key, amount } => {
                events.push(Event::Frozen { account, key, amount: amount.0 });
            }
            Said::Up { account } => {
                self.up.insert(account.clone());
                events.push(Event::PeerUp { account });
            }
            Said::Down { account } => {
                self.up.remove(&account);
                events.push(Event::PeerDown { account });
            }
            Said::Message { account, token, bytes } => self.verify(account, token, bytes.0),
            Said::Reply { account, token, bytes, error } => {
                let parsed = match bytes {
                    Some(bytes) => Message::parse(&bytes.0).map_err(|error| error.to_string()),
                    None => Err(error.unwrap_or_else(|| "no reason is told".into())),
                };
                let signer = self.replier(&account, &parsed);
                events.push(Event::Replied { account, token, message: parsed, signer });
            }
            Said::Answer { id, ok, error, again, key, amount } => {
                if let Some(waiting) = self.paying.remove(&id) {
                    let answer = match (ok, key) {
                        (false, _) => refusal(error.unwrap_or_else(|| "no reason is told".into())),
                        (true, key) => {
                            let amount = amount.map(|amount| amount.0.to_string());
                            json!({ "ok": true, "key": key.map(|key| key.to_string()), "amount": amount })
                        }
                    };
                    let _ = waiting.send(answer);
                } else {
                    events.push(Event::Ordered { order: id, result: ordered(ok, error, again) });
                }
            }
            Said::Exhausted { account, balance, held_in, balance_max } => {
                // One that does not settle here is the switch's to tell of.
                if self.settlement.account(&account).is_some()
                    && let Some(text) = self.exhaustion.note(&account, now())
                {
                    let (balance, held_in, balance_max) = (balance.0, held_in.0, balance_max.0);
                    tracing::error!(account, balance, held_in, balance_max, "ALARM: {text}");
                }
            }
            Said::Hello { .. } | Said::Error { .. } | Said::Unknown => {}
        }
    }

    /// Who has signed a peer's message is found out beside the loop.
    fn verify(&self, account: String, token: u64, bytes: Vec<u8>) {
        let worker = self.worker_of(&account);
        let does = self.does.clone();
        tokio::spawn(async move {
            let message = Message::parse(&bytes).map_err(|error| error.to_string());
            let judged = tokio::task::spawn_blocking(move || {
                let signer = worker.and_then(|worker| signer_of(&*worker, &message));
                (message, signer)
            });
            let (message, signer) = judged.await.expect("a signature is judged without a panic");
            let _ = does.send(Event::Said { account, token, message, signer }).await;
        });
    }

    fn worker_of(&self, account: &str) -> Option<Arc<W>> {
        let chain = self.settlement.chain_of(account)?;
        Some(Arc::clone(&self.workers[chain]))
    }

    /// Who has signed the answer to an agreement that we asked for.
    fn replier(&self, account: &str, message: &Result<Message, String>) -> Option<Party> {
        let Ok(Message::Agreed { signature }) = message else { return None };
        let asked = self.settlement.asked_agreement(self.settlement.account(account)?)?;
        self.worker_of(account)?.agreer(&asked, signature)
    }

    // Operators.

    fn ask(&mut self, (request, answer): Asked, events: &mut Vec<Event>) {
        let told = match request {
            Request::Status {} => {
                let view = serde_json::to_value(self.settlement.view(now()));
                let mut view = view.expect("views have string keys and no failing parts");
                view["ok"] = true.into();
                view["counters"]["exhausted"] = self.exhaustion.count.into();
                Ok(view)
            }
            Request::Pay { account } => return self.pay(account, answer),
            Request::Redeem { account } => {
                self.wish(&account, Wish::Redeem { account: account.clone() }, events)
            }
            Request::Close { account, how } => self.wish(
                &account,
                Wish::Close { account: account.clone(), ending: how.into() },
                events,
            ),
            Request::Resume { account } => {
                self.wish(&account, Wish::Resume { account: account.clone() }, events)
            }
            Request::Cancel { key } => self.settlement.may_cancel(key).map(|()| {
                events.push(Event::Operator(Wish::Cancel { key }));
                json!({ "ok": true })
            }),
        };
        let _ = answer.send(told.unwrap_or_else(refusal));
    }

    fn wish(&self, account: &str, wish: Wish, events: &mut Vec<Event>) -> Result<Value, String> {
        self.known(account)?;
        events.push(Event::Operator(wish));
        Ok(json!({ "ok": true }))
    }

    fn known(&self, account: &str) -> Result<(), String> {
        self.settlement
            .account(account)
            .map(drop)
            .ok_or_else(|| format!("no account `{account}` settles: `status` names them all"))
    }

    /// Has the switch freeze what it owes; the operator hears how much.
    fn pay(&mut self, account: String, answer: oneshot::Sender<Value>) {
        if let Err(text) = self.known(&account) {
            let _ = answer.send(refusal(text));
            return;
        }
        let Some(says) = &self.says else {
            let _ = answer.send(refusal("the switch is not there: try again"));
            return;
        };
        let id = self.next_payment;
        self.next_payment += 1;
        let line = json!({ "cmd": "freeze", "id": id, "account": account, "settle_to": "0" });
        let _ = says.send(format!("{line}\n"));
        let (waiting, answered) = oneshot::channel();
        self.paying.insert(id, waiting);
        tokio::spawn(async move {
            let told = tokio::time::timeout(OPERATOR_TIME, answered).await;
            let late = || refusal("the switch has not answered in time: look at `status`");
            let _ = answer.send(told.ok().and_then(Result::ok).unwrap_or_else(late));
        });
    }

    // What goes out.

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Order { number, account, order } => {
                if let Order::Credit { .. } = order {
                    self.exhaustion.paid(&account, now());
                }
                self.say(&order_line(number, &account, &order))
            }
            Effect::Say { account, token, message } => {
                self.say(&message_line("send", &account, token, &message));
            }
            Effect::Answer { account, token, message } => {
                self.say(&message_line("reply", &account, token, &message));
            }
            Effect::Look { chain, question } => self.work(chain, move |worker| async move {
                let sight = worker.look(question.clone()).await;
                Event::Seen { chain, sight: sight.map(|sight| Box::new((question, sight))) }
            }),
            Effect::Sign { chain, draft, content } => self.work(chain, move |worker| async move {
                Event::Signed { chain, draft, signed: worker.sign(content).await }
            }),
            Effect::Send { chain, transaction, attempt, bytes } => {
                self.work(chain, move |worker| async move {
                    Event::Sent { transaction, attempt, result: worker.send(bytes).await }
                });
            }
            Effect::SignClaim { chain, claim } => self.work(chain, move |worker| async move {
                Event::ClaimSigned { claim, signature: worker.sign_claim(claim).await }
            }),
            Effect::SignAgreement { chain, agreement } => {
                self.work(chain, move |worker| async move {
                    let signature = worker.sign_agreement(agreement).await;
                    Event::AgreementSigned { agreement, signature }
                });
            }
            Effect::Tell(notice) => tell(&notice),
        }
    }

    /// Without a switch it is dropped: it is said again once there is one.
    fn say(&self, line: &Value) {
        if let Some(says) = &self.says {
            let _ = says.send(format!("{line}\n"));
        }
    }

    fn work<F>(&self, chain: usize, work: impl FnOnce(Arc<W>) -> F)
    where
        F: Future<Output = Event> + Send + 'static,
    {
        let work = work(Arc::clone(&self.workers[chain]));
        let does = self.does.clone();
        tokio::spawn(async move {
            let _ = does.send(work.await).await;
        });
    }
}

fn signer_of<W: Worker>(worker: &W, message: &Result<Message, String>) -> Option<Party> {
    match message {
        Ok(Message::Claim { signed, .. }) => worker.claimer(signed),
        Ok(Message::Close { agreement, signature, .. }) => worker.agreer(agreement, signature),
        _ => None,
    }
}

fn order_line(id: u64, account: &str, order: &Order) -> Value {
    let money = |cmd: &str, key: &dyn core::fmt::Display, amount: u64| {
        json!({
            "cmd": cmd, "id": id, "account": account,
            "key": key.to_string(), "amount": amount.to_string(),
        })
    };
    match order {
        Order::Credit { key, amount } => money("credit", key, *amount),
        Order::Reverse { key, amount } => money("reverse", key, *amount),
        Order::Settled { key } => {
            json!({ "cmd": "settled", "id": id, "account": account, "key": key.to_string() })
        }
        Order::Cancelled { key } => {
            json!({ "cmd": "cancelled", "id": id, "account": account, "key": key.to_string() })
        }
        Order::Pause => {
            json!({ "cmd": "limits", "id": id, "account": account, "balance_max": "0", "payable_max": "0" })
        }
    }
}

fn message_line(cmd: &str, account: &str, token: u64, message: &Message) -> Value {
    json!({ "cmd": cmd, "account": account, "token": token, "bytes": to_hex(&message.to_bytes()) })
}

fn tell(notice: &Notice) {
    match notice {
        Notice::Alarm { account, text } => tracing::error!(account, "ALARM: {text}"),
        Notice::Warning { account, text } => tracing::warn!(account, "{text}"),
        Notice::Moved { account, text } => tracing::info!(account, "{text}"),
        Notice::Final { chain, jobs, succeeded } => {
            tracing::info!(chain, ?jobs, succeeded, "a transaction is final");
        }
        Notice::Closing { channel, closes_at_s } => {
            tracing::warn!(%channel, closes_at_s, "a channel is closing");
        }
    }
}
