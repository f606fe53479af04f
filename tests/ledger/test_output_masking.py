"""Secrets that ranks print are hidden before they are stored, and no byte moves."""

from hypothesis import given
from hypothesis import strategies as st

from core.logs import mask
from core.output.masking import mask_bytes
from core.output.read import decode

KEY = "ty_abcd1234_" + "S3cret" * 8
LEASE = "lease_" + "x-Y_9" * 9
URL = "postgresql://me:hunter2@db/x"


def test_promise_24_the_same_secrets_are_hidden_as_in_our_own_logs() -> None:
    for secret, left in ((KEY, "ty_abcd1234_"), (LEASE, "lease_"), (URL, "postgresql://me:")):
        line = f"token {secret} and so on"
        masked = mask_bytes(line.encode()).decode()
        assert len(masked) == len(line)
        assert masked.rstrip().endswith("and so on")
        assert left + "***" in masked
        assert left + "***" in mask(line)
        assert "cret" not in masked
        assert "hunter2" not in masked


@given(st.binary(max_size=400))
def test_masking_keeps_every_length_and_is_done_once(data: bytes) -> None:
    masked = mask_bytes(data)
    assert len(masked) == len(data)
    assert mask_bytes(masked) == masked


@given(st.text(alphabet="aä€😀\n", max_size=60), st.lists(st.integers(4, 9), min_size=1, max_size=80))
def test_pages_never_cut_a_character(text: str, limits: list[int]) -> None:
    data, offset, shown = text.encode(), 0, ""
    for limit in limits * 40:
        end = min(offset + limit, len(data))
        part, num_bytes = decode(data[offset:end], is_final=end == len(data))
        shown, offset = shown + part, offset + num_bytes
        if offset == len(data):
            break
    assert shown == text


@given(st.binary(max_size=100))
def test_bytes_that_are_no_text_are_replaced(data: bytes) -> None:
    assert decode(data, is_final=True) == (data.decode("utf-8", "replace"), len(data))
