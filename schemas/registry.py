"""Every topic, once. ACL, JSON Schemas, the reference page and the tests come from here."""

from functools import lru_cache

from schemas.agent import AgentAvailability, AgentInfo, AgentStatus, Alarm, Event, Sync
from schemas.base import Message
from schemas.booking import Booking, ScheduleSync
from schemas.camera import CameraStatus, Snapshot
from schemas.commands import Answer, Command
from schemas.health import Asset, Availability, Health, Preflight, Retention
from schemas.receipt import Receipt
from schemas.recording import CaptureStage, MergeStage, ProcessStage, Recording, Share, UploadStage
from schemas.topics import Address, Topic
from schemas.work import SegmentsMinute, SlotsMinute, WorkObject

AVAILABILITY = Topic("availability", "availability", Availability, "health", True, "the device is there")
AGENT_AVAILABILITY = Topic(
    "agent_availability", "agent/{agent}/availability", AgentAvailability, "{agent}", True, "an agent runs"
)
AGENT_INFO = Topic(
    "agent_info", "agent/{agent}/info", AgentInfo, "{agent}", True, "what an agent understands"
)
AGENT_STATUS = Topic(
    "agent_status", "agent/{agent}/status", AgentStatus, "{agent}", True, "what an agent does"
)
AGENT_SYNC = Topic("agent_sync", "agent/{agent}/sync", Sync, "{agent}", False, "end of the retained snapshot")
HEALTH = Topic("health", "health", Health, "health", True, "metrics and alarms of the device")
BOOKING = Topic("booking", "booking/{id}", Booking, "bridge", True, "one booking", remembered=True)
SCHEDULE_SYNC = Topic(
    "schedule_sync", "schedule/sync", ScheduleSync, "bridge", True, "a complete schedule", remembered=True
)
ASSET = Topic("asset", "asset/{sha256}", Asset, "uploader", True, "a logo or intro, here or on its way")
CAMERA_STATUS = Topic(
    "camera_status", "camera/{cam}/status", CameraStatus, "camera_{cam}", True, "one camera"
)
CAMERA_SNAPSHOT = Topic(
    "camera_snapshot", "camera/{cam}/snapshot", Snapshot, "camera_{cam}", False, "a still picture, on request"
)
RECORDING = Topic(
    "recording", "recording/{id}", Recording, "health", True, "state of a recording", remembered=True
)
CAPTURE = Topic(
    "capture",
    "recording/{id}/capture_{cam}",
    CaptureStage,
    "camera_{cam}",
    True,
    "stage: one camera's frames",
    remembered=True,
)
MERGE = Topic(
    "merge", "recording/{id}/merge", MergeStage, "merger", True, "stage: slots planned", remembered=True
)
PROCESS = Topic(
    "process", "recording/{id}/process", ProcessStage, "processor", True, "stage: film", remembered=True
)
UPLOAD = Topic(
    "upload", "recording/{id}/upload", UploadStage, "uploader", True, "stage: objects", remembered=True
)
RECEIPT = Topic(
    "receipt", "recording/{id}/receipt", Receipt, "health", True, "account of a recording", remembered=True
)
SHARE = Topic(
    "share", "recording/{id}/share", Share, "bridge", True, "whether a link exists", remembered=True
)
SEGMENTS = Topic(
    "segments",
    "work/{id}/segments/{cam}/{minute}",
    SegmentsMinute,
    "camera_{cam}",
    True,
    "segments of one camera-minute",
)
SLOTS = Topic(
    "slots", "work/{id}/slots/{minute}", SlotsMinute, "merger", True, "slot plans of one film minute"
)
FILM_OBJECT = Topic(
    "film_object", "work/{id}/object/{name}", WorkObject, "processor", True, "a growing file for the bucket"
)
RECEIPT_OBJECT = Topic(
    "receipt_object", "work/{id}/object/receipt", WorkObject, "health", True, "the receipt for the bucket"
)
RETENTION = Topic("retention", "retention", Retention, "health", True, "ids whose media may go")
PREFLIGHT = Topic("preflight", "preflight/{id}", Preflight, "health", True, "will this booking record")
EVENT = Topic("event", "event/{agent}/{type}", Event, "{agent}", False, "something happened")
ALARM = Topic("alarm", "alarm/{agent}/{alarm}", Alarm, "{agent}", True, "a standing trouble")
COMMAND = Topic("command", "cmd/{target}/{name}", Command, "-", False, "a command, never retained")
ANSWER = Topic("answer", "res/{agent}/{name}", Answer, "{agent}", False, "the answer to a command")

TOPICS: tuple[Topic[Message], ...] = (
    AVAILABILITY,
    AGENT_AVAILABILITY,
    AGENT_INFO,
    AGENT_STATUS,
    AGENT_SYNC,
    HEALTH,
    BOOKING,
    SCHEDULE_SYNC,
    ASSET,
    CAMERA_STATUS,
    CAMERA_SNAPSHOT,
    RECORDING,
    CAPTURE,
    MERGE,
    PROCESS,
    UPLOAD,
    RECEIPT,
    SHARE,
    SEGMENTS,
    SLOTS,
    RECEIPT_OBJECT,
    FILM_OBJECT,
    RETENTION,
    PREFLIGHT,
    EVENT,
    ALARM,
    COMMAND,
    ANSWER,
)

AGENTS: tuple[str, ...] = (
    "camera_left",
    "camera_right",
    "merger",
    "processor",
    "uploader",
    "health",
    "bridge",
)
PEOPLE: tuple[str, ...] = ("api", "cli", "court", "view")
"""Accounts that are not agents: api and cli may send every command, court a few, view none."""

FILM_OBJECT_NAMES: tuple[str, ...] = ("film", "poster", "left", "right")


@lru_cache(maxsize=8192)
def find(path: str) -> Address[Message] | None:
    """The address of a path below the device's root, or None when no topic has it.

    ``work/{id}/object/receipt`` stands before ``work/{id}/object/{name}``: the first that fits wins.
    """
    for topic in TOPICS:
        found = topic.match(path)
        if found is not None:
            return found
    return None
