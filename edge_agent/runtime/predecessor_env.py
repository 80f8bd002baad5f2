"""The predecessor's ``.env`` as variables of ours, for `ezrec config import`. Pure.

Names in `edge_agent.runtime.settings.ALIASES` are understood everywhere; those here only when a file is taken
over: as variables of a running process they could be anybody's.
"""

from collections.abc import Iterator, Mapping

TIMEZONES = ("LOCAL_TIMEZONE", "SYSTEM_TIMEZONE", "TIMEZONE_NAME", "TIMEZONE")
FURTHER: Mapping[str, str] = {
    "S3_BUCKET": "EZREC_STORE__BUCKET",
    "AWS_DEFAULT_REGION": "EZREC_STORE__REGION",
    **dict.fromkeys(TIMEZONES, "EZREC_DEVICE__TIMEZONE"),
    "EMAIL_HOST": "EZREC_SMTP__HOST",
    "EMAIL_PORT": "EZREC_SMTP__PORT",
    "EMAIL_HOST_USER": "EZREC_SMTP__USERNAME",
    "EMAIL_HOST_PASSWORD": "EZREC_SMTP__PASSWORD",
    "EMAIL_FROM": "EZREC_SMTP__SENDER",
    "EMAIL_USE_TLS": "EZREC_SMTP__TLS",
    "LOG_LEVEL": "EZREC_LOG__LEVEL",
}
"""Variable -> variable of ours; of several for one key the first that has a value."""
SAME_AS: Mapping[str, str] = {"S3_BUCKET": "AWS_S3_BUCKET", "AWS_DEFAULT_REGION": "AWS_REGION"}
_SEAM = "there is one way to put two pictures side by side, without a blend"
_LOGO = "logos are placed by `place` and `size` under [[branding.logos]]"
_CAMERA = "cameras never stop here, there is no interval to set"
_SAME = "has no meaning any more"
GONE: Mapping[str, str] = {
    "CAMERA_ROTATION": "write `rotation` under each [[camera]]",
    "CAMERA_0_NAME": "cameras are called left and right",
    "CAMERA_1_NAME": "cameras are called left and right",
    "ENHANCED_MERGE_ROTATE_DEGREES": _SEAM,
    "ENABLE_DISTORTION_CORRECTION": _SEAM,
    "RECORDING_QUALITY": "see film.quality and camera.bitrate",
    "BOOKING_CHECK_INTERVAL": _CAMERA,
    "VIDEO_WORKER_CHECK_INTERVAL": _CAMERA,
    "AUTO_UPLOAD": "everything is uploaded while it is recorded",
    "AWS_USER_MEDIA_BUCKET": "logos are in the one bucket, below {org}/assets/",
    "LIVE_PREVIEW_TOKEN": "pictures of a camera are asked for with a key of the API",
    "BOOKING_SYNC_API_KEY": _SAME,
    "STATUS_TABLE": _SAME,
    "SUPABASE_RATE_LIMIT_SECONDS": _SAME,
    "SUPABASE_KEY": "name it SUPABASE_SERVICE_ROLE_KEY or SUPABASE_ANON_KEY, whichever it is",
    "INTRO_POSITION": "an intro fills the picture",
    "LOGO_POSITION": _LOGO,
    "LOGO_WIDTH": _LOGO,
    "LOGO_HEIGHT": _LOGO,
    "DEBUG": "see log.level",
}
"""What is not taken over, and why."""
_KNOWN = (
    *("CAMERA_0_SERIAL", "CAMERA_1_SERIAL", "DUAL_CAMERA_MODE", "RESOLUTION", "RECORDING_FPS"),
    "INTRO_VIDEO_PATH",
)
_LOGOS = ("MAIN_LOGO_", "USER_LOGO_", "SPONSOR_LOGO_", "SPONSOR_1_", "SPONSOR_2_", "SPONSOR_3_")


def translated(
    env: Mapping[str, str], aliases: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Variables that settings are made from, and a line for each one that is not taken over.

    Args:
        env: variables of the file.
        aliases: names that the settings understand by themselves.
    """
    taken = {name: value for name, value in env.items() if name in aliases and value != ""}
    lines: list[str] = []
    for name, value in env.items():
        if value == "" or name in aliases:
            continue
        if name in FURTHER:
            if not (name in SAME_AS and env.get(SAME_AS[name])):
                taken.setdefault(FURTHER[name], value.lower() if name == "LOG_LEVEL" else value)
        elif name in _KNOWN or name.startswith((*_LOGOS, "EZREC_")):
            taken[name] = value
        else:
            lines.append(f"{name}: {GONE.get(name, 'no setting of ours')}")
    lines += _adjusted(taken)
    return taken, tuple(lines)


def _adjusted(taken: dict[str, str]) -> Iterator[str]:
    """What has to be said otherwise here; changes ``taken``."""
    if taken.get("MERGE_METHOD") not in (None, "side_by_side", "stacked"):
        yield f"MERGE_METHOD = {taken['MERGE_METHOD']}: {_SEAM}, side_by_side is taken"
        taken["MERGE_METHOD"] = "side_by_side"
    for name in ("USER_ID", "CAMERA_ID"):
        if taken.get(name, "") != taken.get(name, "").lower():
            taken[name] = taken[name].lower()
            yield f"{name}: names are lower case here"
    if taken.keys() & {"AWS_S3_BUCKET", "EZREC_STORE__BUCKET"}:
        taken.setdefault("EZREC_STORE__KIND", "s3")
    if "SUPABASE_URL" in taken:
        yield 'SUPABASE_URL: write kind = "supabase" under [bookings] once the project has our tables'
