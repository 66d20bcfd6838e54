//! JSON-RPC with a node that may be wrong, slow, endless or not there.
//!
//! Invariant: an answer is bounded in bytes and in time before it is read, and each question of a batch has its
//! own answer or none has one. The node's address is in no error: it often holds a password.
//!
//! This is our own and not alloy's provider, which reads an answer whole however long it is.

use std::time::Duration;

use m2_settlement::chain::LookError;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What an answer may hold at most: 64 of the largest things that we ask for are receipts, of some KiB each with
/// what an event-happy token logs.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// What of a text of others stands in one of ours, in characters.
const TEXT_CHARS_MAX: usize = 240;

/// A question: a method and what it takes.
pub(super) struct Ask {
    method: &'static str,
    params: Value,
}

impl Ask {
    pub(super) fn new(method: &'static str, params: Value) -> Self {
        Self { method, params }
    }
}

/// What a node says when it does not do what it is asked for.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct NodeError {
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) data: Value,
}

impl NodeError {
    /// What a call reverted with, if it did: geth says code 3; others say so in words.
    pub(super) fn revert(&self) -> Option<Vec<u8>> {
        let text = self.data.as_str().or_else(|| self.data.get("data").and_then(Value::as_str));
        let data = text.and_then(|text| alloy::hex::decode(text).ok());
        let is_revert = self.code == 3 || self.message.to_lowercase().contains("revert");
        is_revert.then(|| data.unwrap_or_default())
    }

    pub(super) fn text(&self, method: &str) -> String {
        format!("{method}: {} (code {})", brief(&self.message), self.code)
    }
}

/// An answer to one question.
pub(super) struct Answer {
    method: &'static str,
    outcome: Result<Box<RawValue>, NodeError>,
}

impl Answer {
    /// What the node says, as it is.
    pub(super) fn outcome(self) -> Result<Box<RawValue>, NodeError> {
        self.outcome
    }

    /// A node that does not do what every node can is as one that is not there.
    pub(super) fn read<T: DeserializeOwned>(self) -> Result<T, LookError> {
        match self.outcome {
            Ok(raw) => parse(self.method, &raw),
            Err(error) => Err(LookError::Unreachable(error.text(self.method))),
        }
    }
}

/// The answer to the next question: [`Rpc::ask`] gives as many.
pub(super) fn next(answers: &mut impl Iterator<Item = Answer>) -> Answer {
    answers.next().expect("an answer for each question")
}

/// A value of a node's answer.
pub(super) fn parse<T: DeserializeOwned>(method: &str, raw: &RawValue) -> Result<T, LookError> {
    let nonsense = |error| LookError::Nonsense(format!("{method}: {}: {error}", brief(raw.get())));
    serde_json::from_str(raw.get()).map_err(nonsense)
}

/// A node.
pub(super) struct Rpc {
    client: Client,
    url: Url,
    batch_most: usize,
}

impl Rpc {
    /// `time` is for a whole answer, from the connection on.
    ///
    /// # Errors
    ///
    /// When the address is none of HTTP, or TLS cannot be set up.
    pub(super) fn new(url: &str, time: Duration, batch_most: usize) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|error| format!("the node's address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("the node's address must begin with http:// or https://".into());
        }
        // It may be there already: a process has one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = Client::builder()
            .timeout(time)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent("m2-settle");
        // Without TLS no system needs certificates.
        let builder = if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
        let client = builder.build().map_err(|error| format!("TLS: {error}"))?;
        Ok(Self { client, url, batch_most: batch_most.max(1) })
    }

    /// As many answers as questions, in their order.
    pub(super) async fn ask(&self, asks: &[Ask]) -> Result<Vec<Answer>, LookError> {
        let mut answers = Vec::with_capacity(asks.len());
        for batch in asks.chunks(self.batch_most) {
            answers.extend(self.ask_batch(batch).await?);
        }
        Ok(answers)
    }

    /// One question.
    pub(super) async fn ask_one(&self, ask: Ask) -> Result<Answer, LookError> {
        let mut answers = self.ask_batch(&[ask]).await?;
        Ok(answers.pop().expect("as many as questions"))
    }

    async fn ask_batch(&self, asks: &[Ask]) -> Result<Vec<Answer>, LookError> {
        let questions: Vec<_> = asks.iter().enumerate().map(|(id, ask)| ask.question(id)).collect();
        // One alone is asked as it is: not every node takes batches.
        let body = match &questions[..] {
            [one] => one.to_string(),
            several => Value::from(several).to_string(),
        };
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body);
        let mut response = request.send().await.map_err(unreachable)?;
        let is_ok = response.status().is_success();
        let bytes = bounded(&mut response).await?;
        let replies = if asks.len() == 1 {
            serde_json::from_slice(&bytes).map(|reply| vec![reply])
        } else {
            serde_json::from_slice::<Vec<Reply>>(&bytes)
        };
        match replies {
            Ok(replies) => matched(asks, replies),
            // What stands before a node speaks no JSON-RPC when it refuses.
            Err(_) if !is_ok => {
                let what = format!("HTTP {}: {}", response.status(), lossy(&bytes));
                Err(LookError::Unreachable(what))
            }
            Err(error) => Err(refused(&bytes).unwrap_or_else(|| {
                LookError::Nonsense(format!("no JSON-RPC: {}: {error}", lossy(&bytes)))
            })),
        }
    }
}

impl Ask {
    fn question(&self, id: usize) -> Value {
        json!({ "jsonrpc": "2.0", "id": id, "method": self.method, "params": self.params })
    }
}

#[derive(Deserialize)]
struct Reply {
    id: Option<usize>,
    /// `null` is a result.
    #[serde(default, deserialize_with = "present")]
    result: Option<Box<RawValue>>,
    error: Option<NodeError>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

/// Each question has exactly one answer.
fn matched(asks: &[Ask], replies: Vec<Reply>) -> Result<Vec<Answer>, LookError> {
    let nonsense = |what: &str| LookError::Nonsense(format!("JSON-RPC: {what}"));
    let mut answers: Vec<Option<Answer>> = asks.iter().map(|_| None).collect();
    for reply in replies {
        let outcome = match (reply.result, reply.error) {
            (None, Some(error)) => Err(error),
            (Some(result), None) => Ok(result),
            _ => return Err(nonsense("an answer is neither a result nor an error")),
        };
        let Some(id) = reply.id else {
            let Err(error) = outcome else { return Err(nonsense("a result of no question")) };
            return Err(LookError::Unreachable(error.text("the node refuses")));
        };
        let place = answers.get_mut(id).ok_or_else(|| nonsense("an answer to no question"))?;
        if place.is_some() {
            return Err(nonsense("two answers to one question"));
        }
        *place = Some(Answer { method: asks[id].method, outcome });
    }
    let all: Option<Vec<_>> = answers.into_iter().collect();
    all.ok_or_else(|| nonsense("a question without an answer"))
}

/// A node that takes no such batch answers it with one error.
fn refused(bytes: &[u8]) -> Option<LookError> {
    let reply: Reply = serde_json::from_slice(bytes).ok()?;
    let text = reply.error?.text("the node refuses a batch (does it take fewer at once?)");
    Some(LookError::Unreachable(text))
}

/// The body, if it is no longer than any that makes sense.
async fn bounded(response: &mut Response) -> Result<Vec<u8>, LookError> {
    let too_long =
        || LookError::Nonsense(format!("an answer of more than {ANSWER_BYTES_MAX} bytes"));
    let told = response.content_length().unwrap_or(0);
    if usize::try_from(told).map_or(true, |told| told > ANSWER_BYTES_MAX) {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(too_long());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Without the address: with what caused it, which says more than "error sending request".
fn unreachable(error: reqwest::Error) -> LookError {
    let is_late = error.is_timeout();
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause: Option<&dyn core::error::Error> = core::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let late = if is_late { "not in time: " } else { "" };
    LookError::Unreachable(format!("{late}{}", brief(&text)))
}

/// A text of others, short and on one line.
pub(crate) fn brief(text: &str) -> String {
    let mut chars = text.chars().map(|char| if char.is_control() { ' ' } else { char });
    let short: String = chars.by_ref().take(TEXT_CHARS_MAX).collect();
    if chars.next().is_none() { short } else { short + ".." }
}

fn lossy(bytes: &[u8]) -> String {
    let some = &bytes[..bytes.len().min(4 * TEXT_CHARS_MAX)];
    brief(&String::from_utf8_lossy(some))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(count: usize) -> Vec<Ask> {
        (0..count).map(|_| Ask::new("eth_blockNumber", json!([]))).collect()
    }

    fn of(asks: &[Ask], replies: &str) -> Result<Vec<Answer>, LookError> {
        matched(asks, serde_json::from_str(replies).unwrap())
    }

    #[test]
    fn answers_are_put_in_the_order_of_their_questions() {
        let text = r#"[{"id":1,"result":"b"},{"id":0,"result":null}]"#;
        let answers = of(&asks(2), text).unwrap();
        let texts: Vec<_> = answers.into_iter().map(|a| a.read::<Value>().unwrap()).collect();
        assert_eq!(texts, [Value::Null, "b".into()]);
    }

    #[test]
    fn an_answer_too_many_or_too_few_or_twice_makes_no_sense() {
        for replies in [
            r#"[{"id":0,"result":1}]"#,
            r#"[{"id":0,"result":1},{"id":0,"result":1}]"#,
            r#"[{"id":0,"result":1},{"id":1,"result":1},{"id":2,"result":1}]"#,
            r#"[{"id":0,"result":1},{"id":1}]"#,
            r#"[{"id":0,"result":1},{"id":1,"result":1,"error":{"code":1}}]"#,
            r#"[{"id":0,"result":1},{"id":null,"result":1}]"#,
        ] {
            let fault = of(&asks(2), replies).err();
            assert!(matches!(fault, Some(LookError::Nonsense(_))), "{replies}: {fault:?}");
        }
        let refusal = r#"[{"id":null,"error":{"code":-32005,"message":"too many"}}]"#;
        let fault = of(&asks(2), refusal).err();
        assert!(matches!(fault, Some(LookError::Unreachable(what)) if what.contains("too many")));
    }

    #[test]
    fn what_a_call_reverted_with_is_found_where_nodes_put_it() {
        let error = |text: &str| serde_json::from_str::<NodeError>(text).unwrap().revert();
        let geth = r#"{"code":3,"message":"execution reverted","data":"0x0102"}"#;
        assert_eq!(error(geth), Some(vec![1, 2]));
        let nested = r#"{"code":-32015,"message":"VM: reverted","data":{"data":"0x03"}}"#;
        assert_eq!(error(nested), Some(vec![3]));
        assert_eq!(error(r#"{"code":3,"message":"","data":"0x"}"#), Some(vec![]));
        assert_eq!(error(r#"{"code":-32000,"message":"header not found"}"#), None);
    }

    #[test]
    fn a_text_of_others_is_short_and_on_one_line() {
        assert_eq!(brief("a\nb"), "a b");
        assert_eq!(brief(&"é".repeat(1000)).chars().count(), TEXT_CHARS_MAX + 2);
    }

    #[test]
    fn an_address_that_is_none_of_http_is_refused_and_not_repeated() {
        for url in ["ws://user:secret@x", "file:///x", "secret", "http://"] {
            let error = Rpc::new(url, Duration::from_secs(1), 1).err().unwrap();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
