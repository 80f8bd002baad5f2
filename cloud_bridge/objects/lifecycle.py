"""The bucket's lifecycle rules: the second belt, should no keeper run. Pure.

A rule knows prefixes and sizes, not names: ``{org}/assets/`` is excluded by naming each device's prefix, and
receipts are told from films by being small. A server without sizes gets one rule, by which receipts go with
the films.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from edge_agent.core.settings import Settings

Rule: TypeAlias = dict[str, Any]
SPARE_DAYS = 3
"""So much later than the keeper, whose account is the better one."""
UPLOAD_DAYS = 7
"""An upload over a slow line may take days; R2's own rule says the same."""
SMALL_BYTES = 64 * 1024


def rules_of(prefix: str, settings: Settings, *, sizes: bool, versions: bool) -> list[Rule]:
    """The rules of one device's prefix.

    Args:
        prefix: ``{org}/{device}/``.
        settings: how long films and receipts stay.
        sizes: whether the server tells objects by size.
        versions: whether it keeps deleted objects as old versions: those go after a day.
    """
    kept = settings.retention
    films, receipts = kept.film_bucket_days + SPARE_DAYS, kept.receipt_days + SPARE_DAYS
    name = f"ezrec-{prefix.strip('/').replace('/', '-')}"
    small = {"And": {"Prefix": prefix, "ObjectSizeGreaterThan": SMALL_BYTES}}
    every: Rule = {"Prefix": prefix}
    found = [_rule(f"{name}-films", small if sizes else every, Expiration={"Days": films})]
    if sizes:
        found.append(_rule(f"{name}-rest", every, Expiration={"Days": max(films, receipts)}))
    abort = {"DaysAfterInitiation": UPLOAD_DAYS}
    found.append(_rule(f"{name}-uploads", every, AbortIncompleteMultipartUpload=abort))
    if versions:
        days = {"NoncurrentDays": 1}
        found.append(_rule(f"{name}-versions", every, NoncurrentVersionExpiration=days))
    return found


def merged(there: Sequence[Rule], ours: Sequence[Rule], prefix: str) -> list[Rule]:
    """All rules of the bucket with ours for this prefix in place of what we wrote before; others stay."""
    name = f"ezrec-{prefix.strip('/').replace('/', '-')}-"
    own = {f"{name}{end}" for end in ("films", "rest", "uploads", "versions")}
    return [*(rule for rule in there if rule.get("ID") not in own), *ours]


def same(one: Sequence[Rule], other: Sequence[Rule]) -> bool:
    """Whether two sets of rules say the same, whatever order and default fields a server adds."""
    return sorted(map(_meaning, one)) == sorted(map(_meaning, other))


def _rule(name: str, where: Rule, **what: Mapping[str, int]) -> Rule:
    return {"ID": name, "Status": "Enabled", "Filter": where, **what}


def _meaning(rule: Rule) -> str:
    """A rule's meaning as text that can be compared."""
    where = _inner(rule, "Filter")
    inner = _inner(where, "And") or where
    said = (
        rule.get("ID"),
        rule.get("Status"),
        inner.get("Prefix") or rule.get("Prefix") or "",
        inner.get("ObjectSizeGreaterThan") or 0,
        inner.get("ObjectSizeLessThan") or 0,
        _inner(rule, "Expiration").get("Days"),
        _inner(rule, "AbortIncompleteMultipartUpload").get("DaysAfterInitiation"),
        _inner(rule, "NoncurrentVersionExpiration").get("NoncurrentDays"),
    )
    return repr(said)


def _inner(body: Rule, name: str) -> Rule:
    found: object = body.get(name)
    return cast("Rule", found) if isinstance(found, dict) else {}
