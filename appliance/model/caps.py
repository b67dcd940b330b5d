"""Keyed proofs: what this master gave out can be recognised later, and forged by nobody who lacks the master key."""

from __future__ import annotations

import hashlib
import hmac


def derive(master_key: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose (32 bytes), so that no proof of one kind passes for another."""
    return hmac.digest(master_key, b"orchestra:" + purpose.encode(), "sha256")


def request_digest(request: str) -> str:
    """SHA-256 (hex) of a request's exact text."""
    return hashlib.sha256(request.encode()).hexdigest()


def make_cap(key: bytes, run_id: str, worker_id: str, journal_id: str, digest: str) -> str:
    """The capability of an assignment (reliability.md 5.1): this request, this run, this worker, this journal."""
    text = "\n".join((run_id, worker_id, journal_id, digest))
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def is_cap(key: bytes, cap: str, run_id: str, worker_id: str, journal_id: str, digest: str) -> bool:
    """Whether ``cap`` is the one that ``make_cap`` gave; in constant time (S-05)."""
    return hmac.compare_digest(cap, make_cap(key, run_id, worker_id, journal_id, digest))
