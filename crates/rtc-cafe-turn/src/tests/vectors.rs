//! The test vectors of RFC 5769: what others ask, and what they are answered.

use std::net::SocketAddr;

use turn_types::stun::{
    attribute::XorMappedAddress,
    message::{LongTermKeyCredentials, Message, MessageIntegrityCredentials, ShortTermCredentials},
    prelude::AttributeStaticType,
};

use super::{ErrorCode, Table, code};
use crate::{
    client::{Client, Output},
    stats::Transport,
};

/// Section 2.1.
const REQUEST: &[u8] =
    b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\x80\x22\x00\x10STUN test client\
    \x00\x24\x00\x04\x6e\x00\x01\xff\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY   \
    \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
    \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

/// Section 2.2.
const IPV4_RESPONSE: &[u8] = b"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\x80\x22\x00\x0btest vector \
    \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\
    \xf0\x6b\xe7\xd7\x80\x28\x00\x04\xc0\x7d\x4c\x96";
/// Section 2.3.
const IPV6_RESPONSE: &[u8] = b"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\x80\x22\x00\x0btest vector \
    \x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\x00\x08\x00\x14\xa3\x82\x95\x4e\
    \x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\x80\x28\x00\x04\xc8\xfb\x0b\x4c";

#[test]
fn the_request_is_answered_as_they_answer_it() {
    for (client, response) in
        [("192.0.2.1:32853", IPV4_RESPONSE), ("[2001:db8:1234:5678:11:2233:4455:6677]:32853", IPV6_RESPONSE)]
    {
        let client: SocketAddr = client.parse().unwrap();
        let theirs = Message::from_bytes(response).expect("its fingerprint is right");
        let short: MessageIntegrityCredentials = ShortTermCredentials::new("VOkJxbRl1RmTxUk/WvJxBt".into()).into();
        assert!(theirs.validate_integrity(&short).is_ok());
        let told =
            |message: &Message<'_>| message.attribute::<XorMappedAddress>().unwrap().addr(message.transaction_id());
        assert_eq!(told(&theirs), client);

        let mut table = Table::new();
        let (mut asking, now) = (Client::new(client, Transport::Udp), table.now());
        let Some(Output::Reply(reply)) = asking.handle(REQUEST, &table.common, &mut table.sockets, now) else {
            panic!()
        };
        let ours = Message::from_bytes(&reply).unwrap();
        assert_eq!((ours.get_type(), ours.transaction_id()), (theirs.get_type(), theirs.transaction_id()));
        let mapped = |message: &Message<'_>| message.raw_attribute(XorMappedAddress::TYPE).unwrap().value.to_vec();
        assert_eq!(mapped(&ours), mapped(&theirs));
    }
}

/// Section 2.4: long-term credentials, which are not ours.
#[test]
fn the_long_term_credentials_are_challenged() {
    let request = b"\x00\x01\x00\x60\x21\x12\xa4\x42\x78\xad\x34\x33\xc6\xad\x72\xc0\x29\xda\x41\x2e\x00\x06\x00\x12\
        \xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9\x00\x00\x00\x15\x00\x1cf//499k954d6OL34oL9FSTvy64sA\
        \x00\x14\x00\x0bexample.org\x00\x00\x08\x00\x14\xf6\x70\x24\x65\x6d\xd6\x4a\x3e\x02\xb8\xe0\x71\x2e\x85\xc9\xa2\x8c\xa8\x96\x66";
    let message = Message::from_bytes(request).expect("it is well-formed");
    let matrix = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
    let key = LongTermKeyCredentials::new(matrix.into(), "TheMatrIX".into(), "example.org".into()).into();
    assert!(message.validate_integrity(&key).is_ok());
    let mut allocate = request.to_vec();
    allocate[1] = 3;
    assert_eq!(code(&Table::new().handle(&allocate).unwrap()), ErrorCode::STALE_NONCE, "the nonce is another server's");
}
