"""A Supabase project as `cloud_bridge.stores.device.DeviceStore`."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from cloud_bridge.stores.supabase_part import NUMBER, TEXT, YES_OR_NO, Part, fields_of
from edge_agent.core.effects import Notice, ResultRow


class DevicePart(Part):
    """The bridge's side; with a device key nothing else is reached."""

    def save_results(self, rows: Sequence[ResultRow]) -> int:
        return self._ask("save_results", NUMBER, rows=[fields_of(row) for row in rows])

    def add_notices(self, notices: Sequence[Notice]) -> int:
        return self._ask("add_notices", NUMBER, notices=[fields_of(notice) for notice in notices])

    def answer_command(self, command_id: str, answer: Mapping[str, JsonValue]) -> bool:
        return self._ask("answer_command", YES_OR_NO, command_id=command_id, answer=answer)

    def order_command(self, command: Mapping[str, JsonValue]) -> str:
        return self._ask("order_command", TEXT, command=command)
