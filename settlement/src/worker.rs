//! What every chain worker does for the settlement process.

use m2_settlement::chain::{
    Agreement, Bytes, ChannelId, Claim, Draft, LookError, Party, Question, SendError, Sight,
    SignError, Signed, SignedClaim, Terms,
};

/// A chain, with our own account on it. It decides nothing and remembers nothing that matters.
pub trait Worker: Send + Sync + 'static {
    /// Who we are on this chain.
    fn party(&self) -> Party;

    /// The id of the channel that these terms make.
    fn channel_id(&self, terms: &Terms) -> ChannelId;

    /// Who has signed a claim; `None` if the signature is none.
    fn claimer(&self, claim: &SignedClaim) -> Option<Party>;

    /// Who has signed an agreement; `None` if the signature is none.
    fn agreer(&self, agreement: &Agreement, signature: &Bytes) -> Option<Party>;

    /// What the chain shows.
    ///
    /// # Errors
    ///
    /// See [`LookError`].
    fn look(&self, question: Question) -> impl Future<Output = Result<Sight, LookError>> + Send;

    /// Signs a transaction; nothing leaves the process but questions.
    ///
    /// # Errors
    ///
    /// See [`SignError`].
    fn sign(&self, draft: Draft) -> impl Future<Output = Result<Signed, SignError>> + Send;

    /// Hands a transaction to the chain.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    fn send(&self, bytes: Bytes) -> impl Future<Output = Result<(), SendError>> + Send;

    /// Signs a claim.
    ///
    /// # Errors
    ///
    /// When whoever keeps the key does not.
    fn sign_claim(&self, claim: Claim) -> impl Future<Output = Result<Bytes, SignError>> + Send;

    /// Signs an agreement.
    ///
    /// # Errors
    ///
    /// When whoever keeps the key does not.
    fn sign_agreement(
        &self,
        agreement: Agreement,
    ) -> impl Future<Output = Result<Bytes, SignError>> + Send;
}
