from __future__ import annotations

import pytest
from solders.pubkey import Pubkey

from app.chain.devchain.borsh import program


def test_structs_of_the_idls_are_written_and_read_back() -> None:
    layout = program("node_registry").accounts["NodeAccount"]
    owner = Pubkey.new_unique()
    values = {
        **{"owner": owner, "node_id": "nöde", "gpu_specs_hash": "", "location": "EU", "status": 1},
        **{"registered_at": -5, "last_heartbeat": 2**40, "stake_amount": 2**64 - 1, "reputation_score": 1000},
        **{"jobs_completed": 7, "total_earned": 0, "bump": 254},
    }
    data = layout.encode(values)
    assert layout.decode(data + bytes(50)) == values
    assert data[8:40] == bytes(owner)
    assert data[40:49] == b"\5\0\0\0n\xc3\xb6de"
    with pytest.raises(ValueError, match="discriminator"):
        layout.decode(bytes(len(data)))


def test_arguments_of_instructions_have_their_discriminator() -> None:
    data = program("job_receipt").instructions["assign_job"].encode({"node_id": "n"})
    assert data == bytes((37, 235, 105, 13, 196, 58, 248, 10)) + b"\1\0\0\0n"
