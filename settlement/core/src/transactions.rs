//! Transactions: from jobs to signed bytes on disk, to the chain, to a final block.
//!
//! ```text
//!   jobs --draft--> signed --(on disk)--> sent --> in a block --> final: gone, its jobs are judged anew
//!                     ^                     |
//!                     '-- same nonce, more--'  same bytes again, for ever, until either is final
//! ```
//!
//! Invariants: bytes are on disk before they are sent; a nonce has one call, however often it is signed; the
//! jobs of a transaction go into another one only when a transaction is final at its nonce.

use crate::chain::{Call, Draft, Fee, Question, SendError, Sight, SignError, Signed};
use crate::event::{Effect, Notice, Now};
use crate::limits::{ATTEMPTS_MAX, TRANSACTIONS_MAX, TRANSACTIONS_RESERVED};
use crate::rest::Rest;
use crate::rows::{Job, Table, TransactionRow};
use crate::settlement::{Drafting, Settlement, Transaction};

impl Settlement {
    /// Looks, sends, signs anew, and signs more, as far as each is due.
    pub(crate) fn plan_chain(&mut self, now: Now, chain: usize) {
        self.plan_look(now, chain);
        if self.chains[chain].sight.is_none() {
            return;
        }
        self.plan_sends(now, chain);
        if self.chains[chain].drafting.is_none() {
            self.plan_again(now, chain);
        }
        if self.chains[chain].drafting.is_none() {
            self.plan_new(now, chain);
        }
    }

    fn plan_look(&mut self, now: Now, chain: usize) {
        let state = &mut self.chains[chain];
        let look_ms = self.config.chains[chain].look_ms;
        // A clock that was set back must not blind us.
        let is_due = now >= state.look_at || state.look_at.0 - now.0 > look_ms;
        if state.looking || !is_due || !state.look_rest.is_over(now) {
            return;
        }
        state.looking = true;
        let question = self.question(chain);
        self.does(Effect::Look { chain, question });
    }

    /// Hands over what is in no block: what was just signed, and the same bytes again after a while.
    fn plan_sends(&mut self, now: Now, chain: usize) {
        let send_again_ms = self.config.chains[chain].send_again_ms;
        for (number, it) in self.transactions.iter_mut().filter(|(_, it)| it.chain == chain) {
            let waits = now < it.send_at && it.send_at.0 - now.0 <= send_again_ms;
            if it.included || it.sending || waits || !it.send_rest.is_over(now) {
                continue;
            }
            it.sending = true;
            it.signed_at.get_or_insert(now);
            let attempt = it.row.attempts.len() - 1;
            let bytes = it.row.attempts[attempt].bytes.clone();
            self.counters.transactions_sent += 1;
            let effect = Effect::Send { chain, transaction: *number, attempt, bytes };
            self.effects.push(effect);
        }
    }

    pub(crate) fn take_sent(
        &mut self,
        now: Now,
        number: u64,
        attempt: usize,
        result: Result<(), SendError>,
    ) {
        let Some(it) = self.transactions.get_mut(&number) else { return };
        it.sending = false;
        let chain = it.chain;
        if attempt + 1 < it.row.attempts.len() {
            // A later one bids for its nonce already.
            return self.touch_chain(chain);
        }
        it.send_at = Now(now.0 + self.config.chains[chain].send_again_ms);
        let failed = match result {
            Ok(()) | Err(SendError::Known) => None,
            // Of ours or not: the next final block tells.
            Err(SendError::NonceUsed) => None,
            Err(SendError::FeeTooLow) => {
                it.too_low = true;
                it.sign_rest.fail_urgent(now, &mut self.jitter);
                None
            }
            Err(error @ (SendError::Refused(_) | SendError::Unreachable(_))) => Some(error),
        };
        match failed {
            None => it.send_rest = Rest::default(),
            Some(error) => {
                it.send_rest.fail_urgent(now, &mut self.jitter);
                it.send_at = now;
                let text = format!("a transaction waits to be sent: {error}");
                if it.send_rest.failures() % 8 == 1 {
                    self.warn(None, text);
                }
            }
        }
        self.touch_chain(chain);
    }

    /// Bids more for the nonce that is next, if it has waited for too long.
    fn plan_again(&mut self, now: Now, chain: usize) {
        let sight = self.chains[chain].sight.as_ref().expect("plan_chain() has looked");
        let (next, offered) = (sight.nonce_latest, sight.fee);
        let config = &self.config.chains[chain];
        let found = self.transactions.iter().find(|(_, it)| {
            let waited = it
                .signed_at
                .is_some_and(|at| now.0.saturating_sub(at.0) >= config.replace_ms || now < at);
            it.chain == chain
                && it.row.nonce == next
                && !it.included
                && (it.too_low || waited)
                && it.sign_rest.is_over(now)
                && it.row.attempts.len() < ATTEMPTS_MAX
        });
        let Some((number, it)) = found else { return };
        let last = it.row.attempts.last().expect("a transaction has signed bytes").fee;
        let fee = higher(last, urgent(&it.row.jobs, offered)).capped(config.fee_most);
        let number = *number;
        // Nodes take no replacement that offers less than a tenth more; some ask for an eighth.
        if fee.most <= last.most.saturating_add(last.most / 8) {
            let it = self.transactions.get_mut(&number).expect("it was just found");
            it.sign_rest.fail(now, &mut self.jitter);
            if it.sign_rest.failures() == 1 {
                let text = format!(
                    "a transaction at nonce {next} offers {} for a unit of gas and is in no block; more \
                     than fee_most is not offered: raise it, or wait",
                    last.most
                );
                self.alarm(None, text);
            }
            return;
        }
        let call = if it.row.void_from.is_some() { Call::Nothing } else { it.row.call.clone() };
        let is_last = it.row.attempts.len() + 1 == ATTEMPTS_MAX;
        let content = Draft { call, nonce: next, fee };
        if is_last {
            let text = format!("the last of {ATTEMPTS_MAX} bids for nonce {next} is made");
            self.alarm(None, text);
        }
        self.draft(chain, Drafting::Again { transaction: number, content });
    }

    fn plan_new(&mut self, now: Now, chain: usize) {
        let under_way = self.transactions.values().filter(|it| it.chain == chain).count();
        let left = TRANSACTIONS_MAX.saturating_sub(under_way);
        // What nobody takes comes first where there is no room: nothing else will make any.
        let gap = self.gap(now, chain).filter(|_| left == 0);
        if left == 0 && gap.is_none() {
            return;
        }
        let answers = |jobs: &[Job]| jobs.iter().any(|job| matches!(job, Job::Answer(_)));
        let may = |jobs: &[Job]| left > TRANSACTIONS_RESERVED || answers(jobs);
        let next = match gap {
            Some(_) => None,
            None => self.next_batch(now, chain).filter(|(jobs, _)| may(jobs)),
        };
        let (jobs, call, nonce) = match next {
            Some((jobs, call)) => (jobs, call, self.free_nonce(chain)),
            None => match self.gap(now, chain) {
                Some(nonce) => (Vec::new(), Call::Nothing, nonce),
                None => return,
            },
        };
        let sight = self.chains[chain].sight.as_ref().expect("plan_chain() has looked");
        let fee = urgent(&jobs, sight.fee).capped(self.config.chains[chain].fee_most);
        let content = Draft { call, nonce, fee };
        self.draft(chain, Drafting::New { jobs, content });
    }

    /// A nonce that transactions of ours wait for and that nobody takes: one had it that was in a block, and a
    /// reorganisation has taken that back for good.
    fn gap(&self, now: Now, chain: usize) -> Option<u64> {
        let sight = self.chains[chain].sight.as_ref().expect("plan_chain() has looked");
        let nonce = self.untaken(chain, sight.nonce_latest.max(sight.nonce_final));
        let replace_ms = self.config.chains[chain].replace_ms;
        let waits = |at: Now| now.0.saturating_sub(at.0) >= replace_ms;
        let mut above =
            self.transactions.values().filter(|it| it.chain == chain && it.row.nonce > nonce);
        above.any(|it| !it.included && it.signed_at.is_some_and(waits)).then_some(nonce)
    }

    /// The lowest nonce that no transaction has or had: one that was left out would hold up all above it. A node
    /// that is behind shows nonces that were used up since.
    fn free_nonce(&self, chain: usize) -> u64 {
        let state = &self.chains[chain];
        let sight = state.sight.as_ref().expect("plan_chain() has looked");
        let shown = sight.nonce_latest.max(sight.nonce_final);
        self.untaken(chain, shown.max(state.costs.nonce_floor))
    }

    fn untaken(&self, chain: usize, from: u64) -> u64 {
        let mut nonce = from;
        let is_taken = |nonce: u64| {
            self.transactions.values().any(|it| it.chain == chain && it.row.nonce == nonce)
        };
        while is_taken(nonce) {
            nonce += 1;
        }
        nonce
    }

    fn draft(&mut self, chain: usize, drafting: Drafting) {
        let (Drafting::New { content, .. } | Drafting::Again { content, .. }) = &drafting;
        let content = content.clone();
        let draft = self.number();
        self.chains[chain].drafting = Some((draft, drafting));
        self.does(Effect::Sign { chain, draft, content });
    }

    pub(crate) fn take_signed(
        &mut self,
        now: Now,
        chain: usize,
        draft: u64,
        signed: Result<Signed, SignError>,
    ) {
        let Some((_, drafting)) =
            self.chains[chain].drafting.take_if(|(waiting, _)| *waiting == draft)
        else {
            return;
        };
        self.touch_chain(chain);
        match (drafting, signed) {
            (Drafting::New { jobs, content }, Ok(signed)) => {
                self.keep_new(now, chain, jobs, content, signed);
            }
            (Drafting::Again { transaction, content }, Ok(signed)) => {
                self.keep_again(now, transaction, &content, signed);
            }
            (Drafting::New { jobs, .. }, Err(error)) => self.rest_jobs(now, chain, &jobs, &error),
            (Drafting::Again { transaction, .. }, Err(error)) => {
                let Some(it) = self.transactions.get_mut(&transaction) else { return };
                it.sign_rest.fail_urgent(now, &mut self.jitter);
                // What it was to do cannot be done any more, and its nonce holds up all above it: the next bid
                // only takes the nonce. Whichever is final, its jobs are judged anew.
                let fails = matches!(error, SignError::WouldFail(_)) && it.row.void_from.is_none();
                let at = self.chains[chain].sight.as_ref().map(|sight| sight.latest.number);
                let failed_at = core::mem::replace(&mut it.failed_at, at.filter(|_| fails));
                // Twice, after two blocks: the chain was seen between.
                if fails && failed_at.is_some() && failed_at != at {
                    it.row.void_from = Some(it.row.attempts.len());
                    self.change(Table::Transactions, transaction);
                }
            }
        }
    }

    fn keep_new(&mut self, now: Now, chain: usize, jobs: Vec<Job>, content: Draft, signed: Signed) {
        // Whatever happened while it was signed: it has not left us, and may be dropped.
        let wanted = self.wanted_jobs(chain);
        let nonce = match jobs.is_empty() {
            true => self.gap(now, chain).unwrap_or_else(|| self.free_nonce(chain)),
            false => self.free_nonce(chain),
        };
        if !jobs.iter().all(|job| wanted.contains(job)) || content.nonce != nonce {
            return;
        }
        let number = self.next_transaction;
        self.next_transaction += 1;
        let row = TransactionRow {
            chain: self.chains[chain].name.clone(),
            nonce: content.nonce,
            call: content.call,
            jobs,
            attempts: vec![signed],
            void_from: None,
        };
        self.counters.transactions_signed += 1;
        self.transactions.insert(number, Transaction::new(row, chain));
        self.change(Table::Transactions, number);
    }

    fn keep_again(&mut self, now: Now, number: u64, content: &Draft, signed: Signed) {
        let Some(it) = self.transactions.get_mut(&number) else { return };
        let is_void = it.row.void_from.is_some();
        assert!(content.nonce == it.row.nonce, "a transaction has one nonce");
        assert!(
            if is_void { content.call == Call::Nothing } else { content.call == it.row.call },
            "a nonce has one call, and then none"
        );
        it.row.attempts.push(signed);
        it.failed_at = None;
        it.sign_rest = Rest::default();
        (it.signed_at, it.send_at, it.too_low) = (Some(now), now, false);
        self.counters.transactions_signed += 1;
        self.counters.transactions_replaced += 1;
        self.change(Table::Transactions, number);
    }

    fn rest_jobs(&mut self, now: Now, chain: usize, jobs: &[Job], error: &SignError) {
        let mut failures = 0;
        for job in jobs {
            failures = failures.max(self.rest_job(now, chain, *job));
        }
        let text = format!("{jobs:?} waits: {error}");
        match (failures, error) {
            (3, SignError::WouldFail(_)) => self.alarm(None, text),
            (1, _) => self.warn(None, text),
            _ => {}
        }
    }

    /// How often it has failed in a row.
    fn rest_job(&mut self, now: Now, chain: usize, job: Job) -> u32 {
        let rest = self.chains[chain].job_rests.entry(job).or_default();
        if is_urgent(&[job]) {
            rest.fail_urgent(now, &mut self.jitter);
        } else {
            rest.fail(now, &mut self.jitter);
        }
        rest.failures()
    }

    /// What of our transactions is in a block, and what is final.
    pub(crate) fn take_transactions(
        &mut self,
        now: Now,
        chain: usize,
        question: &Question,
        sight: &Sight,
    ) {
        let numbers: Vec<u64> = self.transactions.keys().copied().collect();
        for number in numbers {
            let it = self.transactions.get_mut(&number).expect("it was just listed");
            if it.chain != chain {
                continue;
            }
            let attempts = &it.row.attempts;
            let found = sight
                .transactions
                .iter()
                .find(|(hash, _)| attempts.iter().any(|attempt| attempt.hash == *hash));
            it.included = found.is_some();
            if it.row.nonce >= sight.nonce_final {
                continue;
            }
            let asked = attempts.iter().all(|it| question.transactions.contains(&it.hash));
            match found {
                Some((hash, included)) if included.is_final => {
                    let included = *included;
                    let at = attempts.iter().position(|attempt| attempt.hash == *hash);
                    // One that only took the nonce has done nothing.
                    let is_void = it.row.void_from.is_some_and(|from| at >= Some(from));
                    let costs = &mut self.chains[chain].costs;
                    costs.gas = costs.gas.saturating_add(included.gas);
                    costs.money = costs.money.saturating_add(included.cost);
                    if included.succeeded {
                        costs.succeeded += 1;
                        if let Call::Redeem { claims } = &it.row.call
                            && !is_void
                        {
                            costs.claims += claims.len() as u64;
                        }
                    } else {
                        costs.failed += 1;
                    }
                    self.end_transaction(now, number, included.succeeded && !is_void);
                }
                Some(_) => {}
                // Another one is final at this nonce: none of these can be, ever.
                None if asked => {
                    self.chains[chain].costs.lost += 1;
                    let text = format!(
                        "another transaction has nonce {} of our account: nobody else should have \
                         its key",
                        it.row.nonce
                    );
                    self.alarm(None, text);
                    self.end_transaction(now, number, false);
                }
                None => {}
            }
        }
    }

    fn end_transaction(&mut self, now: Now, number: u64, succeeded: bool) {
        let it = self.transactions.remove(&number).expect("it was just found");
        let floor = &mut self.chains[it.chain].costs.nonce_floor;
        *floor = (*floor).max(it.row.nonce.saturating_add(1));
        self.change(Table::Transactions, number);
        let name = self.chains[it.chain].name.clone();
        self.change(Table::Costs, name);
        let TransactionRow { jobs, .. } = it.row;
        for job in &jobs {
            if succeeded {
                self.done(*job);
            } else {
                self.rest_job(now, it.chain, *job);
            }
        }
        self.does(Effect::Tell(Notice::Final { chain: it.chain, jobs, succeeded }));
    }

    /// What an operator asked for once is done.
    fn done(&mut self, job: Job) {
        let (Job::Redeem(id) | Job::Answer(id)) = job else { return };
        if let Some(channel) = self.channels.get_mut(&id)
            && core::mem::take(&mut channel.row.redeem_now)
        {
            self.change(Table::Channels, id);
        }
    }
}

impl Fee {
    fn capped(self, most: u128) -> Self {
        Self { most: self.most.min(most), tip: self.tip.min(most) }
    }
}

/// Chains take a replacement that offers a tenth more, some an eighth: a quarter more, or what is asked for
/// now if that is above it.
fn higher(last: Fee, offered: Fee) -> Fee {
    let more =
        |last: u128, offered: u128| last.saturating_add(last / 4).saturating_add(1).max(offered);
    Fee { most: more(last.most, offered.most), tip: more(last.tip, offered.tip) }
}

/// Something of it has a time by which it must be in a block.
fn is_urgent(jobs: &[Job]) -> bool {
    jobs.iter().any(|job| matches!(job, Job::Answer(_) | Job::CloseTogether(_)))
}

/// What is urgent offers twice as much.
fn urgent(jobs: &[Job], fee: Fee) -> Fee {
    if !is_urgent(jobs) {
        return fee;
    }
    Fee { most: fee.most.saturating_mul(2), tip: fee.tip.saturating_mul(2) }
}
