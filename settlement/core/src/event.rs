//! What the core hears of, and what it makes the process do.

use crate::chain::{
    Agreement, Bytes, ChannelId, Claim, Draft, Key, LookError, Party, Question, SendError, Sight,
    SignError, Signed,
};
use crate::rows::{Ending, Job, Order};
use crate::wire::Message;

/// Milliseconds since 1970, UTC. May stand still or go back: nothing is decided by it but how long to rest
/// and what is stale.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Now(pub u64);

/// What has happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The switch is there. What it was told before and has not answered is told again.
    SwitchUp,
    /// It is gone.
    SwitchDown,
    /// The switch has frozen an amount, or says so again.
    Frozen {
        /// Whose.
        account: String,
        /// Its name.
        key: Key,
        /// Units of the account.
        amount: u128,
    },
    /// The switch has answered an order.
    Ordered {
        /// Its number.
        order: u64,
        /// That it is recorded, or why not.
        result: Result<(), OrderError>,
    },
    /// A link to the peer is there: a new one.
    PeerUp {
        /// Whose.
        account: String,
    },
    /// It is gone.
    PeerDown {
        /// Whose.
        account: String,
    },
    /// The peer says something, and waits for an answer.
    Said {
        /// Who.
        account: String,
        /// Names what waits for the answer.
        token: u64,
        /// What; an error says why it is none.
        message: Result<Message, String>,
        /// Who has signed it by its signature, if it has one.
        signer: Option<Party>,
    },
    /// The peer has answered.
    Replied {
        /// Who.
        account: String,
        /// As in [`Effect::Say`].
        token: u64,
        /// What; an error says why nothing came that could be read.
        message: Result<Message, String>,
        /// Who has signed it as an answer to what it answers.
        signer: Option<Party>,
    },
    /// A chain shows this.
    Seen {
        /// In [`crate::config::Config::chains`].
        chain: usize,
        /// What was asked for, and what it shows.
        sight: Result<Box<(Question, Sight)>, LookError>,
    },
    /// A draft was signed, or not.
    Signed {
        /// As in [`Effect::Sign`].
        chain: usize,
        /// As in [`Effect::Sign`].
        draft: u64,
        /// Result.
        signed: Result<Signed, SignError>,
    },
    /// A transaction was handed to the chain, or not.
    Sent {
        /// As in [`Effect::Send`].
        transaction: u64,
        /// As in [`Effect::Send`].
        attempt: usize,
        /// Result.
        result: Result<(), SendError>,
    },
    /// A claim of ours was signed, or not.
    ClaimSigned {
        /// Which.
        claim: Claim,
        /// Result.
        signature: Result<Bytes, SignError>,
    },
    /// An agreement was signed by us, or not.
    AgreementSigned {
        /// Which.
        agreement: Agreement,
        /// Result.
        signature: Result<Bytes, SignError>,
    },
    /// An operator wants something.
    Operator(Wish),
}

/// What an operator may want.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wish {
    /// Redeem what the account's channels hold, worth the fee or not.
    Redeem {
        /// Which account.
        account: String,
    },
    /// End the account's channels.
    Close {
        /// Which account.
        account: String,
        /// How.
        ending: Ending,
    },
    /// Take a frozen amount back that no claim pays.
    Cancel {
        /// Which.
        key: Key,
    },
    /// The account is no longer paused. Its limits are the operator's to restore in the switch.
    Resume {
        /// Which.
        account: String,
    },
}

/// Why the switch has not recorded an order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OrderError {
    /// In its words.
    pub text: String,
    /// Told again, it may.
    pub again: bool,
}

/// What the process has to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Tell the switch something.
    Order {
        /// Its number, for the answer.
        number: u64,
        /// About which account.
        account: String,
        /// What.
        order: Order,
    },
    /// Send the peer a message.
    Say {
        /// Whom.
        account: String,
        /// Names it for the answer.
        token: u64,
        /// What.
        message: Message,
    },
    /// Answer a message of the peer.
    Answer {
        /// Whom.
        account: String,
        /// Of its message.
        token: u64,
        /// What.
        message: Message,
    },
    /// Look at a chain.
    Look {
        /// Which.
        chain: usize,
        /// For what.
        question: Question,
    },
    /// Sign a transaction; it is not sent yet.
    Sign {
        /// On which chain.
        chain: usize,
        /// Names it for the answer.
        draft: u64,
        /// What.
        content: Draft,
    },
    /// Hand a transaction to a chain.
    Send {
        /// On which chain.
        chain: usize,
        /// Names it for the answer.
        transaction: u64,
        /// Which of its attempts.
        attempt: usize,
        /// What.
        bytes: Bytes,
    },
    /// Sign a claim.
    SignClaim {
        /// On which chain.
        chain: usize,
        /// What.
        claim: Claim,
    },
    /// Sign an agreement.
    SignAgreement {
        /// On which chain.
        chain: usize,
        /// What.
        agreement: Agreement,
    },
    /// Tell whoever reads the log.
    Tell(Notice),
}

/// What somebody should read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Notice {
    /// Somebody has to do something.
    Alarm {
        /// About which account, if about one.
        account: Option<String>,
        /// What.
        text: String,
    },
    /// A refusal, a failure that is tried again.
    Warning {
        /// About which account, if about one.
        account: Option<String>,
        /// What.
        text: String,
    },
    /// Money has moved.
    Moved {
        /// Whose.
        account: String,
        /// What.
        text: String,
    },
    /// A transaction is final.
    Final {
        /// On which chain.
        chain: usize,
        /// What it was for.
        jobs: Vec<Job>,
        /// It did it.
        succeeded: bool,
    },
    /// A peer closes a channel, or we do.
    Closing {
        /// Which.
        channel: ChannelId,
        /// Until when claims count.
        closes_at_s: u64,
    },
}
