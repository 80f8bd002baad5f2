"""A receipt in plain lines."""

from collections.abc import Iterator

from schemas.receipt import Receipt


def receipt_lines(receipt: Receipt) -> Iterator[str]:
    """The account, a fact a line."""
    yield f"{receipt.booking_id} ({receipt.kind}): {receipt.state}"
    yield f"planned   {receipt.planned_start:%Y-%m-%d %H:%M:%S} to {receipt.planned_end:%H:%M:%S} UTC"
    if receipt.start_error_ms is not None and receipt.end_error_ms is not None:
        yield f"cut       first frame {receipt.start_error_ms:+.1f} ms, last {receipt.end_error_ms:+.1f} ms"
    for name, camera in receipt.cameras.items():
        gaps = f", {camera.gaps_count} gaps" if camera.gaps_count else ""
        yield f"{name:9} {camera.captured} of {camera.expected} frames, {camera.dropped} dropped{gaps}"
    if receipt.skew_ms is not None:
        yield f"skew      median {receipt.skew_ms.median_ms} ms, p99 {receipt.skew_ms.p99_ms} ms"
    yield "picture   " + ", ".join(f"{name} {count}" for name, count in receipt.pictures.items())
    for dressing in (*receipt.branding, *((receipt.intro,) if receipt.intro else ())):
        yield f"{dressing.slot:9} {'applied' if dressing.applied else f'skipped: {dressing.why}'}"
    if receipt.film is not None:
        film = receipt.film
        size = f"{film.width}x{film.height} at {film.fps}/s"
        yield f"film      {film.duration_s:.2f} s, {film.frames} frames, {film.bytes} bytes, {size}"
        yield f"sha256    {film.sha256}"
    if receipt.upload is not None:
        yield f"upload    {receipt.upload.parts} parts, {receipt.upload.bytes_sent} bytes sent"
    if receipt.whistle_to_watchable_s is not None:
        yield f"whistle to watchable {receipt.whistle_to_watchable_s:.2f} s"
