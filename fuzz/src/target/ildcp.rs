//! IL-DCP: the question of a child and what its parent answers.

use m2_codec::address::Address;
use m2_codec::ildcp::{
    DESTINATION, PEER_CONDITION, PEER_FULFILLMENT, RequestError, Response, check_request,
    put_request, put_response,
};
use m2_codec::ilp::{Fulfill, Prepare, put_fulfill};
use m2_codec::timestamp;

use crate::reference;

/// Two parsers agree on any data of an answer, alone and in a FULFILL; what was read is written and
/// read back; a PREPARE is a request exactly if destination, amount and condition say so.
pub fn ildcp(data: &[u8]) {
    answer(data);
    if let Ok(fulfill) = Fulfill::new_checked(data) {
        answer(fulfill.data());
        let is_peers = *fulfill.fulfillment() == PEER_FULFILLMENT;
        let expected = reference::ildcp_response(fulfill.data()).filter(|_| is_peers);
        assert_eq!(Response::from_fulfill(&fulfill).ok().map(fields), expected, "from_fulfill");
    }
    if let Ok(prepare) = Prepare::new_checked(data) {
        let expected = match (prepare.destination(), prepare.amount(), prepare.condition()) {
            (to, _, _) if to != DESTINATION => Err(RequestError::WrongDestination),
            (_, 1.., _) => Err(RequestError::NonZeroAmount),
            (_, _, condition) if *condition != PEER_CONDITION => Err(RequestError::WrongCondition),
            _ => Ok(()),
        };
        assert_eq!(check_request(&prepare), expected, "check_request");
        let mut out = Vec::new();
        let ms = prepare.expires_at_ms().min(timestamp::MS_MAX);
        put_request(&mut out, ms);
        let request = Prepare::new_checked(&out[..]).expect("it was written");
        assert_eq!((check_request(&request), request.expires_at_ms()), (Ok(()), ms));
    }
}

fn fields<'a>(response: Response<'a>) -> (&'a [u8], u8, &'a str) {
    (response.client_address, response.asset_scale, response.asset_code)
}

fn answer(data: &[u8]) {
    let read = Response::read(data).ok().map(fields);
    assert_eq!(read, reference::ildcp_response(data), "Response::read");
    let Some((address, scale, code)) = read else { return };
    let mut out = Vec::new();
    put_response(&mut out, &Address::try_from(address).expect("it was checked"), scale, code);
    let fulfill = Fulfill::new_checked(&out).expect("it was written");
    assert!(data.starts_with(fulfill.data()), "what is written again is not what was read");
    let reread = Response::from_fulfill(&fulfill).map(fields);
    assert_eq!(reread, Ok((address, scale, code)), "ildcp, read again");
    out.clear();
    put_fulfill(&mut out, &[1; 32], fulfill_data(data));
    let stranger = Fulfill::new_checked(&out).expect("it was written");
    assert!(Response::from_fulfill(&stranger).is_err(), "a fulfillment that is not the peers'");
}

/// As much of `data` as a packet holds.
fn fulfill_data(data: &[u8]) -> &[u8] {
    &data[..data.len().min(m2_codec::ilp::ANSWER_DATA_LEN_MAX)]
}
