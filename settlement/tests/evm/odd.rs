//! Tokens that do not do what tokens do, and nodes that do not do what nodes do.

use std::time::Duration;

use alloy::primitives::Address;
use m2_settle::evm::eip712::token_of;
use m2_settle::evm::{EvmConfig, Tag};
use m2_settle::worker::Worker;
use m2_settlement::chain::{Call, ChannelId, LookError, Question, SignError, Token, TokenSight};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::chain::{Chain, KEYS, claim, config, draft, evm};
use crate::node::tools;

#[tokio::test]
async fn a_token_that_keeps_some_of_a_transfer_is_not_deposited() {
    let Some(tools) = tools() else { return };
    let chain = Chain::with(&tools, &[], "TaxedToken").await;
    chain.done(&chain.alice, Call::Approve { token: chain.token() }).await;
    let call = Call::Open { terms: chain.terms(), deposit: 100 };
    let error = chain.alice.sign(draft(&chain.alice, call).await).await.unwrap_err();
    let SignError::WouldFail(text) = &error else { panic!("{error:?}") };
    assert!(text.starts_with("DepositDiffers {"), "{text}");
    assert!(text.ends_with("wanted: 100, came: 99 }"), "{text}");
}

#[tokio::test]
async fn what_is_no_token_is_one_of_which_we_have_nothing() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let nobody = token_of(Address::repeat_byte(9));
    let (no_token, no_address) = (token_of(chain.contract), Token([1; 32]));
    let tokens = vec![no_token, nobody, no_address, chain.token()];
    let question = Question { tokens: tokens.clone(), ..Question::default() };
    let (seen, sights): (Vec<_>, Vec<_>) =
        chain.alice.look(question).await.unwrap().tokens.into_iter().unzip();
    assert_eq!(seen, tokens);
    assert_eq!(sights[..3], [TokenSight::default(); 3]);
    assert!(sights[3].balance > 0);
}

#[tokio::test]
async fn more_may_be_asked_than_a_batch_holds_and_of_nodes_that_take_no_batch() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    let id = chain.open(100).await;
    let mut channels: Vec<_> = (0..150).map(|byte| ChannelId([byte; 32])).collect();
    channels[140] = id;
    let question = Question { channels, ..chain.question() };
    let by_64 = chain.alice.look(question.clone()).await.unwrap();
    let found: Vec<_> = by_64.channels.iter().filter(|(_, it)| it.latest.is_some()).collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, id);
    let one = EvmConfig { batch_most: 1, ..config(&chain.node, chain.contract) };
    assert_eq!(evm(&one, KEYS[0]).look(question).await.unwrap(), by_64);
    let claims = vec![claim(&chain.alice, id, 1).await, claim(&chain.alice, id, 2).await];
    let bob = evm(&one, KEYS[1]);
    assert!(bob.sign(draft(&bob, Call::Redeem { claims }).await).await.is_ok());
}

#[tokio::test]
async fn final_is_what_the_configuration_says() {
    let Some(tools) = tools() else { return };
    let chain = Chain::new(&tools).await;
    chain.node.mine(10).await;
    let latest = chain.sight(&chain.alice).await.latest.number;
    for (finality, behind) in [
        (Tag::Finalized, 4),
        (Tag::Safe, 2),
        (Tag::Latest { minus: 3 }, 3),
        (Tag::Latest { minus: 0 }, 0),
        (Tag::Latest { minus: u64::MAX }, latest),
    ] {
        let config = EvmConfig { finality, ..config(&chain.node, chain.contract) };
        let sight = evm(&config, KEYS[0]).look(Question::default()).await.unwrap();
        assert_eq!(sight.latest.number - sight.last_final.number, behind, "{finality:?}");
    }
}

/// What is endless ends here: a test that fails is not to fill the memory.
const PIECES_MAX: usize = 512;

/// A server that reads what it is sent and says one thing, again and again if told so.
async fn server(head: &str, body: &str, is_endless: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (head, body) = (head.to_owned(), body.to_owned());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (head, body) = (head.clone(), body.clone());
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let mut is_sent = stream.write_all(head.as_bytes()).await.is_ok();
                    is_sent &= stream.write_all(body.as_bytes()).await.is_ok();
                    for _ in 0..PIECES_MAX {
                        if !is_endless || !is_sent {
                            break;
                        }
                        is_sent = stream.write_all(body.as_bytes()).await.is_ok();
                    }
                    if is_endless {
                        return;
                    }
                }
            });
        }
    });
    url
}

async fn error_of(url: String, rpc_time: Duration) -> LookError {
    let config = EvmConfig {
        rpc_url: url,
        chain_id: 1,
        contract: Address::ZERO,
        finality: Tag::Finalized,
        rpc_time,
        batch_most: 64,
        fee_most: 1,
    };
    evm(&config, KEYS[0]).look(Question::default()).await.unwrap_err()
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_answer_that_is_none_makes_no_sense() {
    for body in [
        "nonsense",
        "{}",
        "[]",
        "null",
        r#"{"jsonrpc":"2.0","id":7,"result":"0x1"}"#,
        r#"{"jsonrpc":"2.0","id":0,"result":null}"#,
        r#"{"jsonrpc":"2.0","id":0,"result":"0x1ffffffffffffffff"}"#,
        r#"{"jsonrpc":"2.0","id":0,"result":"one"}"#,
        r#"{"jsonrpc":"2.0","id":0,"result":{"a":[[[]]]}}"#,
    ] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let error = error_of(server(&head, body, false).await, LONG).await;
        assert!(matches!(error, LookError::Nonsense(_)), "{body}: {error}");
    }
}

#[tokio::test]
async fn an_error_of_what_stands_before_a_node_is_no_answer() {
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\n";
    let error = error_of(server(head, "busy", false).await, LONG).await;
    let text = "HTTP 503 Service Unavailable: busy";
    assert_eq!(error, LookError::Unreachable(text.into()));
    let head = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let error = error_of(server(head, "", false).await, LONG).await;
    assert!(matches!(&error, LookError::Unreachable(text) if text.contains("302")), "{error}");
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let piece = "7".repeat(1 << 16);
    let chunk = format!("10000\r\n{piece}\r\n");
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let told = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
    for (head, body) in [(chunked, &chunk), (told, &piece)] {
        let error = error_of(server(head, body, true).await, LONG).await;
        let LookError::Nonsense(text) = &error else { panic!("{error:?}") };
        assert!(text.starts_with("an answer of more than"), "{text}");
    }
}

#[tokio::test]
async fn a_node_that_takes_its_time_is_not_waited_for() {
    // It says how much is to come, and then nothing more.
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n";
    let error = error_of(server(head, "{", false).await, Duration::from_millis(300)).await;
    let LookError::Unreachable(text) = &error else { panic!("{error:?}") };
    assert!(text.starts_with("not in time: "), "{text}");
}

#[tokio::test]
async fn where_nobody_listens_nobody_answers_and_the_address_is_not_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://secret@{}/password", listener.local_addr().unwrap());
    drop(listener);
    let error = error_of(url, LONG).await;
    let LookError::Unreachable(text) = &error else { panic!("{error:?}") };
    assert!(!text.contains("secret") && !text.contains("password"), "{text}");
}
