"""Makes agreements.json with eth-account: python3 -m pip install eth-account==0.14.0; python3 make_agreements.py > agreements.json

What two participants sign beside claims: to take a deposit back, and to close at once. Keys are public test keys.
"""

import json

from eth_account import Account
from eth_account.messages import encode_typed_data, _hash_eip191_message

FIRST = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
SECOND = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
MOST = {"uint128": 2**128 - 1, "uint64": 2**64 - 1}
TYPES = {
    "Withdraw": [
        ("channelId", "bytes32"), ("participant", "address"), ("totalWithdrawn", "uint128"), ("validUntil", "uint64"),
    ],
    "CloseTogether": [
        ("channelId", "bytes32"), ("firstPaid", "uint128"), ("secondPaid", "uint128"), ("validUntil", "uint64"),
    ],
}


def signed(chain_id, kind, message):
    fields = [{"name": name, "type": type_} for name, type_ in TYPES[kind]]
    domain = {"name": "M2MPayChan", "version": "1", "chainId": chain_id, "verifyingContract": CONTRACT}
    encoded = encode_typed_data(domain, {kind: fields}, message)
    signatures = [Account.sign_message(encoded, key).signature.hex() for key in (FIRST, SECOND)]
    hexed = {name: "0x" + value.hex() if isinstance(value, bytes) else str(value) for name, value in message.items()}
    return {
        "chainId": chain_id,
        "message": hexed,
        "digest": "0x" + _hash_eip191_message(encoded).hex(),
        "signatures": ["0x" + signature.removeprefix("0x") for signature in signatures],
    }


def cases(kind):
    channels = [b"\0" * 32, b"\xff" * 32, bytes.fromhex("e7abceb2") + b"\x11" * 28]
    for chain_id, channel, amount in zip((31337, 8453, 84532), channels, (0, 250000000, MOST["uint128"])):
        message = {"channelId": channel}
        for name, type_ in TYPES[kind][1:]:
            if type_ == "address":
                message[name] = Account.from_key(SECOND).address
            elif name == "secondPaid":
                message[name] = MOST["uint128"] - amount
            else:
                message[name] = min(amount, MOST[type_])
        yield signed(chain_id, kind, message)


print(json.dumps({
    "contract": CONTRACT,
    "signers": [Account.from_key(key).address for key in (FIRST, SECOND)],
    "withdrawals": list(cases("Withdraw")),
    "closes": list(cases("CloseTogether")),
}, indent=1))
