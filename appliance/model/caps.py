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
    return hmac.digest(key, text.encode(), "sha256").hex()


def make_proof(key: bytes, run_id: str, worker_id: str, journal_id: str) -> str:
    """What goes with the word that the end of a run is stored: only who was told it can show it (F24)."""
    return hmac.digest(key, "\n".join(("committed", run_id, worker_id, journal_id)).encode(), "sha256").hex()


def is_proof(key: bytes, proof: str, run_id: str, worker_id: str, journal_id: str) -> bool:
    """Whether ``proof`` is the one that ``make_proof`` gave; in constant time (S-05)."""
    return hmac.compare_digest(proof, make_proof(key, run_id, worker_id, journal_id))


def make_incarnation(key: bytes, random: bytes) -> str:
    """The name of a life of the master (32 hex digits): eight random bytes, and what shows that it is one of ours."""
    return (random + _signature(key, random)).hex()


def is_incarnation(key: bytes, incarnation: str) -> bool:
    """Whether a master with this key made it (``incarnation``: 32 hex digits); in constant time (S-05)."""
    made = bytes.fromhex(incarnation)
    return hmac.compare_digest(made[8:], _signature(key, made[:8]))


def _signature(key: bytes, random: bytes) -> bytes:
    return hmac.digest(key, b"incarnation\n" + random, "sha256")[:8]


def is_cap(key: bytes, cap: str, run_id: str, worker_id: str, journal_id: str, digest: str) -> bool:
    """Whether ``cap`` is the one that ``make_cap`` gave; in constant time (S-05)."""
    return hmac.compare_digest(cap, make_cap(key, run_id, worker_id, journal_id, digest))
