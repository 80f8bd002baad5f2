"""The one client of S3 on the cloud side, and what its failures mean."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

from edge_agent.core.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
BucketErrorKind = Literal["denied", "missing", "unknown", "refused", "transient"]

_UNKNOWN = {"NotImplemented", "MethodNotAllowed", "UnsupportedOperation"}
_KEY_WRONG = {
    "InvalidAccessKeyId": "the access key is unknown there: check store.key",
    "SignatureDoesNotMatch": "the secret does not fit the key: check store.secret",
    "AuthorizationHeaderMalformed": "wrong region: check store.region",
    "PermanentRedirect": "the bucket lives elsewhere: check store.region and store.endpoint",
}


class BucketError(Exception):
    """A request did not work, or nobody knows whether it did; one line, never a secret in it.

    Kinds: ``denied`` this key may not; ``missing`` no such object, upload, rule or bucket; ``unknown`` the
    server has no such request; ``refused`` it finds fault with this one; ``transient`` try again later.
    """

    def __init__(self, kind: BucketErrorKind, text: str) -> None:
        super().__init__(text)
        self.kind: BucketErrorKind = kind
        self.text = text


def s3_client(settings: Settings) -> "S3Client":
    """A client with the settings' keys. Makes no request.

    Raises:
        BucketError: ``denied`` when the endpoint is no address.
    """
    from boto3.session import Session  # noqa: PLC0415 - only a process that talks S3 shall pay for it
    from botocore.config import Config  # noqa: PLC0415

    store = settings.store
    make = cast("Callable[..., S3Client]", Session().client)  # pyright: ignore[reportUnknownMemberType]
    try:
        return make(
            "s3",
            endpoint_url=store.endpoint,
            region_name=store.region,
            aws_access_key_id=store.key.get_secret_value() if store.key else None,
            aws_secret_access_key=store.secret.get_secret_value() if store.secret else None,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"total_max_attempts": 2},
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
            ),
        )
    except ValueError:
        text = f"store.endpoint {store.endpoint!r} is not an address like https://host"
        raise BucketError("denied", text) from None


@contextmanager
def unsigned(client: "S3Client") -> Generator[None]:
    """Ask for objects as somebody who has no key."""
    from botocore import handlers  # noqa: PLC0415 - as boto3 above

    event, sign_nothing = "choose-signer.s3.GetObject", cast("Any", handlers).disable_signing
    events = cast("Any", client.meta).events
    events.register(event, sign_nothing)
    try:
        yield
    finally:
        events.unregister(event, sign_nothing)


@contextmanager
def mapped(what: str) -> Generator[None]:
    """boto3's failures as `BucketError`; ``what`` is asked of which bucket, for the line."""
    from botocore.exceptions import (  # noqa: PLC0415 - as boto3 above
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    try:
        yield
    except ClientError as error:
        raise _of_answer(cast("dict[str, Any]", error.response), what) from error  # pyright: ignore[reportUnknownMemberType]
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise BucketError("denied", f"{what}: store.key and store.secret are not set") from error
    except ParamValidationError as error:
        raise BucketError("missing", f"{what}: not a name a bucket or a key can have") from error
    except BotoCoreError as error:
        raise BucketError("transient", f"{what}: no answer ({type(error).__name__})") from error
    except RecursionError:  # botocore looks for the bucket's region by the very request that was redirected
        text = f"{what}: redirected without end: check store.endpoint and store.region"
        raise BucketError("refused", text) from None


def _of_answer(answer: dict[str, Any], what: str) -> BucketError:
    code = str(answer.get("Error", {}).get("Code", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) or 0)
    if code in _KEY_WRONG:
        return BucketError("denied", f"{what}: {_KEY_WRONG[code]}")
    if code == "AccessDenied" or status in (401, 403):
        return BucketError("denied", f"{what}: this key may not do that ({code or status})")
    if code in _UNKNOWN or status in (405, 501):
        return BucketError("unknown", f"{what}: the server does not know this request ({code or status})")
    if status == 404:
        return BucketError("missing", f"{what}: not there ({code or status})")
    if 400 <= status < 500 and status not in (408, 409, 425, 429):
        return BucketError("refused", f"{what}: the server refused it ({code or status})")
    return BucketError("transient", f"{what}: the server answered {code or 'nothing known'} ({status})")
