"""boto3's failures as ours: one table, one line of text each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypedDict, cast

from edge_agent.drivers.objects.base import StoreError, StoreErrorKind

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError


class Where(Protocol):
    """What an operator needs to find the place; the secret is not in it."""

    @property
    def bucket(self) -> str: ...
    @property
    def endpoint(self) -> str | None: ...


class _Said(TypedDict, total=False):
    Code: str
    HTTPStatusCode: int


class _Answer(TypedDict, total=False):
    Error: _Said
    ResponseMetadata: _Said


HTTP_FORBIDDEN, HTTP_NOT_FOUND, HTTP_SERVER_ERROR, HTTP_NOT_IMPLEMENTED = 403, 404, 500, 501

_KINDS: dict[str, tuple[StoreErrorKind, str]] = {
    "NoSuchUpload": ("gone", "the upload is no longer known there"),
    "NoSuchBucket": ("missing", "the bucket does not exist: check store.bucket"),
    "NoSuchKey": ("missing", "no such object"),
    "404": ("missing", "no such object or bucket"),
    "SignatureDoesNotMatch": ("denied", "the secret does not fit the key: check store.secret"),
    "InvalidAccessKeyId": ("denied", "the access key is unknown there: check store.key"),
    "AccessDenied": ("denied", "this key may not do that here: check the key's rights and store.bucket"),
    "403": ("denied", "refused: check store.key, store.secret and the key's rights"),
    "AuthorizationHeaderMalformed": ("denied", "wrong region: check store.region"),
    "PermanentRedirect": ("denied", "the bucket lives elsewhere: check store.region and store.endpoint"),
    "ExpiredToken": ("denied", "the key has expired"),
    "RequestTimeTooSkewed": ("transient", "this machine's clock is too far off for the store"),
    "RequestTimeout": ("transient", "the store gave up waiting for data"),
    "SlowDown": ("transient", "the store asks to slow down"),
    "Throttling": ("transient", "the store asks to slow down"),
    "TooManyRequests": ("transient", "the store asks to slow down"),
    "429": ("transient", "the store asks to slow down"),
    "OperationAborted": ("transient", "another request was in the way"),
    "BadDigest": ("conflict", "the data arrived damaged"),
    "InvalidDigest": ("conflict", "the data arrived damaged"),
    "XAmzContentSHA256Mismatch": ("conflict", "the data arrived damaged"),
    "InvalidPart": ("conflict", "a part is not there as it was sent"),
    "InvalidPartOrder": ("conflict", "parts named out of order"),
    "EntityTooSmall": ("conflict", "a part is too small"),
    "EntityTooLarge": ("conflict", "too large for this store"),
}


def as_store_error(error: BotoCoreError | ClientError, where: Where, key: str) -> StoreError:
    """What an exception out of boto3 means for the operator."""
    from botocore.exceptions import (  # noqa: PLC0415 - see S3Store: boto only where it is used
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    place = f"bucket {where.bucket} at {where.endpoint or 'AWS'}, key {key}"
    if isinstance(error, ClientError):
        kind, text = _of_answer(error)
        return StoreError(kind, f"{text} ({_code(error)}; {place})")
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return StoreError("denied", f"store.key and store.secret are not set ({place})")
    if isinstance(error, ParamValidationError):
        return StoreError(
            "missing", f"not a name that a bucket or a key can have: check store.bucket ({place})"
        )
    return StoreError("transient", f"the store cannot be reached: {type(error).__name__} ({place})")


def _of_answer(error: ClientError) -> tuple[StoreErrorKind, str]:
    known = _KINDS.get(_code(error))
    if known is not None:
        return known
    status = _status(error)
    if status == HTTP_FORBIDDEN:
        return "denied", _KINDS["403"][1]
    if status == HTTP_NOT_FOUND:
        return "missing", _KINDS["404"][1]
    if status == HTTP_NOT_IMPLEMENTED:
        return "conflict", "the store does not know this kind of request"
    if status >= HTTP_SERVER_ERROR or status == 0:
        return "transient", "the store has a fault of its own"
    return "conflict", "the store refused the request"


def _code(error: ClientError) -> str:
    return _answer(error).get("Error", {}).get("Code", "") or str(_status(error))


def _status(error: ClientError) -> int:
    return _answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _answer(error: ClientError) -> _Answer:
    return cast("_Answer", error.response)  # pyright: ignore[reportUnknownMemberType]
