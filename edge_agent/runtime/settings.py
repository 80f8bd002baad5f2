"""Reading the settings: TOML file, then ``EZREC_<SECTION>__<KEY>``, the predecessor's names, secrets' files.

Read once, in the composition root; everything else is handed its values.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, SecretStr, ValidationError

from edge_agent.core.settings import Settings
from edge_agent.runtime.secret_files import SecretExposed, secret_folders, secret_values

PREFIX = "EZREC_"
DEFAULT_PATH = "/etc/ezrec/ezrec.toml"
NOT_SETTINGS = frozenset({"EZREC_CONFIG"})
_USERINFO = re.compile(r"://[^/@\s]+@")
_PATH = re.compile(r"(://[^/\s]+)/\S+")
_QUERY = re.compile(r"(://[^?\s]*)\?\S+")


class SettingsError(Exception):
    """A mistake in the settings: one line naming key, value and what was expected (exit 78)."""


ALIASES: Mapping[str, tuple[str, ...]] = {
    "SUPABASE_URL": ("bookings", "url"),
    "SUPABASE_SERVICE_ROLE_KEY": ("bookings", "key"),
    "SUPABASE_ANON_KEY": ("bookings", "public_key"),
    "USER_ID": ("device", "org"),
    "CAMERA_ID": ("device", "id"),
    "MERGE_METHOD": ("film", "layout"),
    "AWS_ACCESS_KEY_ID": ("store", "key"),
    "AWS_SECRET_ACCESS_KEY": ("store", "secret"),
    "AWS_REGION": ("store", "region"),
    "AWS_S3_BUCKET": ("store", "bucket"),
    "SHARE_BASE_URL": ("api", "share_base_url"),
}
"""Names of the user's document and of the predecessor: variable -> section and key."""


def load(
    path: Path | None,
    environment: Mapping[str, str] | None = None,
    *,
    leave: frozenset[str] = frozenset(),
) -> Settings:
    """The effective settings.

    Args:
        path: the TOML file; None: ``EZREC_CONFIG``, else ``/etc/ezrec/ezrec.toml`` when there is one.
        environment: variables; the process's own when None.
        leave: names of secrets whose files are not read.

    Raises:
        SettingsError: a file that cannot be read, or a key whose value is not what was expected.
    """
    env = os.environ if environment is None else environment
    data = read_toml(path, env)
    for name, place in ALIASES.items():
        if name in env and not _has(data, place):
            _put(data, place, env[name])
    _put_cameras(data, env)
    _put_logos(data, env)
    for name, value in env.items():
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            _put(data, _place(name), _value(value))
    passwords = data["mqtt"].get("passwords") if isinstance(data.get("mqtt"), dict) else None
    try:
        for place, value in secret_values(secret_folders(env, passwords), leave):
            if not _has(data, place):
                _put(data, place, value)
    except SecretExposed as error:
        raise SettingsError(str(error)) from None
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise SettingsError(one_line(error)) from None


def read_toml(path: Path | None, env: Mapping[str, str]) -> dict[str, Any]:
    """The file's tables; none when no file was named and the default one is absent.

    Raises:
        SettingsError: it cannot be read, or is not TOML.
    """
    named = path or (Path(env["EZREC_CONFIG"]) if env.get("EZREC_CONFIG") else None)
    target = named or Path(DEFAULT_PATH)
    try:
        return tomllib.loads(target.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named is None:
            return {}
        raise SettingsError(f"{target}: no such file, a settings file was expected") from None
    except OSError as error:
        raise SettingsError(
            f"{target}: cannot be read ({error.strerror}), a settings file was expected"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{target}: not TOML: {error}") from None


def one_line(error: ValidationError) -> str:
    """Key, value and what was expected, of the first mistake. The value of a secret is not shown."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "settings"
    shown = first.get("input")
    secret = _is_secret(first["loc"]) or not isinstance(shown, str | int | float)
    value = "" if secret else f" = {without_password(str(shown))[:80]!r}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{key}: no such setting{more}"
    return f"{key}{value}: {first['msg']}{more}"


def _is_secret(loc: tuple[int | str, ...]) -> bool:
    return any(str(part).rpartition("_")[2] in {"key", "secret", "password"} for part in loc)


def without_password(text: str) -> str:
    """An address without the user and password in it, and what follows a ``?``; other texts as they are."""
    return _QUERY.sub(r"\1?***", _USERINFO.sub("://***@", text))


def _place(name: str) -> tuple[str, ...]:
    return tuple(part.lower() for part in name.removeprefix(PREFIX).split("__"))


def _value(text: str) -> object:
    """A JSON list or object as such; anything else is text and converted by the model."""
    if text[:1] in "[{":
        try:
            parsed: object = json.loads(text)
        except ValueError:
            return text
        return parsed
    return text


def _has(data: Mapping[str, Any], place: tuple[str, ...]) -> bool:
    node: object = data
    for part in place:
        if not isinstance(node, dict) or part not in node:
            return False
        node = cast("dict[str, object]", node)[part]
    return True


def _put(data: dict[str, Any], place: tuple[str, ...], value: object) -> None:
    node = data
    for part in place[:-1]:
        inner: object = node.setdefault(part, {})
        if not isinstance(inner, dict):
            name = f"{PREFIX}{'__'.join(place).upper()}"
            raise SettingsError(f"{name}: {part} is no section, a section was expected")
        node = cast("dict[str, Any]", inner)
    node[place[-1]] = value


def _put_cameras(data: dict[str, Any], env: Mapping[str, str]) -> None:
    """The predecessor's camera variables; a ``[[camera]]`` in the file wins."""
    names = ("CAMERA_0_SERIAL", "CAMERA_1_SERIAL", "DUAL_CAMERA_MODE", "RESOLUTION", "RECORDING_FPS")
    if "camera" in data or not any(name in env for name in names):
        return
    cameras: list[dict[str, Any]] = [{"name": "left", "backend": "picamera2"}]
    if env.get("DUAL_CAMERA_MODE", "true").lower() in ("true", "1", "yes"):
        cameras.append({"name": "right", "backend": "picamera2"})
    for number, camera in enumerate(cameras):
        if f"CAMERA_{number}_SERIAL" in env:
            camera["serial"] = env[f"CAMERA_{number}_SERIAL"]
        if "RESOLUTION" in env:
            width, _, height = env["RESOLUTION"].partition("x")
            camera |= {"width": width, "height": height}
        if "RECORDING_FPS" in env:
            camera["fps"] = env["RECORDING_FPS"]
    data["camera"] = cameras


LOGOS: Mapping[str, tuple[str, str, str]] = {
    "company": ("MAIN_LOGO_PATH", "MAIN_LOGO_POSITION", "MAIN_LOGO_WIDTH"),
    "user": ("USER_LOGO_PATH", "USER_LOGO_POSITION", "USER_LOGO_WIDTH"),
    "sponsor1": ("SPONSOR_LOGO_1_PATH", "SPONSOR_1_POSITION", "SPONSOR_LOGO_WIDTH"),
    "sponsor2": ("SPONSOR_LOGO_2_PATH", "SPONSOR_2_POSITION", "SPONSOR_LOGO_WIDTH"),
    "sponsor3": ("SPONSOR_LOGO_3_PATH", "SPONSOR_3_POSITION", "SPONSOR_LOGO_WIDTH"),
}
"""The predecessor's logos: slot -> variables of file, place and width in pixels."""


def _put_logos(data: dict[str, Any], env: Mapping[str, str]) -> None:
    """The predecessor's logos and intro; ``branding`` in the file wins."""
    if "INTRO_VIDEO_PATH" in env and not _has(data, ("branding", "intro")):
        _put(data, ("branding", "intro"), env["INTRO_VIDEO_PATH"])
    named = [(slot, names) for slot, names in LOGOS.items() if env.get(names[0])]
    if not named or _has(data, ("branding", "logos")):
        return
    height = float(env.get("RESOLUTION", "").partition("x")[2] or 720)
    logos: list[dict[str, Any]] = []
    for slot, (file, place, width) in named:
        logo: dict[str, Any] = {"slot": slot, "file": env[file]}
        if place in env:
            logo["place"] = env[place].replace("-", "_")
        if env.get(width, "").isdigit():
            logo["size"] = min(100.0, int(env[width]) * 100 / height)
        logos.append(logo)
    _put(data, ("branding", "logos"), logos)


def masked(settings: BaseModel) -> dict[str, Any]:
    """The effective settings for people, secrets and passwords in addresses as stars."""
    shown = {name: _masked(getattr(settings, name)) for name in type(settings).model_fields}
    if "webhooks" in shown:  # the path of a webhook is its password
        shown["webhooks"] = [
            _PATH.sub(r"\1/***", str(address)) for address in getattr(settings, "webhooks", ())
        ]
    return shown


def _masked(value: object) -> object:
    match value:
        case SecretStr():
            return "********"
        case BaseModel():
            return masked(value)
        case tuple():
            return [_masked(item) for item in cast("tuple[object, ...]", value)]
        case str():
            return without_password(value)
        case _:
            return value


def parse_env_file(path: Path) -> dict[str, str]:
    """Variables of a ``.env`` file: ``NAME=value``, comments behind ``#``, quotes taken off.

    Raises:
        OSError: it cannot be read.
    """
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or name.startswith("#"):
            continue
        value = value.strip()
        if value[:1] in "\"'" and value[-1:] == value[:1]:
            value = value[1:-1]
        else:
            value = value.partition(" #")[0].strip()
        found[name.removeprefix("export ").strip()] = value
    return found


def to_toml(settings: Settings) -> str:
    """Settings that differ from the defaults, as TOML; secrets as a comment that says how to store them."""
    lines: list[str] = []
    for camera in settings.camera:
        lines += ["[[camera]]", *_toml_lines("camera", camera, everything=True), ""]
    defaults = Settings()
    for name in type(settings).model_fields:
        section: object = getattr(settings, name)
        if isinstance(section, BaseModel) and section != getattr(defaults, name):
            lines += [f"[{name}]", *_toml_lines(name, section, everything=False), ""]
    for logo in settings.branding.logos:
        lines += ["[[branding.logos]]", *_toml_lines("branding.logos", logo, everything=True), ""]
    return "\n".join(lines)


def _toml_lines(title: str, section: BaseModel, *, everything: bool) -> list[str]:
    lines: list[str] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if value is None or (not everything and value == field.default):
            continue
        if isinstance(value, SecretStr):
            lines.append(f"# {name}: store it with `ezrec secret set {title}.{name}`")
        elif isinstance(value, str | bool | int | float) or _is_words(value):
            lines.append(f"{name} = {json.dumps(value)}")
    return lines


def _is_words(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(one, str) for one in cast("tuple[object, ...]", value))
