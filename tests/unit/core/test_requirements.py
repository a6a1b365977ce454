from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidInput
from app.core.regions import region_of
from app.core.requirements import (
    TYPE_CAPABILITIES,
    Capability,
    JobType,
    Region,
    capability_names,
    normalise_gpu_model,
    parse_capabilities,
)


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("NVIDIA GeForce RTX 4090", "rtx 4090"),
        ("rtx-4090", "rtx 4090"),
        ("RTX_4090", "rtx 4090"),
        ("Tesla T4", "t4"),
        ("NVIDIA A100-SXM4-80GB", "a100 sxm4 80gb"),
        ("AMD Radeon", "amd radeon"),
        ("  H100  ", "h100"),
    ],
)
def test_one_spelling_for_one_gpu(given_name: str, expected: str) -> None:
    assert normalise_gpu_model(given_name) == expected


@given(st.text(min_size=1, max_size=60))
def test_normalising_twice_is_normalising_once(name: str) -> None:
    once = normalise_gpu_model(name)
    assert normalise_gpu_model(once) == once


@given(st.integers(0, 255))
def test_capabilities_come_back_by_name(mask: int) -> None:
    names = capability_names(mask)
    assert parse_capabilities(names) == mask
    assert parse_capabilities([name.upper() for name in names] * 2) == mask


@pytest.mark.parametrize("name", ["", "flying", "inference ", "name", "__class__"])
def test_an_unknown_capability_is_named(name: str) -> None:
    with pytest.raises(InvalidInput, match="known are inference") as refused:
        parse_capabilities(["inference", name], "needs")
    assert refused.value.field == "needs"


def test_every_type_says_what_it_needs() -> None:
    assert set(TYPE_CAPABILITIES) == set(JobType)
    assert all(one.bit_count() == 1 for one in Capability)
    assert sum(Capability) == 255


@pytest.mark.parametrize(
    ("country", "region"),
    [("DE", "EU"), ("de ", "EU"), ("US", "NA"), ("united states", "NA"), ("JP", "AS"), ("AU", "OC"), ("BR", "SA"),
     ("ZA", "AF"), ("", ""), ("Atlantis", ""), ("AF", "AS")],
)  # fmt: skip
def test_regions_of_countries(country: str, region: str) -> None:
    assert region_of(country) == region
    assert region == "" or region in set(Region)
