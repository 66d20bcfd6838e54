//! Adding up the legs of pairs, one thread's share of them.

use m2_core::AccountId;
use m2_journal::Fault;
use m2_journal::layout::record::Pair;

use super::plan::Plan;

/// What one epoch of an account comes to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Sum {
    pub(super) committed_in: u128,
    pub(super) committed_out: u128,
}

/// Sums of one thread, by epoch of account; and where in the cuts of each account it is.
#[derive(Debug)]
pub(super) struct Legs<'a> {
    plan: &'a Plan,
    sums: Vec<Sum>,
    cursors: Vec<Cursor>,
    /// Which segment is being read: cursors of others are worth nothing.
    segment: u32,
    stream: usize,
}

/// Where in the cuts of an account a segment is, for its incoming and its outgoing legs.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    segment: u32,
    incoming: u32,
    outgoing: u32,
    /// From this position on, `incoming` is another.
    incoming_to: u64,
    outgoing_to: u64,
}

impl<'a> Legs<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            sums: vec![Sum::default(); plan.epochs()],
            cursors: vec![Cursor::default(); plan.accounts()],
            segment: 0,
            stream: 0,
        }
    }

    /// Turns to another segment, of this stream.
    pub(super) fn open(&mut self, stream: u16) {
        self.segment += 1;
        self.stream = usize::from(stream);
    }

    /// Adds both legs of a pair.
    ///
    /// # Errors
    ///
    /// When it is of accounts that are not there, or of another stream.
    pub(super) fn pair(&mut self, position: u64, pair: &Pair) -> Result<(), Fault> {
        let incoming = AccountId(pair.account_in.get());
        let outgoing = AccountId(pair.account_out.get());
        self.own(outgoing)?;
        self.plan.shard(incoming).ok_or(Fault::Record)?;
        let epoch = self.incoming_epoch(incoming, position);
        self.sums[epoch].committed_in += u128::from(pair.amount_in.get());
        let epoch = self.outgoing_epoch(outgoing, position);
        self.sums[epoch].committed_out += u128::from(pair.amount_out.get());
        Ok(())
    }

    /// Checks that an account is of the shard whose stream is read.
    ///
    /// # Errors
    ///
    /// When it is not, or is not there.
    pub(super) fn own(&self, account: AccountId) -> Result<(), Fault> {
        let shard = self.plan.shard(account);
        let is_own = shard.is_some_and(|shard| usize::from(shard) == self.stream);
        if is_own { Ok(()) } else { Err(Fault::Record) }
    }

    /// What it comes to, added to what other threads had.
    pub(super) fn add_to(&self, all: &mut [Sum]) {
        for (all, own) in all.iter_mut().zip(&self.sums) {
            all.committed_in += own.committed_in;
            all.committed_out += own.committed_out;
        }
    }

    fn incoming_epoch(&mut self, account: AccountId, position: u64) -> usize {
        let stream = self.stream;
        let cursor = self.cursor(account);
        if position >= cursor.incoming_to {
            let cuts = self.plan.cuts(account);
            let count = cuts.partition_point(|cut| cut.applied[stream] <= position);
            let cursor = &mut self.cursors[account.0 as usize];
            cursor.incoming = u32::try_from(count).expect("cuts are fewer");
            cursor.incoming_to = cuts.get(count).map_or(u64::MAX, |cut| cut.applied[stream]);
        }
        self.plan.offset(account) + self.cursors[account.0 as usize].incoming as usize
    }

    fn outgoing_epoch(&mut self, account: AccountId, position: u64) -> usize {
        let cursor = self.cursor(account);
        if position >= cursor.outgoing_to {
            let cuts = self.plan.cuts(account);
            let count = cuts.partition_point(|cut| cut.own <= position);
            let cursor = &mut self.cursors[account.0 as usize];
            cursor.outgoing = u32::try_from(count).expect("cuts are fewer");
            cursor.outgoing_to = cuts.get(count).map_or(u64::MAX, |cut| cut.own);
        }
        self.plan.offset(account) + self.cursors[account.0 as usize].outgoing as usize
    }

    /// The cursor of an account. One that is of another segment begins anew.
    fn cursor(&mut self, account: AccountId) -> Cursor {
        let cursor = &mut self.cursors[account.0 as usize];
        if cursor.segment != self.segment {
            // Whatever the position is, it is not below 0: the first use looks it up.
            *cursor = Cursor { segment: self.segment, ..Cursor::default() };
        }
        *cursor
    }
}
